"""Decides whether an outcome is what a corpus case demands; pure, so that it is tested without a server.

``compare`` returns every complaint, not the first alone. Beside the case's own expectations it holds each
answer against what Cello promises of all: Date and Server, no surplus answer, ``Connection: close`` exactly
where the connection closes, problem details for errors, Allow beside 405.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from tests.kit.answer_reader import Answer
from tests.kit.corpus import MARKER, Case, Expected
from tests.kit.corpus_client import Outcome

# RFC 9110 5.6.7
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"\d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)


def compare(case: Case, outcome: Outcome) -> list[str]:
    """Return what is wrong with the outcome; nothing if the server did as it must."""
    complaints = [*_end_complaints(outcome), *_status_complaints(case, outcome)]
    for answer, method in _with_methods(case, outcome.answers):
        complaints += answer_complaints(answer, method)
    complaints += _persistence_complaints(case, outcome)
    complaints += [f"{octets!r} came back" for octets in case.lacks if octets in outcome.octets]
    if not complaints:
        finals = [answer for answer in outcome.answers if not answer.is_interim]
        complaints += _content_complaints(case, finals)
    return complaints


def matches(expected: Sequence[Expected], statuses: Sequence[int]) -> bool:
    """Tell whether the statuses came as expected: all of them, in order, none besides."""
    rest = list(reversed(statuses))
    for each in expected:
        if rest and rest[-1] in each.statuses:
            rest.pop()
        elif not each.is_optional:
            return False
    return not rest


def answer_complaints(answer: Answer, method: str = "GET") -> list[str]:
    """Say what is wrong with an answer whatever was asked."""
    if answer.is_interim:
        return []  # RFC 9110 6.6.1 asks no Date of an interim answer
    problems = _problem_complaints(answer, method) if answer.status >= 400 else ()
    return [*_origin_complaints(answer), *problems]


def _end_complaints(outcome: Outcome) -> Iterator[str]:
    if outcome.end != "eof":
        yield f"the connection ended by {outcome.end} {outcome.note}".rstrip()


def _status_complaints(case: Case, outcome: Outcome) -> Iterator[str]:
    expected = [*case.expect, *[Expected((200,))] * case.trailing_count]
    statuses = [answer.status for answer in outcome.answers]
    if not matches(expected, statuses):
        wanted = ("/".join(map(str, each.statuses)) + "?" * each.is_optional for each in expected)
        yield f"expected {_readable(wanted)}, got {_readable(map(str, statuses))}"


def _readable(texts: Iterable[str]) -> str:
    """Write a list of statuses, a run of one status as 200x150."""
    runs = [(text, len(list(run))) for text, run in groupby(texts)]
    parts = [f"{text}x{count}" if count > 3 else ", ".join([text] * count) for text, count in runs]
    return "[" + ", ".join(parts) + "]"


def _with_methods(case: Case, answers: Sequence[Answer]) -> Iterator[tuple[Answer, str]]:
    methods = list(case.methods)
    for answer in answers:
        yield answer, methods[0] if methods else "GET"
        if methods and not answer.is_interim:
            methods.pop(0)


def _origin_complaints(answer: Answer) -> Iterator[str]:
    dates, servers = answer.values("date"), answer.values("server")
    if len(dates) != 1 or IMF_FIXDATE.fullmatch(dates[0]) is None:
        yield f"{answer.status} with Date {dates}"
    if servers != ["cello"]:
        yield f"{answer.status} with Server {servers}"
    if answer.status == 405 and not answer.values("allow"):
        yield "405 without Allow"  # RFC 9110 15.5.6


def _problem_complaints(answer: Answer, method: str) -> Iterator[str]:
    """Errors are problem details (RFC 9457) whose status is the answer's."""
    if answer.values("content-type") != ["application/problem+json"]:
        yield f"{answer.status} with Content-Type {answer.values('content-type')}"
    elif method != "HEAD" and _json(answer.body, {}).get("status") != answer.status:
        yield f"{answer.status} with the problem {answer.body[:200]!r}"


def _persistence_complaints(case: Case, outcome: Outcome) -> Iterator[str]:
    """RFC 9112 9.6: close stands on the last answer before the close, and on no other."""
    finals = [answer for answer in outcome.answers if not answer.is_interim]
    for answer in finals[:-1]:
        if "close" in answer.options("connection"):
            yield f"{answer.status} announced the close, but another answer followed"
    is_due = case.announced or case.stays_open
    if finals and is_due and "close" not in finals[-1].options("connection"):
        yield f"{finals[-1].status} did not announce the close"


def _content_complaints(case: Case, finals: Sequence[Answer]) -> Iterator[str]:
    own = finals[: len(finals) - case.trailing_count]
    for answer in finals[len(own) :]:
        if answer.body != MARKER:
            yield f"the request behind was answered with {answer.body[:200]!r}"
    for index, (answer, body) in enumerate(zip(own, case.bodies, strict=bool(case.bodies))):
        if body not in ("*", answer.body.decode("latin-1")):
            yield f"answer {index} is {answer.body[:200]!r}, not {body!r}"
    if own:
        yield from _last_complaints(case, own[-1])


def _last_complaints(case: Case, answer: Answer) -> Iterator[str]:
    if case.body is not None and answer.body != case.body:
        yield f"the body is {answer.body[:200]!r} ({len(answer.body)} octets)"
    for name, wanted in case.headers.items():
        if not _is_value(wanted, answer.values(name)):
            yield f"{name} is {answer.values(name)}, expected {wanted!r}"
    if case.echo:
        yield from _echo_complaints(case.echo, _json(answer.body, {}))


def _is_value(wanted: str, values: list[str]) -> bool:
    """Compare with "-" for absent, "*" for any value, "~x" for a regular expression that is found."""
    if wanted == "-":
        return not values
    if wanted == "*":
        return bool(values)
    if wanted.startswith("~"):
        return re.search(wanted[1:], ", ".join(values)) is not None
    return values == [wanted]


def _echo_complaints(echo: Any, seen: dict[str, Any]) -> Iterator[str]:
    fields = [(name, value) for name, value in seen.get("headers", [])]
    for key, wanted in echo.items():
        if key == "headers":
            for name, value in wanted.items():
                found = [each for field, each in fields if field == name]
                if found != (value if isinstance(value, list) else [value]):
                    yield f"the handler saw {name} as {found}"
        elif key == "without":
            yield from (f"the handler saw {name}" for name, _ in fields if name in wanted)
        elif seen.get(key) != wanted:
            yield f"the handler saw {key} as {str(seen.get(key))[:200]!r}, expected {str(wanted)[:200]!r}"


def _json(body: bytes, otherwise: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return otherwise
    return found if isinstance(found, dict) else otherwise
