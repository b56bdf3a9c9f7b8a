"""Problem details (RFC 9457): what an error says to its client.

This module makes the members and decides between the two forms; ``Response.error`` makes the answer, so that
the arrow points one way.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, Literal

from .negotiation import parse_accept
from .status import phrase_of

PROBLEM_JSON = "application/problem+json"


def problem(
    status: int, detail: str | None = None, instance: str | None = None, **extra: Any
) -> dict[str, Any]:
    """Return the members of a problem (RFC 9457 3.1).

    ``error`` is the title again. ``detail`` and ``instance`` are left out when None. ``extra`` adds members
    (3.2) or replaces ``type``, ``title`` and ``error``, for an application that documents problem types of
    its own.
    """
    title = extra.pop("title", phrase_of(status))
    members: dict[str, Any] = {"type": extra.pop("type", "about:blank"), "title": title, "status": status}
    if detail is not None:
        members["detail"] = detail
    if instance is not None:
        members["instance"] = instance
    members["error"] = title
    members.update(extra)
    return members


def exception_members(exc: BaseException) -> dict[str, Any]:
    """Return the members that debug mode adds to a problem.

    ``exception`` is its type and message, ``traceback`` the list of the traceback's lines.
    """
    # The headline of a SyntaxError stands after its indented source, those of others before their notes.
    lines = traceback.format_exception_only(exc)
    headline = next((line for line in lines if not line.startswith(" ")), lines[0])
    return {
        "exception": headline.rstrip("\n"),
        "traceback": "".join(traceback.format_exception(exc)).splitlines(),
    }


def render_text(members: Mapping[str, Any]) -> str:
    """Render a problem as plain text.

    Status and title come first, then detail, instance and traceback where given.
    """
    lines = [f"{members['status']} {members['title']}"]
    if "detail" in members:
        lines += ["", str(members["detail"])]
    if "instance" in members:
        lines += ["", str(members["instance"])]
    if "traceback" in members:
        lines += ["", *members["traceback"]]
    elif "exception" in members:
        lines += ["", str(members["exception"])]
    return "\n".join(lines) + "\n"


def preferred_form(accept: str | None) -> Literal["json", "html", "text"]:
    """Decide between problem+json, a page and plain text by an Accept field (RFC 9110 12.5.1).

    JSON unless text/html or text/plain has a higher quality, so also for a client that sends no Accept field.
    Any JSON type speaks for JSON: application/json, application/vnd.api+json, ... A page is for who names
    text/html, as browsers do.
    """
    if accept is None:
        return "json"
    qualities: dict[str, float] = {}
    for main, sub, quality in parse_accept(accept):
        is_json = main == "application" and (sub == "json" or sub.endswith("+json"))
        media_range = "application/json" if is_json else f"{main}/{sub}"
        qualities[media_range] = max(quality, qualities.get(media_range, 0.0))
    anything = qualities.get("*/*", 0.0)
    json = qualities.get("application/json", qualities.get("application/*", anything))
    text = qualities.get("text/*", anything)
    html, plain = qualities.get("text/html", text), qualities.get("text/plain", text)
    if json >= max(html, plain):
        return "json"
    return "html" if html >= plain and "text/html" in qualities else "text"
