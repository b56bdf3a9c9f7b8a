"""What handlers return, as responses."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator
from inspect import isawaitable, iscoroutine
from typing import Any

from ._speedups import QueryParams, Request
from .errors import ResponseError
from .response import Response

FORMS = (
    "a dict, list, dataclass, number, bool, str, bytes, None, Response, generator, (body, status) "
    "or (body, status, headers)"
)


def to_response(result: Any) -> Response:
    """Turn a handler's return value into a Response; see FORMS and docs/api.md.

    Raises ResponseError for a value that is none of the forms, EncodeError for one that JSON cannot hold.
    """
    if isinstance(result, Response):
        if type(result) is not Response:
            _check_is_made(result)
        return result
    if result is None:
        return Response(status=204)
    if isinstance(result, tuple):
        return _from_tuple(result)
    if isinstance(result, (str, bytes, bytearray, memoryview, dict, list)):
        return Response(result)
    if isinstance(result, (Iterator, AsyncIterable)):
        return Response.stream(result)
    if isawaitable(result):
        raise _unawaited(result)
    _check_is_value(result)
    return Response.json(result)


def _check_is_made(response: Response) -> None:
    """Refuse an object of a subclass that never called Response.__init__; raises ResponseError."""
    if not hasattr(response, "is_stream"):
        name = type(response).__name__
        raise ResponseError(
            f"got a {name} without content: {name}.__init__() must call super().__init__(...)"
        )


def _unawaited(result: Any) -> ResponseError:
    if isinstance(result, QueryParams):  # awaitable for the sake of `await request.form()`
        return ResponseError("got a query's or a form's parameters; write `dict(...)` around them")
    if not iscoroutine(result):
        return ResponseError(
            f"got a {type(result).__name__}, which nothing awaits here; write `return await ...`"
        )
    result.close()  # or Python warns that it was never awaited
    name = result.__qualname__.rpartition("<locals>.")[2]
    return ResponseError(
        f"got the coroutine of {name}(), which was never awaited; write `return await {name}(...)` in an "
        "`async def`"
    )


def _check_is_value(result: Any) -> None:
    """Refuse what JSON could not hold either, and say what was meant; raises ResponseError."""
    if isinstance(result, BaseException):
        raise ResponseError(f"got the exception {result!r:.120} as an answer; `raise` it instead")
    if isinstance(result, type):
        raise ResponseError(f"got the class {result.__name__} as an answer; call it: {result.__name__}(...)")
    if isinstance(result, Request):
        raise ResponseError("got the request as an answer")


def _from_tuple(result: tuple[Any, ...]) -> Response:
    is_status = len(result) in (2, 3) and isinstance(result[1], int) and not isinstance(result[1], bool)
    if not is_status or isinstance(result[0], tuple):
        raise ResponseError(
            f"got a tuple that is neither (body, status) nor (body, status, headers): {result!r:.120}; "
            f"{_tuple_hint(result) or f'handlers return {FORMS}'}"
        )
    response = to_response(result[0])
    response.status = result[1]
    if len(result) == 3:
        given: set[str] = set()
        for name, value in _pairs(result[2]):
            if name.lower() in given or name.lower() == "set-cookie":
                response.headers.append(name, value)
            else:
                response.headers[name] = value
            given.add(name.lower())
    return response


def _tuple_hint(result: tuple[Any, ...]) -> str:
    if len(result) not in (2, 3):
        return ""
    if isinstance(result[1], str) and result[1].isdigit():
        return "the status is an int, without quotes"
    is_swapped = isinstance(result[0], int) and 200 <= result[0] <= 599 and not isinstance(result[1], int)
    return "the body comes first, then the status" if is_swapped else ""


def _pairs(headers: Any) -> list[tuple[str, Any]]:
    if headers is None:
        return []
    try:
        return [(name, value) for name, value in (headers.items() if hasattr(headers, "items") else headers)]
    except (TypeError, ValueError):
        raise ResponseError(
            f"the headers of (body, status, headers) are a mapping or pairs, got {headers!r:.80}"
        ) from None
