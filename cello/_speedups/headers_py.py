"""The fields of a request as a case-insensitive mapping.

Same source: compiled a second time as headers_c. A request makes its `Headers` when a handler first asks, so
making one hashes and decodes nothing; a look-up walks the lines, and requests have few of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MASKED = ("authorization", "cookie", "proxy-authorization")


def _key(name: object) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"expected a field name as str, got {type(name).__name__}")
    # Names are tokens, so no field answers to a name outside ASCII; and str.lower() would take the Kelvin
    # sign for a "k", where bytes.lower() knows ASCII alone.
    return name.encode().lower() if name.isascii() else b""


class Headers:
    """A read-only, case-insensitive view of the fields of a request.

    `raw` is the list of (name, value) as received, names in lower case; it is kept, not copied. Text is
    Latin-1, which any octet survives. Iteration, `keys` and `len` count each name once; `items` and `values`
    have one entry per field line.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        if type(raw) is not list:
            raise TypeError(f"expected fields as a list, got {type(raw).__name__}")
        self._raw = raw

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The field lines as bytes, in order; not to be changed."""
        return self._raw

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a field, or default where no line has that name.

        Several lines of one name are joined with ", " (RFC 9110 5.3), of Cookie with "; " (RFC 9113 8.2.3);
        of Set-Cookie, which cannot be joined, the first one counts.
        """
        key = _key(name)
        values = self._values_of(key)
        if not values:
            return default
        joined = values[0]
        if len(values) > 1 and key != b"set-cookie":
            joined = (b"; " if key == b"cookie" else b", ").join(values)
        return joined.decode("latin-1")

    def get_all(self, name: str) -> list[str]:
        """Return the values of all lines of a name, in order; an empty list where there is none."""
        return [value.decode("latin-1") for value in self._values_of(_key(name))]

    def _values_of(self, key: bytes) -> list[bytes]:
        values = []
        for field in self._raw:
            if field[0] == key:
                values.append(field[1])
        return values

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(f"no field {name!r}")
        return value  # type: ignore[no-any-return]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._values_of(_key(name)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len({field[0] for field in self._raw})

    def keys(self) -> list[str]:
        """Return the names, each once, in order of first appearance."""
        return [name.decode("latin-1") for name in dict.fromkeys([field[0] for field in self._raw])]

    def values(self) -> list[str]:
        """Return the values of all field lines, in order."""
        return [field[1].decode("latin-1") for field in self._raw]

    def items(self) -> list[tuple[str, str]]:
        """Return (name, value) of all field lines, in order."""
        return [(field[0].decode("latin-1"), field[1].decode("latin-1")) for field in self._raw]

    def __eq__(self, other: object) -> bool:
        # The order of lines with different names means nothing (RFC 9110 5.3).
        if not isinstance(other, Headers):
            return NotImplemented
        return _by_name(self._raw) == _by_name(other.raw)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._raw,)

    def __repr__(self) -> str:
        lines = [(name, "***" if name in _MASKED else value) for name, value in self.items()]
        return f"Headers({lines!r})"


def _by_name(raw: list[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    groups: dict[bytes, list[bytes]] = {}
    for name, value in raw:
        groups.setdefault(name, []).append(value)
    return groups
