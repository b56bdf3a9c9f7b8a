"""The router's twins: equal to each other, and to a matcher that tries every template in turn."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.errors import HTTPError
from cello.paths import CONVERTERS, Kind, Segment, parse_template
from cello.routing import trie_segments

SUBJECT = "router"

Table = list[tuple[str, list[str]]]


def make_router(module: ModuleType, table: Table) -> Any:
    """A Router whose leaves are (template, method as registered)."""
    router = module.Router()
    for template, methods in table:
        for method in methods:
            router.add(trie_segments(parse_template(template)), [method], (template, method))
    return router


# --- the reference: every template is tried, the best by segment wins -------------------------------------


RANKS = {"": 0, "int": 1, "uuid": 2, "float": 3, "str": 4, "path": 5}


def take(template: str, path: bytes) -> tuple[list[int], dict[str, Any]] | None:
    """Match one template alone: the ranks of its segments and the parameters."""
    raw = path[1:].split(b"/")
    ranks: list[int] = []
    params: dict[str, Any] = {}
    for index, segment in enumerate(parse_template(template)):
        if index == len(raw):
            return None
        ranks.append(RANKS[segment.type])
        if segment.kind is Kind.WILDCARD:
            params[segment.name] = unquote_to_bytes(b"/".join(raw[index:])).decode()
            return (ranks, params) if params[segment.name] else None
        text = unquote_to_bytes(raw[index]).decode()
        if not takes(segment, text, params):
            return None
    return (ranks, params) if len(ranks) == len(raw) else None


def takes(segment: Segment, text: str, params: dict[str, Any]) -> bool:
    if segment.kind is Kind.STATIC:
        return text == segment.text
    if segment.kind is Kind.PLAIN:
        params[segment.name] = text
        return text != ""
    try:
        params[segment.name] = CONVERTERS[segment.type](text)
    except ValueError:
        return False
    return True


def answering(table: Table, template: str) -> dict[str, str]:
    """The methods a template answers, each with the method registered for it."""
    known = {method: method for entry, methods in table for method in methods if entry == template}
    if "GET" in known:
        known.setdefault("HEAD", "GET")
    return known


def reference_match(table: Table, method: str, path: bytes) -> Any:
    hits = []
    for template in {template for template, _ in table}:
        found = take(template, path)
        registered = answering(table, template).get(method)
        if found is not None and registered is not None:
            hits.append((found[0], template, registered, found[1]))
    if not hits:
        return None
    _, template, registered, params = min(hits, key=lambda hit: hit[0])
    return (template, registered), params or None


def reference_allowed(table: Table, path: bytes) -> list[str]:
    return sorted({m for template, _ in table if take(template, path) for m in answering(table, template)})


# Few names and texts, so that templates share prefixes and paths run into several of them. A parameter's name
# comes from its position, so one pattern has one spelling.
TEMPLATE_SEGMENTS = ["a", "b", "1", "é", "a%2Fb", "{p}", "{p:int}", "{p:uuid}", "{p:float}"]
UUID_TEXT = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
PATH_SEGMENTS = ["a", "b", "1", "-2", "2.5", "%61", "%C3%A9", "a%2Fb", "a%2fb", "%2F", "x", "", UUID_TEXT]


@st.composite
def templates(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(TEMPLATE_SEGMENTS), max_size=4))
    last = draw(st.sampled_from([*TEMPLATE_SEGMENTS, "", "{p:path}"]))
    return "".join("/" + part.replace("{p", f"{{p{index}") for index, part in enumerate([*parts, last]))


tables = st.dictionaries(
    templates(), st.lists(st.sampled_from(["GET", "POST", "HEAD"]), min_size=1, unique=True), max_size=12
).map(lambda known: list(known.items()))
paths = st.lists(st.sampled_from(PATH_SEGMENTS), min_size=1, max_size=6).map(
    lambda parts: "".join(f"/{part}" for part in parts).encode()
)
methods = st.sampled_from(["GET", "POST", "HEAD", "PUT"])


@given(table=tables, requests=st.lists(st.tuples(methods, paths), min_size=1, max_size=8))
def test_agrees_with_the_reference(twin: ModuleType, table: Table, requests: list[tuple[str, bytes]]) -> None:
    router = make_router(twin, table)
    for method, path in requests:
        assert answer(router.match, method, path) == answer(reference_match, table, method, path)
        assert router.allowed(path) == reference_allowed(table, path)


def answer(call: Callable[..., Any], *args: Any) -> str:
    """Spell what a call comes to, so that 1, 1.0 and True differ."""
    try:
        return repr(call(*args))
    except HTTPError as exc:
        return f"{exc.status} {exc.detail}"


raw_paths = st.one_of(
    paths,
    st.binary(max_size=40),
    st.lists(st.sampled_from([b"/", b"a", b"%", b"%2", b"%2F", b"\xc3\xa9", b"%FF", b"1", b"\0"])).map(
        b"".join
    ),
)


@given(table=tables, method=methods, path=raw_paths)
def test_twins_agree(twins: tuple[ModuleType, ModuleType], table: Table, method: str, path: bytes) -> None:
    pure, compiled = (make_router(module, table) for module in twins)
    for raw in (path, b"/" + path):
        assert answer(compiled.match, method, raw) == answer(pure.match, method, raw)
        assert answer(compiled.allowed, raw) == answer(pure.allowed, raw)


# --- precedence and decoding, case by case ---------------------------------------------------------------

TABLE: Table = [
    ("/", ["GET"]),
    ("/users", ["GET", "POST"]),
    ("/users/me", ["POST"]),
    ("/users/{id}", ["GET"]),
    ("/users/{id:int}", ["GET", "DELETE"]),
    ("/users/{id:uuid}", ["GET"]),
    ("/users/{id:float}", ["GET"]),
    ("/users/*rest", ["GET", "PUT"]),
    ("/users/{id}/posts", ["GET"]),
    ("/users/{id:int}/posts/{post:int}", ["GET"]),
    ("/users/me/posts/new", ["GET"]),
    ("/files/{path:path}", ["GET"]),
    ("/café/{name}/", ["GET"]),
    ("/a%2Fb", ["GET"]),
    ("/{x}/{y}/{z}", ["PATCH"]),
]


@pytest.mark.parametrize(
    ("method", "path", "template", "params"),
    [
        ("GET", b"/", "/", None),
        ("GET", b"/users", "/users", None),
        ("GET", b"/%75sers", "/users", None),
        ("GET", b"/users/me", "/users/{id}", {"id": "me"}),  # the method takes part
        ("POST", b"/users/me", "/users/me", None),
        ("GET", b"/users/12", "/users/{id:int}", {"id": 12}),
        ("GET", b"/users/%31%32", "/users/{id:int}", {"id": 12}),
        ("GET", b"/users/1.5", "/users/{id:float}", {"id": 1.5}),
        ("GET", b"/users/" + b"1" * 20, "/users/{id:float}", {"id": float("1" * 20)}),
        ("GET", b"/users/1e5", "/users/{id}", {"id": "1e5"}),
        ("PUT", b"/users/12", "/users/*rest", {"rest": "12"}),
        ("GET", b"/users/12/posts", "/users/{id}/posts", {"id": "12"}),  # back from the int
        ("GET", b"/users/me/posts", "/users/{id}/posts", {"id": "me"}),  # back from the static text
        ("GET", b"/users/me/posts/new", "/users/me/posts/new", None),
        ("GET", b"/users/12/posts/3", "/users/{id:int}/posts/{post:int}", {"id": 12, "post": 3}),
        ("GET", b"/users/12/posts/x", "/users/*rest", {"rest": "12/posts/x"}),
        ("GET", b"/users/a/b/c/d/e/f/g", "/users/*rest", {"rest": "a/b/c/d/e/f/g"}),
        ("PATCH", b"/users/12/posts", "/{x}/{y}/{z}", {"x": "users", "y": "12", "z": "posts"}),
        ("GET", b"/users//", "/users/*rest", {"rest": "/"}),
        ("GET", b"/users/a%2Fb", "/users/{id}", {"id": "a/b"}),
        ("GET", b"/users/%C3%A9+%20%25", "/users/{id}", {"id": "é+ %"}),
        ("GET", b"/users/..", "/users/{id}", {"id": ".."}),
        ("GET", b"/files/a/b%2Fc/", "/files/{path:path}", {"path": "a/b/c/"}),
        ("GET", b"/files//", "/files/{path:path}", {"path": "/"}),
        ("GET", b"/caf%C3%A9/x/", "/café/{name}/", {"name": "x"}),
        ("GET", b"/caf\xc3\xa9/x/", "/café/{name}/", {"name": "x"}),
        ("GET", b"/a%2Fb", "/a%2Fb", None),
        ("GET", b"/a%2fb", "/a%2Fb", None),
    ],
)
def test_match(
    twin: ModuleType, method: str, path: bytes, template: str, params: dict[str, Any] | None
) -> None:
    assert repr(make_router(twin, TABLE).match(method, path)) == repr(((template, method), params))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", b"/users/"),
        ("GET", b"/files/"),
        ("GET", b"/files"),
        ("GET", b"//"),
        ("GET", b"//users"),
        ("GET", b"/caf%C3%A9//"),
        ("GET", b"/a/b"),
        ("GET", b"/USERS"),
        ("get", b"/users"),
        ("DELETE", b"/users"),
        ("OPTIONS", b"*"),
        ("GET", b""),
        ("GET", b"users"),
        ("GET", b"x/users"),
    ],
)
def test_no_match(twin: ModuleType, method: str, path: bytes) -> None:
    assert make_router(twin, TABLE).match(method, path) is None


@pytest.mark.parametrize("path", [b"/a/b", b"/a/", b"/a/b/c/d", b"/a%2Fb/c", b"//a"])
def test_a_path_deeper_than_the_table(twin: ModuleType, path: bytes) -> None:
    router = make_router(twin, [("/{x}", ["GET"])])
    assert router.match("GET", path) is None
    assert router.allowed(path) == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (b"/", ["GET", "HEAD"]),
        (b"/users", ["GET", "HEAD", "POST"]),
        (b"/users/me", ["GET", "HEAD", "POST", "PUT"]),
        (b"/users/7", ["DELETE", "GET", "HEAD", "PUT"]),
        (b"/users/me/posts", ["GET", "HEAD", "PATCH", "PUT"]),
        (b"/%66iles/x", ["GET", "HEAD"]),
        (b"/files/", []),
        (b"/nothing", []),
        (b"*", []),
    ],
)
def test_allowed(twin: ModuleType, path: bytes, allowed: list[str]) -> None:
    assert make_router(twin, TABLE).allowed(path) == allowed


@pytest.mark.parametrize(
    "path",
    [b"/%FF", b"/users/%C0%AF", b"/\xff", b"/nothing/%ED%A0%80", b"/files/a/%C3/%A9", b"/users/%2", b"/%zz"],
)
def test_path_that_is_no_text(twin: ModuleType, path: bytes) -> None:
    router = make_router(twin, TABLE)
    for call, args in ((router.match, ("GET", path)), (router.allowed, (path,))):
        with pytest.raises(HTTPError) as caught:
            call(*args)
        assert caught.value.status == 400


@pytest.mark.parametrize("order", [["GET", "HEAD"], ["HEAD", "GET"]])
@pytest.mark.parametrize("template", ["/x", "/{x}"])
def test_explicit_head_holds_in_any_order(twin: ModuleType, order: list[str], template: str) -> None:
    router = make_router(twin, [(template, order)])
    assert router.match("HEAD", b"/x")[0] == (template, "HEAD")
    assert router.match("GET", b"/x")[0] == (template, "GET")


def test_a_later_get_takes_its_implied_head_along(twin: ModuleType) -> None:
    router = make_router(twin, [("/x", ["GET"])])
    router.add(trie_segments(parse_template("/x")), ["GET"], "second")
    assert router.match("HEAD", b"/x") == router.match("GET", b"/x") == ("second", None)


def test_head_is_implied_within_its_pattern_only(twin: ModuleType) -> None:
    router = make_router(twin, [("/x", ["GET"]), ("/{x}", ["HEAD"])])
    assert router.match("HEAD", b"/x") == (("/x", "GET"), None)
    assert router.match("HEAD", b"/y") == (("/{x}", "HEAD"), {"x": "y"})


def test_names_belong_to_the_template(twin: ModuleType) -> None:
    router = make_router(twin, [("/{a}/x", ["GET"]), ("/{b}/x", ["POST"]), ("/{c}/{d}", ["GET"])])
    assert router.match("GET", b"/1/x")[1] == {"a": "1"}
    assert router.match("POST", b"/1/x")[1] == {"b": "1"}
    assert router.match("GET", b"/1/y")[1] == {"c": "1", "d": "y"}


def test_equal_ranks_are_tried_in_order_of_registration(twin: ModuleType) -> None:
    router = twin.Router()
    router.add([(2, "second", "x", str.upper)], ["GET"], "later kind")
    router.add([(1, "even", "x", str.lower)], ["GET"], "first")
    router.add([(1, "odd", "x", str.title)], ["GET", "POST"], "second")
    assert router.match("GET", b"/aB") == ("first", {"x": "ab"})
    assert router.match("POST", b"/aB") == ("second", {"x": "Ab"})


def test_a_typed_segment_needs_a_converter(twin: ModuleType) -> None:
    with pytest.raises(ValueError, match="'int' came without a converter"):
        twin.Router().add([(1, "int", "x", None)], ["GET"], "leaf")


def test_answers_do_not_share_parameters(twin: ModuleType) -> None:
    router = make_router(twin, [("/{x}", ["GET"])])
    router.match("GET", b"/1")[1]["y"] = "mine"
    assert router.match("GET", b"/1")[1] == {"x": "1"}


@pytest.mark.parametrize("text", ["a b", "é", "~!$&'()*+,;=:@", "a/b", "100%", '|^`"<>[]{}'])
def test_static_text_in_every_spelling(twin: ModuleType, text: str) -> None:
    router = make_router(twin, [("/" + quote(text, safe=""), ["GET"])])
    every_octet = "".join(f"%{octet:02x}" for octet in text.encode())
    for spelling in (quote(text, safe=""), quote(text, safe="!$&'()*+,;=:@"), every_octet):
        assert router.match("GET", b"/" + spelling.encode()) is not None, spelling


# --- what a walk over octets could get wrong ---------------------------------------------------------------


@pytest.mark.parametrize("stem", ["/", "/s/", "/s/{p}/"])
def test_static_texts_of_every_length(twin: ModuleType, stem: str) -> None:
    """Texts that differ in one octet, in each place and each length; half of them are registered."""
    texts = [("a" * place + "b").ljust(length, "a") for length in range(1, 40) for place in range(length)]
    router = make_router(twin, [(stem + text, ["GET"]) for text in texts[::2]])
    for number, text in enumerate(texts):
        found = router.match("GET", stem.replace("{p}", "x").encode() + text.encode())
        assert (found is not None) == (number % 2 == 0), text
        assert found is None or found[0] == (stem + text, "GET")


@given(table=tables, method=methods, parts=st.lists(st.sampled_from(PATH_SEGMENTS)), seed=st.randoms())
def test_a_spelling_changes_nothing(
    twin: ModuleType, table: Table, method: str, parts: list[str], seed: random.Random
) -> None:
    router = make_router(twin, table)
    path = "".join(f"/{part}" for part in parts).encode()
    octets = [bytes([octet]) for octet in path]
    is_literal = [
        octet not in b"/%" and path[max(index - 2, 0) : index].find(b"%") < 0
        for index, octet in enumerate(path)
    ]
    spelt = b"".join(
        b"%%%02X" % octet[0] if is_free and seed.random() < 0.5 else octet
        for octet, is_free in zip(octets, is_literal, strict=True)
    )
    assert answer(router.match, method, spelt) == answer(router.match, method, path)
    assert router.allowed(spelt) == router.allowed(path)


def test_parameters_stand_in_the_order_of_the_path(twin: ModuleType) -> None:
    names = [f"p{number}" for number in range(60, 0, -1)]
    router = make_router(twin, [("".join(f"/{{{name}}}" for name in names), ["GET"])])
    _, params = router.match("GET", b"".join(b"/%d" % number for number in range(60)))
    assert list(params.items()) == [(name, str(number)) for number, name in enumerate(names)]


def test_a_parameter_is_text_of_its_own(twin: ModuleType) -> None:
    router = make_router(twin, [("/{x}", ["GET"]), ("/w/*rest", ["GET"])])
    for text in ("a", "ab", "é", "\N{SNOWMAN}", "\N{GRINNING FACE}", "x" * 300, "a\0b", "/"):
        for stem, name in (("/", "x"), ("/w/", "rest")):
            value = router.match("GET", (stem + quote(text, safe="")).encode())[1][name]
            assert value == text
            assert hash(value) == hash(text)
            assert value.isascii() == text.isascii()


def test_a_method_is_known_by_its_text(twin: ModuleType) -> None:
    router = make_router(twin, [("/x", ["GET", "POST"]), ("/{x}", ["PUT"])])
    for _ in range(2):
        for method, template in (("GET", "/x"), ("POST", "/x"), ("HEAD", "/x"), ("PUT", "/{x}")):
            for spelt in (method, "".join(list(method))):
                assert router.match(spelt, b"/x")[0][0] == template
        assert router.match("".join(["DEL", "ETE"]), b"/x") is None


def test_a_later_leaf_is_seen_by_a_router_in_use(twin: ModuleType) -> None:
    router = make_router(twin, [("/x", ["GET"]), ("/y/{y}", ["GET"])])
    for template, path in (("/x", b"/x"), ("/y/{y}", b"/y/1")):
        assert router.match("GET", path)[0] == (template, "GET")
        router.add(trie_segments(parse_template(template)), ["GET"], "second")
        assert router.match("GET", path)[0] == "second"


def test_a_converter_may_ask_the_router(twin: ModuleType) -> None:
    router = make_router(twin, [("/inner/{a}/{b}", ["GET"])])
    router.add(
        [
            (1, "asks", name, lambda text: router.match("GET", f"/inner/{text}/%C3%A9".encode()))
            for name in "xy"
        ],
        ["GET"],
        "outer",
    )
    inner = ("/inner/{a}/{b}", "GET")
    assert router.match("GET", b"/1/%32") == (
        "outer",
        {"x": (inner, {"a": "1", "b": "é"}), "y": (inner, {"a": "2", "b": "é"})},
    )


def test_what_else_a_converter_raises_goes_through(twin: ModuleType) -> None:
    router = twin.Router()
    router.add([(1, "bad", "x", {}.__getitem__)], ["GET"], "leaf")
    for call, args in ((router.match, ("GET", b"/a")), (router.allowed, (b"/a",))):
        with pytest.raises(KeyError, match="a"):
            call(*args)


@pytest.mark.parametrize("path", [None, "/x", 1])
def test_a_path_is_bytes(twin: ModuleType, path: Any) -> None:
    router = make_router(twin, [("/x", ["GET"]), ("/{x}", ["POST"])])
    for call, args in ((router.match, ("GET", path)), (router.allowed, (path,))):
        with pytest.raises(TypeError):
            call(*args)


# --- cost: what a peer's path can make the walk do, counted in converter calls -----------------------------


class Counter:
    """A converter that takes every text and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str) -> str:
        self.calls += 1
        return text


def counted(template: str, counter: Callable[[str], str]) -> list[tuple[int, str, str, Any]]:
    return [
        (kind, text, name, counter if convert else None)
        for kind, text, name, convert in trie_segments(parse_template(template))
    ]


def test_every_mix_of_kinds_costs_each_edge_once(twin: ModuleType) -> None:
    """All 2^depth mixes of typed and plain segments are registered; each edge is tried once at most."""
    depth, counter, router = 8, Counter(), twin.Router()
    for mix in product(["{p%d:int}", "{p%d}"], repeat=depth):
        template = "".join("/" + part % index for index, part in enumerate(mix)) + "/end"
        router.add(counted(template, counter), ["GET"], template)
    assert router.match("GET", b"/1" * depth + b"/no") is None
    assert counter.calls == 2**depth - 1  # the typed edges of the whole trie: one for each inner node
    counter.calls = 0
    assert router.allowed(b"/1" * depth + b"/no") == []
    assert counter.calls == 2**depth - 1


@pytest.mark.parametrize("length", [25, 250, 25_000])
def test_a_long_path_costs_no_more_than_the_table(twin: ModuleType, length: int) -> None:
    """Templates made for coming back: each leaves the common way at another depth, none ends as the path."""
    depth, counter, router = 20, Counter(), twin.Router()
    for turn in range(depth):
        parts = ["{p%d:int}" if index == turn else "{p%d}" for index in range(depth)]
        template = "".join("/" + part % index for index, part in enumerate(parts)) + f"/end{turn}"
        router.add(counted(template, counter), ["GET"], template)
    assert router.match("GET", b"/1" * length) is None
    assert counter.calls == depth


def test_static_neighbours_cost_nothing(twin: ModuleType) -> None:
    counter, router = Counter(), twin.Router()
    for number in range(2_000):
        template = f"/resource{number}/{{id:int}}/items/{{item:int}}"
        router.add(counted(template, counter), ["GET"], template)
    assert router.match("GET", b"/resource1999/1/items/2")[1] == {"id": "1", "item": "2"}
    assert counter.calls == 2
