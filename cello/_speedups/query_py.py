"""The fields of a query or form, as handlers see them.

PERF: compiled from this one source: reading one parameter of a request takes 0.3 us, interpreted 0.8
(benchmarks/micro/query.py).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from .octets_py import split_pairs

MAX_QUERY_FIELDS = 1000
"""Fields in one query or form; more are refused with 400, for each costs far more memory than its octets."""

_REQUIRED: Any = object()
_indexes: list[Any] = []  # the class of the index, handed in by cello/forms.py

# PERF: with up to eight fields, one lookup and even three cost at least 80 ns less by walking than by first
# making a MultiDict. At about 24 the gain ends.
_WALKED_FIELDS = 8


def install_index(index: Any) -> None:
    """Hand in the class that indexes many fields: multidict's MultiDict."""
    _indexes[:] = [index]


def read_query(raw: bytes, max_fields: int) -> QueryParams:
    """Parse application/x-www-form-urlencoded octets; raises ValueError for more than ``max_fields``."""
    # Without __init__, which copies and checks what others hand in.
    params = QueryParams.__new__(QueryParams)
    params._index = None
    params._pairs = split_pairs(raw, max_fields)
    return params


class QueryParams:
    """The names and values of a query or form, in order.

    Reads like a dict of each name's first value; ``get_all`` (or multidict's ``getall``) gives all of them.
    As in ``cello.headers.Headers``, iteration, ``keys`` and ``len`` count each name once, and ``items`` and
    ``values`` have one entry per field. Immutable. Missing names raise KeyError from ``[]`` and ``getall``.
    """

    __slots__ = ("_index", "_pairs")

    _index: Any
    _pairs: list[tuple[str, str]]

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._index = _indexes[0](fields)
        self._pairs = list(self._index.items())

    def _indexed(self) -> Any:
        if self._index is None:
            self._index = _indexes[0](self._pairs)
        return self._index

    def __getitem__(self, name: str) -> str:
        if len(self._pairs) <= _WALKED_FIELDS:
            for each, value in self._pairs:
                if each == name:
                    return value
        found: str = self._indexed()[name]
        return found

    def __await__(self) -> Generator[Any, None, QueryParams]:
        """Return itself: ``await request.form()`` and ``request.form()`` are the same."""
        yield from ()
        return self

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, _REQUIRED) is not _REQUIRED

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a name's first value, or the default."""
        if len(self._pairs) > _WALKED_FIELDS or not isinstance(name, str):
            return self._indexed().get(name, default)
        for each, value in self._pairs:
            if each == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Return all values of a name; an empty list where it is missing."""
        found: list[str] = self._indexed().getall(name, [])
        return found

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
