"""cello.json_codec: what it renders, what it refuses and how it says so."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import sys
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cello.errors import CelloError
from cello.json_codec import DecodeError, EncodeError, decode, encode

NAN, INF = float("nan"), float("inf")


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Level(enum.StrEnum):
    HIGH = "high"


@dataclass
class Point:
    x: float
    y: float | None = None


@dataclass(slots=True)
class Slotted:
    x: Any


class Row(msgspec.Struct, rename="camel"):
    row_id: int
    the_value: Any = None
    extra: int | msgspec.UnsetType = msgspec.UNSET


class Movie(TypedDict):
    title: str


class Model:
    """Looks like a pydantic model to duck typing."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def __iter__(self) -> Any:
        return iter(self.values.items())

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        return {
            key: str(value) if mode == "json" and value is Colour else value
            for key, value in self.values.items()
        }


class BrokenModel:
    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        raise ValueError("no serializer")


class Text(str):
    def __str__(self) -> str:
        return "overridden"


class Number(float):
    pass


class Count(int):
    pass


class Foo:
    pass


Pair = namedtuple("Pair", "first second")

text = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
plain_values = st.recursive(scalars, lambda parts: st.lists(parts) | st.dictionaries(text, parts))


def circular_list() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@given(plain_values)
@example([2**63, 2**64, -(2**63) - 1, 10**400])
@example({"a": [None, 1e308, 5e-324, -0.0], "b": "null"})
def test_plain_values_agree_with_the_standard_library(value: Any) -> None:
    assert json.loads(encode(value)) == value
    assert decode(json.dumps(value).encode()) == value
    assert decode(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2024, 2, 29, 1, 2, 3, 4), '"2024-02-29T01:02:03.000004"'),
        (dt.datetime(2024, 2, 29, tzinfo=dt.UTC), '"2024-02-29T00:00:00Z"'),
        (dt.date(2024, 2, 29), '"2024-02-29"'),
        (dt.time(1, 2), '"01:02:00"'),
        (dt.timedelta(days=1, seconds=3), '"P1DT3S"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Decimal("1.10"), '"1.10"'),
        (Colour.RED, '"red"'),
        (Size.BIG, "3"),
        (Level.HIGH, '"high"'),
        (HTTPStatus.OK, "200"),
        ({7}, "[7]"),
        (frozenset({7}), "[7]"),
        ((1, "a"), '[1,"a"]'),
        (Pair(1, 2), "[1,2]"),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"\x00\xff"), '"AP8="'),
        (memoryview(b"\x00\xff"), '"AP8="'),
        (PurePosixPath("/a/b"), '"/a/b"'),
        (Path("b"), '"b"'),
        (Point(1.5), '{"x":1.5,"y":null}'),
        (Slotted([1]), '{"x":[1]}'),
        (Row(1, "v"), '{"rowId":1,"theValue":"v"}'),
        (Movie(title="M"), '{"title":"M"}'),
        (OrderedDict(a=1), '{"a":1}'),
        (Model(a=1, path=Path("p")), '{"a":1,"path":"p"}'),
        (Text("text"), '"text"'),
        (Number(1.5), "1.5"),
        (Count(5), "5"),
        ("\u00e9\u2028</script>", '"\u00e9\u2028</script>"'),
        (
            {1: "i", 2.5: "f", uuid.UUID(int=0): "u", Colour.RED: "e", dt.date(2024, 1, 1): "d"},
            '{"1":"i","2.5":"f","00000000-0000-0000-0000-000000000000":"u","red":"e","2024-01-01":"d"}',
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_types_that_json_lacks(value: Any, expected: str) -> None:
    assert encode(value).decode() == expected


def test_attrs_classes_are_objects_of_their_public_attributes() -> None:
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", {"name": attrs.field(), "_secret": attrs.field(default=NAN)})
    assert encode(made(None)) == b'{"name":null}'
    with pytest.raises(EncodeError, match=r"cannot encode nan at \$\.name: "):
        encode(made(NAN))


def test_pydantic_models_are_objects() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("User", name=(str, ...), since=(dt.date, ...), score=(float | None, None))
    user = model(name="Ada", since=dt.date(2024, 1, 1))
    assert encode([user]) == b'[{"name":"Ada","since":"2024-01-01","score":null}]'
    with pytest.raises(EncodeError, match=r"cannot encode nan at \$\[0\]\.score: "):
        encode([model(name="Ada", since=dt.date(2024, 1, 1), score=NAN)])


@pytest.mark.parametrize(
    "number",
    [2**63, -(2**63) - 1, 2**64, 10**400, -(10**4200)],
    ids=lambda number: f"{number.bit_length()} bits",
)
def test_integers_of_any_size_are_exact_both_ways(number: int) -> None:
    assert encode([number]) == f"[{number}]".encode()
    assert decode(f"[{number}]".encode()) == [number]


def test_integers_beyond_the_interpreters_digits_are_refused_never_rounded() -> None:
    digits = sys.get_int_max_str_digits() + 1
    with pytest.raises(EncodeError, match=r"type int at \$\.n: Exceeds the limit"):
        encode({"n": 10**digits})
    with pytest.raises(DecodeError, match=r"out of range - at `\$\[0\]`"):
        decode(b"[1" + b"0" * digits + b"]")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (NAN, "nan at $"),
        (-INF, "-inf at $"),
        ([1, {"a b": [0.5, INF]}], "inf at $[1]['a b'][1]"),
        ((None, NAN), "nan at $[1]"),
        ({NAN}, "nan at $[0]"),
        (frozenset({INF}), "inf at $[0]"),
        (Point(1.0, NAN), "nan at $.y"),
        (Slotted((NAN,)), "nan at $.x[0]"),
        ([Row(1, NAN)], "nan at $[0].theValue"),
        ({"m": Model(a=None, b=NAN)}, "nan at $.m.b"),
        (OrderedDict(a=NAN), "nan at $.a"),
        (Number("nan"), "nan at $"),
        ([10**30, NAN], "nan at $[1]"),
    ],
    ids=str,
)
def test_nan_and_infinity_are_errors_that_say_where(value: Any, where: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(value)
    assert f"cannot encode {where}: " in str(caught.value)


@given(plain_values, st.sampled_from([NAN, INF, -INF]))
def test_a_nonfinite_number_beside_anything_is_found(value: Any, number: float) -> None:
    for holder in ([value, number], {"a": value, "b": [number]}, (number, value)):
        with pytest.raises(EncodeError, match="JSON has neither NaN nor infinity"):
            encode(holder)


@pytest.mark.parametrize(
    "value",
    [
        None,
        ["null", None],
        {"nullable": True},
        [None, sys.float_info.max, -sys.float_info.max, 5e-324],
        [None, 2**80],
        # octets that look like MessagePack's infinity
        [None, b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"],
        [None, Decimal("NaN")],
        [None, dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {1}, uuid.UUID(int=0x_CB7F_F000 << 64)],
    ],
    ids=str,
)
def test_null_is_no_sign_of_nan(value: Any) -> None:
    assert b"null" in encode(value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Foo(), "object of type Foo at $"),
        ({"users": [{}, {}, {}, {"avatar": Foo()}]}, "object of type Foo at $.users[3].avatar"),
        (Point(Foo()), "object of type Foo at $.x"),  # type: ignore[arg-type]
        (Row(1, Foo()), "object of type Foo at $.theValue"),
        (Model(a=Foo()), "object of type Foo at $.a"),
        ({"": 1j}, "object of type complex at $['']"),
        ((x for x in [1]), "object of type generator at $"),
        ([range(3)], "object of type range at $[0]"),
        ([Foo], "object of type type at $[0]"),
        ([Point], "object of type type at $[0]"),
        ({"a": {(1, 2): 3}}, "a key of type tuple at $.a: (1, 2)"),
        ({None: 1}, "a key of type NoneType at $: None"),
        ({"ok": 1, True: 2}, "a key of type bool at $: True"),
        (["\ud800"], "object of type str at $[0]: 'utf-8' codec"),
        ([BrokenModel()], "object of type BrokenModel at $[0]: no serializer"),
        ([memoryview(b"abcd")[::2]], "object of type memoryview at $[0]: "),
        ([msgspec.UNSET], "object of type UnsetType at $[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_json_cannot_hold_is_an_error_that_names_type_and_place(value: Any, where: str) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(value)
    assert str(caught.value).startswith(f"cannot encode {where}")
    assert caught.value.__cause__ is not None


def test_encode_error_is_both_cellos_and_a_type_error() -> None:
    assert issubclass(EncodeError, CelloError)
    assert issubclass(EncodeError, TypeError)


def test_a_value_that_contains_itself() -> None:
    user: dict[str, Any] = {"name": "Ada", "friends": []}
    user["friends"].append(user)
    with pytest.raises(EncodeError, match=r"type dict at \$\[1\]\.friends\[0\]: it contains itself"):
        encode([1, user])
    with pytest.raises(EncodeError, match=r"type list at \$\[0\]: it contains itself"):
        encode(circular_list())


def test_a_circle_of_dataclasses() -> None:
    @dataclass
    class Node:
        parts: list[Any] = field(default_factory=list)

    node = Node()
    node.parts.append(node)
    with pytest.raises(EncodeError, match=r"type Node at \$\.parts\[0\]: it contains itself"):
        encode(node)


def test_the_same_part_twice_is_no_circle() -> None:
    shared = [1]
    assert encode([shared, shared]) == b"[[1],[1]]"
    with pytest.raises(EncodeError, match="nested deeper"):
        encode([shared, shared, nested(50_000), shared])  # 3.13 allows some 10,000


def test_deep_nesting_is_an_error_both_ways() -> None:
    with pytest.raises(EncodeError, match="nested deeper"):
        encode(nested(50_000))
    for opening in (b"[", b'{"a":'):
        with pytest.raises(DecodeError, match="nested too deeply") as caught:
            decode(opening * 100_000)
        assert caught.value.position is None


@pytest.mark.parametrize(
    ("raw", "position"),
    [
        (b"", 0),
        (b"  ", 2),
        (b"{", 1),
        (b'["abc', 5),
        (b"NaN", 0),
        (b"[Infinity]", 1),
        (b"-Infinity", 1),
        (b"[1,]", 3),
        (b"1 1", 2),
        (b"01", 1),
        (b"{1:2}", 1),
        (b"{'a':1}", 1),
        (b'"\x01"', 1),
        (b'{"a":"x\xff"}', 7),
        (b'["ab", "\xed\xa0\x80"]', 8),  # a surrogate in UTF-8
        (b'["\xc0\xaf"]', 2),  # overlong
        (b"\xef\xbb\xbf1", 0),  # a byte order mark
        ('{"a":1}'.encode("utf-16"), 0),
        (b'"\\ud800\\u0041"', 13),
        (b"[1]\x00", 3),
    ],
)
def test_what_is_not_json_is_an_error_with_its_position(raw: bytes, position: int) -> None:
    with pytest.raises(DecodeError, match="invalid JSON: ") as caught:
        decode(raw)
    assert caught.value.position == position
    assert f"(byte {position})" in str(caught.value)


@pytest.mark.parametrize("raw", [b"1e400", b'{"a":[-1e999]}'])
def test_numbers_beyond_a_float_are_refused_not_made_infinite(raw: bytes) -> None:
    with pytest.raises(DecodeError, match="out of range"):
        decode(raw)


@pytest.mark.parametrize("raw", [b'"\\ud800"', b'["\\udc00", 1]', b'"\\ud83d"'])
def test_lone_surrogates_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(raw)


def test_decode_error_is_both_cellos_and_a_value_error() -> None:
    assert issubclass(DecodeError, CelloError)
    assert issubclass(DecodeError, ValueError)


@given(st.binary() | st.text(alphabet='[]{}",:0123456789.eE+-truefalsn\\u \n').map(str.encode))
def test_any_octets_give_a_value_or_a_decode_error(raw: bytes) -> None:
    try:
        value = decode(raw)
    except DecodeError:
        return
    assert value == json.loads(raw, parse_constant=pytest.fail)


def test_escapes_and_repeated_keys() -> None:
    assert decode(b'"\\ud83d\\ude00\\u0000"') == "\U0001f600\0"
    assert decode(b'{"a":1,"a":2}') == {"a": 2}
    assert math.copysign(1, decode(b"-0.0")) == -1
