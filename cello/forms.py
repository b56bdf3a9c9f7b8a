"""Query strings and URL-encoded forms.

Both have one grammar, so one parser (`split_pairs`) and one class of values. Most queries have a few fields
and are asked for one or two, so that their values stay a list until an index pays for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from multidict import MultiDict

from ._speedups import split_pairs
from .errors import HTTPError

MAX_FIELDS = 1000
"""Fields in one query or form; more are refused with 400, for each costs far more memory than its octets."""

T = TypeVar("T")
_REQUIRED: Any = object()

# PERF: with up to eight fields, one lookup and even three cost at least 80 ns less by walking than by first
# making a MultiDict (440 against 530 ns for a query of one field, benchmarks/micro/query.py). At about 24 the
# gain ends.
_WALKED_FIELDS = 8


class QueryParams:
    """The names and values of a query or form, in order.

    Reads like a dict of each name's first value; ``get_all`` (or multidict's ``getall``) gives all of them.
    As in ``cello.headers.Headers``, iteration, ``keys`` and ``len`` count each name once, and ``items`` and
    ``values`` have one entry per field. Immutable. Missing names raise KeyError from ``[]`` and ``getall``.
    """

    __slots__ = ("_index", "_pairs")

    _index: MultiDict[str] | None
    _pairs: list[tuple[str, str]]

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._index = MultiDict(fields)
        self._pairs = list(self._index.items())

    def _indexed(self) -> MultiDict[str]:
        if self._index is None:
            self._index = MultiDict(self._pairs)
        return self._index

    def __getitem__(self, name: str) -> str:
        if len(self._pairs) <= _WALKED_FIELDS:
            for each, value in self._pairs:
                if each == name:
                    return value
        return self._indexed()[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _REQUIRED) is not _REQUIRED

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def get(self, name: str, default: object = None) -> object:
        """Return a name's first value, or the default."""
        if len(self._pairs) > _WALKED_FIELDS or not isinstance(name, str):
            return self._indexed().get(name, default)
        for each, value in self._pairs:
            if each == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name; an empty list where it is missing."""
        return self._indexed().getall(name, [])

    def getall(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return all values of a name as multidict does.

        Raises KeyError where it is missing and no default is given.
        """
        index = self._indexed()
        return index.getall(name) if default is _REQUIRED else index.getall(name, default)

    def keys(self) -> list[str]:
        """Return the names, each once, in order of first appearance."""
        return list(dict.fromkeys([name for name, _ in self._pairs]))

    def values(self) -> list[str]:
        """Return the values of all fields, in order."""
        return [value for _, value in self._pairs]

    def items(self) -> list[tuple[str, str]]:
        """Return (name, value) of all fields, in order."""
        return list(self._pairs)

    def __eq__(self, other: object) -> bool:
        """Compare all fields in order, or with a dict where none repeats."""
        if isinstance(other, QueryParams):
            return self._pairs == other._pairs
        if isinstance(other, Mapping):
            return len(self._pairs) == len(other) and dict(self._pairs) == dict(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"QueryParams({self._pairs!r})"


_EMPTY = QueryParams()
_new = QueryParams.__new__


def parse_query(raw: bytes) -> QueryParams:
    """Parse the query of a request target, without its "?".

    Plus and %20 are spaces, a name without "=" has an empty value. Octets that are not UTF-8 become U+FFFD
    and a broken percent triple stays as it is, so that what a foreign link appends does not take a page down;
    the WHATWG URL standard parses application/x-www-form-urlencoded so. Raises HTTPError 400 for more than
    MAX_FIELDS fields.
    """
    return _parse(raw, "query") if raw else _EMPTY


def parse_urlencoded(body: bytes) -> QueryParams:
    """Parse a body of type application/x-www-form-urlencoded.

    The rules are those of parse_query.
    """
    return _parse(body, "form") if body else _EMPTY


def _parse(raw: bytes, what: str) -> QueryParams:
    try:
        pairs = split_pairs(raw, MAX_FIELDS)
    except ValueError:
        raise HTTPError(400, f"the {what} has more than {MAX_FIELDS} fields") from None
    # PERF: without __init__, which copies and checks what others hand in.
    params = _new(QueryParams)
    params._index = None
    params._pairs = pairs
    return params
