"""JSON in and out; the only home of msgspec.

Encoding is strict where msgspec is lenient: NaN and infinity, which JSON does not have (RFC 8259 6) and
msgspec writes as null, are errors. The fast path is one call and one search; what explains a failure walks
the value again, and runs only after a failure.

Rejected: the standard library's encoder (8 times slower, and it knows neither dates nor dataclasses), and an
encoder per route (an encoder holds no state between calls, so all threads share one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import PurePath
from typing import Any

import msgspec

from .errors import CelloError


class EncodeError(CelloError, TypeError):
    """A value has no form in JSON.

    The message names its type and where it stood ("$" is the whole value).
    """


class DecodeError(CelloError, ValueError):
    """Octets are not JSON text (RFC 8259).

    ``position`` is the offset of the octet where reading stopped, or None where only the place in the
    document is known (the message then names it).
    """

    def __init__(self, message: str, position: int | None) -> None:
        super().__init__(message)
        self.position = position


def _to_builtin(value: Any) -> Any:
    """Turn what msgspec does not know into something it does."""
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(type(value), "model_dump"):  # pydantic, which Cello does not import
        return value.model_dump(mode="json")
    # Subclasses keep their value: markupsafe.Markup is its text, numpy.float64 its number.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):  # a bool gets here only as a key
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"cannot encode object of type {type(value).__name__}")


encode_unchecked = msgspec.json.Encoder(enc_hook=_to_builtin).encode
"""``encode`` without its checks, for the dispatch core, which makes them itself."""

_decode = msgspec.json.Decoder().decode

# PERF: three steps find a NaN or infinity, each rarer and dearer. (1) msgspec writes them as null: output
# without "null" holds none. The search takes 70 ns in a small answer and 0.4 us per KB; `b"null" in raw`
# takes 220 ns and 0.6 us per KB, since it first tries to read the needle as a number. (2) With a null, the
# same value as MessagePack shows a float of all-ones exponent as CB 7F F0.. or CB FF F0..: octets that UTF-8
# never has in a row, so this seldom errs, and only to the safe side. (3) Then a walk over the value decides.
# For a list of 9,000 objects with a None each, steps 1 and 2 take 1.8 ms beside encoding's 1.4, and the walk
# alone would take 7.1.
_find_null = re.compile(rb"null").search
_find_nonfinite = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
_encode_msgpack = msgspec.msgpack.Encoder(enc_hook=_to_builtin).encode


def encode(value: Any) -> bytes:
    """Render a value as JSON text in UTF-8.

    Dates and times are ISO 8601 strings, timedelta an ISO 8601 duration, Decimal, UUID and paths strings,
    bytes base64, an Enum its value, sets and tuples arrays; dataclasses, msgspec Structs, attrs classes and
    pydantic models are objects. Keys may be whatever has a plain string form (str, int, float, UUID, Enum,
    date, ...). Integers are exact up to the digits that the interpreter converts
    (sys.get_int_max_str_digits(), 4,300).

    Raises EncodeError for any other type, for NaN and infinity, for text with lone surrogates, and for values
    that contain themselves or nest deeper than the interpreter's recursion limit.
    """
    try:
        raw = encode_unchecked(value)
    except (TypeError, ValueError, RecursionError, BufferError) as exc:
        raise explain(value, exc) from exc
    if _find_null(raw):
        check_finite(value)
    return raw


def check_finite(value: Any) -> None:
    """Check a value whose JSON text has a null, which may have been NaN or infinity; raises EncodeError."""
    if _may_hold_nonfinite(value) and _has_nonfinite(value):
        raise _explain_nonfinite(value)


def decode(raw: bytes) -> Any:
    """Parse JSON text in UTF-8.

    Gives dicts, lists, str, int, float, bool and None. Integers are exact; of repeated keys the last wins.
    Raises DecodeError for anything else than one JSON value: NaN, Infinity, numbers beyond a float's range or
    the interpreter's digits, invalid UTF-8, a byte order mark, lone surrogates, nesting beyond the
    interpreter's recursion limit.
    """
    try:
        return _decode(raw)
    except UnicodeDecodeError as exc:
        position = _invalid_utf8_at(raw)
        raise DecodeError(f"invalid JSON: invalid UTF-8 (byte {position})", position) from exc
    except msgspec.DecodeError as exc:
        raise _decode_error(raw, str(exc)) from exc
    except RecursionError as exc:
        raise DecodeError("invalid JSON: nested too deeply", None) from exc


def _invalid_utf8_at(raw: bytes) -> int:
    # msgspec counts from the start of the string that holds the octet.
    try:
        raw.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return 0


def _decode_error(raw: bytes, message: str) -> DecodeError:
    reason = message.removeprefix("JSON is malformed: ")
    if "truncated" in reason:
        return DecodeError(f"invalid JSON: the text ends too early (byte {len(raw)})", len(raw))
    place = re.search(r" \(byte (\d+)\)$", reason)
    if place is None:
        return DecodeError(f"invalid JSON: {reason}", None)
    reason, position = reason[: place.start()], int(place[1])
    if reason == "trailing characters":
        position -= 1  # msgspec has stepped over the first of them
    return DecodeError(f"invalid JSON: {reason} (byte {position})", position)


# From here on: what went wrong and where. Nothing below runs for a value that encodes and holds no null.

_LEAVES = frozenset((str, int, bool, type(None), bytes))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a container, as msgspec sees them.

    Each comes with its step in a path: ".name", "[0]", "['two words']".
    """
    if isinstance(value, dict):
        for key, child in value.items():
            plain = isinstance(key, str) and _IDENTIFIER.match(key)
            yield f".{key}" if plain else f"[{key!r}]", child
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, child in enumerate(value):
            yield f"[{index}]", child
    elif isinstance(value, msgspec.Struct):
        for name, wire_name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield f".{wire_name}", getattr(value, name)
    elif not isinstance(value, type):
        yield from _attributes(value)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
    elif hasattr(type(value), "__attrs_attrs__"):
        # msgspec leaves out the private attributes of attrs classes, though not those of dataclasses.
        names = [field.name for field in value.__attrs_attrs__ if not field.name.startswith("_")]
    elif hasattr(type(value), "model_dump"):
        yield from _children(_dumped(value))
        return
    else:
        return
    for name in names:
        if hasattr(value, name):
            yield f".{name}", getattr(value, name)


def _dumped(model: Any) -> Any:
    try:
        return model.model_dump(mode="json")
    except (TypeError, ValueError, RecursionError):
        return None  # the model itself is what cannot be encoded, and the first failure says why


def _may_hold_nonfinite(value: Any) -> bool:
    try:
        return _find_nonfinite(_encode_msgpack(value)) is not None
    except (TypeError, ValueError, OverflowError, RecursionError):
        return True  # MessagePack has no integers beyond 64 bits


def _has_nonfinite(root: Any) -> bool:
    pending = [root]
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind is dict:
            pending += [child for child in value.values() if type(child) not in _LEAVES]
        elif kind is list:
            pending += [child for child in value if type(child) not in _LEAVES]
        elif isinstance(value, float):
            if not isfinite(value):
                return True
        else:
            pending += [child for _, child in _children(value)]
    return False


def _explain_nonfinite(root: Any) -> EncodeError:
    trail = [("$", root, _children(root))]
    while True:
        _, value, parts = trail[-1]
        if isinstance(value, float) and not isfinite(value):
            break
        step, child = next(parts, ("", None))
        if step:
            trail.append((step, child, _children(child)))
        elif len(trail) > 1:
            trail.pop()
        else:
            break
    where = "".join(step for step, *_ in trail)
    return EncodeError(
        f"cannot encode {value!s:.80} at {where}: JSON has neither NaN nor infinity (RFC 8259 6)"
    )


def explain(root: Any, cause: Exception) -> EncodeError:
    if isinstance(cause, RecursionError):
        return _explain_recursion(root)
    where, value, exc = _find_refused(root, cause)
    if isinstance(value, dict):
        for key in value:
            refusal = _refusal_of({key: None})
            if refusal is not None:
                name = type(key).__name__
                return EncodeError(f"cannot encode a key of type {name} at {where}: {key!r:.80}")
    reason = "" if type(exc) is TypeError else f": {exc}"
    return EncodeError(f"cannot encode object of type {type(value).__name__} at {where}{reason}")


def _refusal_of(value: Any) -> Exception | None:
    try:
        encode_unchecked(value)
    except (TypeError, ValueError, RecursionError, BufferError) as exc:
        return exc
    return None


def _find_refused(root: Any, cause: Exception) -> tuple[str, Any, Exception]:
    """Return path, value and refusal of the innermost part that fails.

    Descends into the first part that does not encode on its own, until all parts of one do.
    """
    where, value = "$", root
    while True:
        for step, child in _children(value):
            refusal = _refusal_of(child)
            if refusal is not None:
                where, value, cause = where + step, child, refusal
                break
        else:
            return where, value, cause


def _explain_recursion(root: Any) -> EncodeError:
    """Tell a value that contains itself from one that is merely deep."""
    trail = [("$", root, _children(root))]
    open_ids = {id(root)}
    seen = [root]  # keeps what models dump alive, so that no id is used twice
    seen_ids = {id(root)}
    while trail:
        _, value, parts = trail[-1]
        step, child = next(parts, ("", None))
        if not step:
            trail.pop()
            open_ids.discard(id(value))
        elif id(child) in open_ids:
            where = "".join(step for step, *_ in trail) + step
            return EncodeError(
                f"cannot encode object of type {type(child).__name__} at {where}: it contains itself"
            )
        elif type(child) not in _LEAVES and id(child) not in seen_ids:
            trail.append((step, child, _children(child)))
            seen.append(child)
            seen_ids.add(id(child))
            open_ids.add(id(child))
    return EncodeError("cannot encode a value nested deeper than the interpreter's recursion limit")
