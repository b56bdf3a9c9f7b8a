"""The router's trie: (method, raw path) -> (leaf, parameters).

Written twice: router_c.pyx has the same trie and walks it over the octets of the path.

Strategy. Paths without parameters stand whole in one dict, keyed by their usual octets: most requests for
them cost one lookup. All patterns stand in a trie of segments. A walk tries a node's edges in the order
static, typed, plain, wildcard, goes down the first that takes the segment and comes back when nothing below
has both the rest of the path and the method.

Cost. The path is chosen by the peer, the trie is not. The trie is a tree and every edge takes exactly one
segment, so a node can be reached in one way only and at one position of the path only: a walk sees each
node once at most, whatever the path; there is nothing to memoise. It sees only nodes whose pattern matches
the path so far. Of a node's static edges one at most takes a segment, however many there are, so a level of
the walk is as wide as the number of ways in which the table mixes static text, types and plain parameters
in the same places: one in most tables, and a figure of the table in all of them. Cost is thus segments x
that width. Segments past the deepest pattern are not even split off.

Decoding. The path is split at its raw slashes, then each segment is percent-decoded, so %2F stays inside its
segment, and all comparisons are of decoded text. Octets that are not UTF-8 are a 400.

Rejected: one regex of all routes (cost grows with their number).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from ..errors import HTTPError
from .octets_py import decode_component

# A segment's kind is its precedence as well; those between STATIC and PLAIN are types of the caller's.
STATIC = 0
PLAIN = 100
WILDCARD = 101

# What clients leave unencoded in a segment: RFC 3986 3.3, pchar.
_PCHAR = "!$&'()*+,;=:@"


class Target:
    """What a method leads to at a node: the leaf, and the parameters on the way.

    ``names`` has one entry for each piece of a split path, empty for static ones; ``places`` are those of the
    parameters.
    """

    __slots__ = ("found", "leaf", "places")

    def __init__(self, leaf: Any, names: tuple[str, ...]) -> None:
        self.leaf = leaf
        self.places = [(index, name) for index, name in enumerate(names) if name]
        self.found = (leaf, None)  # PERF: the answer of every match without parameters, made once


class Node:
    """What may follow a prefix of segments."""

    __slots__ = ("is_fork", "is_plain_fork", "methods", "plain", "statics", "typed", "wildcard")

    def __init__(self) -> None:
        self.statics: dict[str, Node] = {}
        self.typed: list[tuple[int, str, Callable[[str], Any], Node]] = []
        self.plain: Node | None = None
        self.wildcard: Node | None = None
        self.methods: dict[str, Target] = {}
        self.is_fork = False  # there are other edges than static ones
        self.is_plain_fork = True  # there are none beside static ones and the plain one


class Router:
    """A table of patterns that answers by method and raw path."""

    __slots__ = ("_most", "_root", "_whole")

    def __init__(self) -> None:
        self._root = Node()
        self._whole: dict[bytes, dict[str, Target]] = {}
        self._most = 1  # splits of a path: one behind the deepest pattern

    def add(
        self,
        segments: Iterable[tuple[int, str, str, Callable[[str], Any] | None]],
        methods: Iterable[str],
        leaf: Any,
    ) -> None:
        """Register a leaf for methods of a pattern.

        A segment is ``(kind, text, name, convert)``: ``text`` is the decoded text of a static one, whose
        name is empty, and the type's name of a typed one; ``convert`` belongs to typed ones, takes a text
        and raises ValueError for one that does not match. A wildcard stands last. Of two leaves for the
        same method and pattern the later one holds. GET answers HEAD too, unless the pattern has a leaf for
        HEAD, registered before or after.
        """
        node = self._root
        raw = ""
        names = [""]  # what stands before the first slash
        for kind, text, name, convert in segments:
            names.append(name)
            raw += "/" + quote(text, safe=_PCHAR)
            node = _grow(node, kind, text, convert)
        self._most = max(self._most, len(names))
        _enter(node.methods, methods, Target(leaf, tuple(names)))
        if not any(names):
            self._whole[raw.encode()] = node.methods

    def match(self, method: str, path: bytes) -> tuple[Any, dict[str, Any] | None] | None:
        """Return the leaf for a method and a raw path with its parameters, or None where there is none.

        ``path`` is the octets of the request target before "?", its percent-triples checked by the caller.
        The parameters of a pattern without any are None. Raises HTTPError 400 for a path that is not UTF-8.
        """
        known = self._whole.get(path)
        if known is not None:
            target = known.get(method)
            if target is not None:
                return target.found
        # PERF: what most paths are is split here, and not by a call.
        segments: list[Any] = (
            path.decode().split("/", self._most)
            if 37 not in path and path.isascii()  # "%"
            else _split(path, self._most)
        )
        if segments[0]:  # no slash in front: the asterisk form
            return None
        target = _find(self._root, segments, 1, method)
        if target is None:
            return None
        if not target.places:
            return target.found
        params = {}
        for index, name in target.places:
            params[name] = segments[index]
        return target.leaf, params

    def allowed(self, path: bytes) -> list[str]:
        """Return the methods that have a leaf for a raw path, sorted; raises as ``match``."""
        segments = _split(path, self._most)
        found: set[str] = set()
        if not segments[0]:
            _collect(self._root, segments, 1, found)
        return sorted(found)


def _grow(node: Node, kind: int, text: str, convert: Callable[[str], Any] | None) -> Node:
    """Return the node behind an edge, made where it is not there yet."""
    if kind == STATIC:
        return node.statics.setdefault(text, Node())
    node.is_fork = True
    if kind == PLAIN:
        node.plain = node.plain or Node()
        return node.plain
    node.is_plain_fork = False
    if kind == WILDCARD:
        node.wildcard = node.wildcard or Node()
        return node.wildcard
    for edge in node.typed:
        if edge[1] == text:
            return edge[3]
    if convert is None:
        raise ValueError(f"the type {text!r} came without a converter")
    child = Node()
    node.typed.append((kind, text, convert, child))
    node.typed.sort(key=_rank)
    return child


def _rank(edge: tuple[int, str, Callable[[str], Any], Node]) -> int:
    return edge[0]


def _enter(known: dict[str, Target], methods: Iterable[str], target: Target) -> None:
    """Enter a target under its methods, and GET's under HEAD where HEAD has none of its own."""
    is_implied = "HEAD" not in known or known["HEAD"] is known.get("GET")
    for method in methods:
        known[method] = target
        is_implied = is_implied and method != "HEAD"
    if is_implied and "GET" in known:
        known["HEAD"] = known["GET"]


def _split(path: bytes, most: int) -> list[Any]:
    """Split a raw path at its first slashes and decode the pieces."""
    try:
        if 37 not in path:  # "%"
            return path.decode().split("/", most)
        return [
            decode_component(piece) if b"%" in piece else piece.decode() for piece in path.split(b"/", most)
        ]
    except ValueError as exc:
        raise HTTPError(400, "The path is not UTF-8 text behind whole percent triples") from exc


def _find(node: Node, segments: list[Any], index: int, method: str) -> Target | None:
    """Walk down from a node; where a target is found, values have replaced their segments' texts."""
    count = len(segments)
    while index < count:
        segment = segments[index]
        child = node.statics.get(segment)
        index += 1
        # PERF: with one edge to take and no other there is nothing to come back for, so no call for it.
        if not node.is_fork:
            if child is None:
                return None
            node = child
            continue
        if child is None and node.is_plain_fork and node.plain is not None and segment:
            node = node.plain
            continue
        if child is not None:
            target = _find(child, segments, index, method)
            if target is not None:
                return target
        if segment:
            target = _find_typed(node, segments, index, method)
            if target is not None:
                return target
            if node.plain is not None:
                target = _find(node.plain, segments, index, method)
                if target is not None:
                    return target
        return _find_rest(node.wildcard, segments, index - 1, method)
    return node.methods.get(method)


def _find_typed(node: Node, segments: list[Any], index: int, method: str) -> Target | None:
    """Walk down a node's typed edges that take the segment before ``index``."""
    for edge in node.typed:
        text = segments[index - 1]
        try:
            value = edge[2](text)
        except ValueError:
            continue
        target = _find(edge[3], segments, index, method)
        if target is not None:
            segments[index - 1] = value
            return target
    return None


def _find_rest(node: Node | None, segments: list[Any], index: int, method: str) -> Target | None:
    """Let a wildcard take all segments from ``index`` on."""
    if node is None:
        return None
    target = node.methods.get(method)
    if target is None:
        return None
    rest = "/".join(segments[index:])
    if not rest:
        return None
    segments[index] = rest
    return target


def _collect(node: Node, segments: list[str], index: int, found: set[str]) -> None:
    """Add the methods of every pattern below a node that takes the segments from ``index`` on."""
    if index == len(segments):
        found.update(node.methods)
        return
    segment = segments[index]
    child = node.statics.get(segment)
    if child is not None:
        _collect(child, segments, index + 1, found)
    if segment:
        for edge in node.typed:
            try:
                edge[2](segment)
            except ValueError:
                continue
            _collect(edge[3], segments, index + 1, found)
        if node.plain is not None:
            _collect(node.plain, segments, index + 1, found)
    if node.wildcard is not None and (segment or index + 1 < len(segments)):
        found.update(node.wildcard.methods)
