"""What a handler's exception says in one line: what, in which line of the application, and what may mend it.

The hints are for what newcomers get wrong. Each is a guess from the exception's text and the line that it
came from, and most exceptions have none. Nothing here runs unless something has failed.
"""

from __future__ import annotations

import inspect
import linecache
import re
from typing import Any

from .checks import did_you_mean
from .errors import CelloError, HTTPError, MisuseError
from .json_codec import EncodeError
from .places import last_own, short
from .request import Request
from .response import Response

MOST_SHOWN = 600  # characters of an exception's text

_ELSEWHERE = {
    "args": "query",
    "GET": "query",
    "path_params": "params",
    "view_args": "params",
    "get_json": "json()",
    "data": "body()",
    "status_code": "status",
    "media_type": "content_type",
    "mimetype": "content_type",
}
"""Names of other frameworks for what requests and responses have here too."""

_no_attribute = re.compile(r"'(?:[\w.]+\.)?(Request|Response)'.* has no attribute '(\w+)'").search
_no_argument = re.compile(r"^(Response|HTTPError)\.\w+\(\) got an unexpected keyword argument '(\w+)'").search
_has_no_form = re.compile(r"^cannot encode object of type \S+ at [^ :]+$").search
_reads_by_name = re.compile(r"\.(query|query_params|headers|cookies)\[").search


def summarise(exc: BaseException, request: Any = None, otherwise: str = "") -> str:
    """Return an exception in one line, with the application's line that it came from and a hint.

    ``otherwise`` is the place where no line of the application raised it, such as the handler's.
    """
    text = _text_of(exc)
    at = last_own(exc)
    place = f"{short(at[0])}:{at[1]}" if at is not None else otherwise
    told = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    if place and not _names_a_place(exc, text):
        told += f" ({place})"
    hint = _hint_for(exc, text, linecache.getline(*at) if at is not None else "", request)
    return f"{told}; {hint}" if hint else told


def _text_of(exc: BaseException) -> str:
    try:
        text = " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - the application's own __str__
        return "(its str() failed)"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _names_a_place(exc: BaseException, text: str) -> bool:
    return isinstance(exc, MisuseError) or (
        isinstance(exc, CelloError) and re.search(r"\.py:\d", text) is not None
    )


def _hint_for(exc: BaseException, text: str, source: str, request: Any) -> str:
    if isinstance(exc, EncodeError):
        return _encode_hint(text)
    if isinstance(exc, CelloError):
        return ""
    if isinstance(exc, AttributeError | TypeError) and "'coroutine' object" in text:
        return "put `await` before the call that made the coroutine, in an `async def`"
    if isinstance(exc, AttributeError | TypeError) and "method' object" in text and "request." in source:
        return "call the method first, as in request.json()"
    if isinstance(exc, TypeError) and "await" in text and "request." in source:
        return "no `await` there: request.json(), text() and body() are plain calls"
    if isinstance(exc, AttributeError):
        return _attribute_hint(text, source)
    if isinstance(exc, TypeError):
        return _argument_hint(text)
    if isinstance(exc, KeyError) and exc.args:
        return _key_hint(exc.args[0], source, request)
    if isinstance(exc, RuntimeError) and text.startswith("asyncio.run() cannot"):
        return "`await` the coroutine instead: an event loop runs the handler already"
    return ""


def _encode_hint(text: str) -> str:
    """Say what to make of what JSON cannot hold, where the exception does not give the reason itself."""
    if "type coroutine " in text:
        return "put `await` before the call that made it"
    return "make a dict, list, str or number of it" if _has_no_form(text) else ""


def _key_hint(name: Any, source: str, request: Any) -> str:
    """Say what a request has, where the line reads from it by name."""
    route = getattr(request, "route", None)
    if ".params[" in source and isinstance(name, str) and route is not None:
        names = [segment.name for segment in route.segments if segment.name]
        return f"the path's parameters: {', '.join(names) or 'none'}{did_you_mean(name, names)}"
    found = _reads_by_name(source)
    return f"request.{found[1]}.get(...) gives None where there is none" if found else ""


def _argument_hint(text: str) -> str:
    """Name the nearest argument of a response or an HTTPError."""
    found = _no_argument(text)
    if found is None:
        return ""
    names = list(inspect.signature(Response if found[1] == "Response" else HTTPError).parameters)
    name = _ELSEWHERE.get(found[2], "")
    return f"here it is {name}" if name in names else did_you_mean(found[2], names).strip(" ()")


def _attribute_hint(text: str, source: str) -> str:
    """Name the nearest attribute of a request or response, or where a request takes what it is given."""
    found = _no_attribute(text)
    if found is None:
        return ""
    if found[1] == "Request" and re.search(rf"\.{found[2]}\s*=(?!=)", source):
        return f"a request keeps what it is given in request.context[{found[2]!r}]"
    kind: type = Request if found[1] == "Request" else Response
    name = _ELSEWHERE.get(found[2], "")
    if name and hasattr(kind, name.removesuffix("()")):
        return f"here it is {name}"
    return did_you_mean(found[2], [each for each in dir(kind) if each[0] != "_"]).strip(" ()")
