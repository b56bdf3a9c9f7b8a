"""Query strings and URL-encoded forms: one grammar, one parser and one class of values."""

from __future__ import annotations

from multidict import MultiDict

from ._speedups import MAX_QUERY_FIELDS, QueryParams, install_index, read_query
from .errors import HTTPError

MAX_FIELDS = MAX_QUERY_FIELDS

install_index(MultiDict)

_EMPTY = QueryParams()


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
        return read_query(raw, MAX_FIELDS)
    except ValueError:
        raise HTTPError(400, f"the {what} has more than {MAX_FIELDS} fields") from None


__all__ = ["MAX_FIELDS", "QueryParams", "parse_query", "parse_urlencoded"]
