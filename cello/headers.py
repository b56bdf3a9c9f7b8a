"""Header fields as values: those of a request, read-only, and those of a response, checked as they are set.

What `ResponseHeaders` holds is fit for the wire on every protocol: lower-case tokens as names, Latin-1 values
without CR, LF or NUL. So the adapters copy its `raw` as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._speedups import Headers, is_field_value, is_token
from .errors import ResponseError

__all__ = ["Headers", "ResponseHeaders"]

HeadersLike = Mapping[str, Any] | Iterable[tuple[str, Any]]
HeadersInit = HeadersLike | None

_MASKED = ("set-cookie", "authorization", "cookie", "proxy-authorization")
_MISSING: Any = object()


class ResponseHeaders:
    """The mutable, case-insensitive fields of a response.

    Names are str, values str or int. Setting replaces all lines of a name, `append` adds one. Whatever HTTP
    cannot carry is a ResponseError where it is set. `raw` is what adapters send: (name, value) in order.
    Reading works as in `Headers`: several lines of one name are joined, but for Set-Cookie.
    """

    __slots__ = ("raw",)

    def __init__(self, init: HeadersInit = None) -> None:
        self.raw: list[tuple[bytes, bytes]] = _encode_all(init) if init is not None else []

    def __setitem__(self, name: str, value: str | int) -> None:
        self._replace(*_encode(name, value))

    def append(self, name: str, value: str | int) -> None:
        """Add a line, beside those of the same name that are there."""
        self.raw.append(_encode(name, value))

    def update(self, other: HeadersLike) -> None:
        """Replace every name that other has by the lines it has there.

        Nothing changes where one of the lines is invalid.
        """
        replaced = set()
        for key, value in _encode_all(other):
            if key in replaced:
                self.raw.append((key, value))
            else:
                self._replace(key, value)
                replaced.add(key)

    def setdefault(self, name: str, default: str | int) -> str:
        """Return the value of a field, after setting it to default if it was absent."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str, default: Any = _MISSING) -> Any:
        """Remove all lines of a name and return its value; KeyError if absent and no default is given."""
        if name not in self and default is not _MISSING:
            return default
        value = self[name]
        del self[name]
        return value

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(f"no field {name!r}")
        key = name.lower().encode("ascii")
        self.raw[:] = [field for field in self.raw if field[0] != key]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field, or default where no line has that name."""
        return Headers(self.raw).get(name, default)

    def get_all(self, name: str) -> list[str]:
        """Return the values of all lines of a name, in order; an empty list where there is none."""
        return Headers(self.raw).get_all(name)

    def __getitem__(self, name: str) -> str:
        return Headers(self.raw)[name]

    def __contains__(self, name: object) -> bool:
        return name in Headers(self.raw)

    def __iter__(self) -> Iterator[str]:
        return iter(Headers(self.raw))

    def __len__(self) -> int:
        return len(Headers(self.raw))

    def keys(self) -> list[str]:
        """Return the names, each once, in order of first appearance."""
        return Headers(self.raw).keys()

    def values(self) -> list[str]:
        """Return the values of all field lines, in order."""
        return Headers(self.raw).values()

    def items(self) -> list[tuple[str, str]]:
        """Return (name, value) of all field lines, in order."""
        return Headers(self.raw).items()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResponseHeaders):
            return NotImplemented
        return Headers(self.raw) == Headers(other.raw)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [(name, "***" if name in _MASKED else value) for name, value in self.items()]
        return f"ResponseHeaders({lines!r})"

    def _replace(self, key: bytes, value: bytes) -> None:
        for index, field in enumerate(self.raw):
            if field[0] == key:
                rest = [later for later in self.raw[index + 1 :] if later[0] != key]
                self.raw[index:] = [(key, value), *rest]
                return
        self.raw.append((key, value))


# Compiled classes cannot inherit an ABC, and these differ from Mapping's mixins in `items` and `values`.
Mapping.register(Headers)
Mapping.register(ResponseHeaders)


def _encode_all(init: HeadersLike) -> list[tuple[bytes, bytes]]:
    """Encode the pairs of a mapping, or the pairs themselves."""
    pairs: Any = init.items() if isinstance(init, Mapping) else init
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise ResponseError(f"headers: expected a mapping or (name, value) pairs, got {_shown(init)}")
    fields = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ResponseError(f"headers: expected a (name, value) pair, got {_shown(pair)}")
        fields.append(_encode(*pair))
    return fields


def _encode(name: str, value: str | int) -> tuple[bytes, bytes]:
    key = _encode_name(name)
    if key == b"transfer-encoding":
        # RFC 9112 6.1: it describes the framing of one connection, and HTTP/2 forbids it.
        way_out = "to stream, return a generator or Response.stream(...)"
        raise _refusal(name, value, f"no such header, since the server frames answers; {way_out}")
    return key, _encode_value(name, value)


def _encode_name(name: str) -> bytes:
    if isinstance(name, str) and name.isascii():
        key = name.encode("ascii").lower()
        if is_token(key):
            return key
    expected = "a token of ASCII letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 5.6.2)"
    raise ResponseError(f"header name: got {_shown(name)}, expected {expected}")


def _encode_value(name: str, value: str | int) -> bytes:
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    if not isinstance(value, str):
        raise _refusal(name, value, "a str or an int")
    try:
        octets = value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise _refusal(name, value, "characters of Latin-1 only") from None
    if not is_field_value(octets):
        raise _refusal(name, value, "no control characters such as CR, LF or NUL")
    return octets


def _refusal(name: str, value: object, expected: str) -> ResponseError:
    return ResponseError(f"header {_shown(name)}: got {_shown(value)}, expected {expected}")


def _shown(value: object) -> str:
    return repr(value)[:80]
