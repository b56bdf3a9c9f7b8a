"""Status codes and their phrases (RFC 9110 section 15, from the standard library's registry)."""

from __future__ import annotations

from http import HTTPStatus

PHRASES: dict[int, str] = {
    **{status.value: status.phrase for status in HTTPStatus},
    # RFC 9110 renamed these; Python 3.11 and 3.12 still have the names of RFC 7231.
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status, or "Unknown Status" where none is registered."""
    return PHRASES.get(status, "Unknown Status")


def has_body(status: int) -> bool:
    """Tell whether answers of this status carry content: RFC 9110 6.4.1, 15.3.5, 15.4.5."""
    return status >= 200 and status not in (204, 304)
