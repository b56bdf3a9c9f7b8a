"""The page that a browser gets in debug mode: what failed, where, with which values, and how to do it again.

The frames of the application's own code come first, the innermost one open, with the source around the line
and the local values; what belongs to libraries is folded away. Values whose name says that they are secret
are masked, which is a help and no guarantee: debug mode is not for where strangers come.
"""

from __future__ import annotations

import linecache
import re
import reprlib
import traceback
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html import escape
from itertools import islice
from shlex import quote
from types import TracebackType
from typing import Any

from .pages import STYLE, document
from .places import is_library
from .routing import Route

LINES_AROUND = 5
MOST_FRAMES = 50
MOST_FAILURES = 10
MOST_LOCALS = 40
MOST_BODY_BYTES = 2048
NEAREST_ROUTES = 5
LEAST_LIKENESS = 0.3

_WORDS = (
    r"pass(?:wor|phrase|wd)|pwd|secret|token|api_?key|private_?key|credential|auth|cookie|session|signature"
    r"|dsn"
)
_SECRET = re.compile(_WORDS, re.I)
_SECRET_PAIR = re.compile(
    rf"""((?:{_WORDS})\w*(?:["']?\s*[=:]\s*|["']\s*,\s*))"""
    r"""(b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\s,&)}\]'"]+)""",
    re.I,
)
MASK = "***"

_PAGE_STYLE = (
    STYLE
    + """\
ol,ul{padding-left:1.4rem;margin:.4rem 0}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;background:var(--box)}
summary{cursor:pointer;padding:.5rem .7rem;font-family:ui-monospace,monospace;font-size:.875rem}
summary:focus-visible{outline:3px solid var(--link);outline-offset:1px}
details>div{padding:0 .7rem .6rem}
pre{overflow-x:auto;margin:.3rem 0;padding:.5rem;background:var(--paper);border:1px solid var(--line);
border-radius:.3rem;white-space:pre;overflow-wrap:normal}
pre.command{white-space:pre-wrap;overflow-wrap:anywhere;user-select:all}
pre b{display:inline-block;min-width:100%;background:var(--mark);font-weight:inherit}
table{border-collapse:collapse;width:100%;margin:.3rem 0}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-top:1px solid var(--line)}
th{font-weight:600;width:30%;min-width:7rem}
td{white-space:pre-wrap;overflow-wrap:anywhere}
"""
)


@dataclass(frozen=True)
class Frame:
    """One frame of a traceback: ``source`` are ``(number, text)`` of the lines around it."""

    file: str
    line: int
    function: str
    is_own: bool
    source: list[tuple[int, str]]
    values: list[tuple[str, str]]


@dataclass(frozen=True)
class Failure:
    """One exception of a chain, with its frames from the innermost outwards."""

    headline: str
    relation: str
    frames: list[Frame]


@dataclass
class Report:
    """What a debug page shows beside the problem itself."""

    exc: BaseException | None
    request: Any
    lane: str | None = None
    chain: list[str] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)


def _masked(text: str) -> str:
    """Mask the values in a text that stand behind a secret name."""
    return _SECRET_PAIR.sub(rf"\1{MASK}", text)


class _Masked:
    """Stands for a secret."""

    def __repr__(self) -> str:
        return MASK


def _is_secret(name: Any) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return isinstance(text, str) and _SECRET.search(text) is not None


class _Repr(reprlib.Repr):
    """reprlib, a little more generous, and with secrets masked."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 300
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = 20
        self.maxlevel = 4

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """Show a dict with the values of secret names masked."""
        masked = {
            key: _Masked() if _is_secret(key) else each for key, each in islice(value.items(), self.maxdict)
        }
        shown = super().repr_dict(masked, level)
        return shown if len(value) <= self.maxdict else f"{shown[:-1]}, ...}}"

    def repr_tuple(self, value: tuple[Any, ...], level: int) -> str:
        """Show a tuple; one of a name and a value, as header fields are, with a secret value masked."""
        if len(value) == 2 and _is_secret(value[0]):
            value = (value[0], _Masked())
        return super().repr_tuple(value, level)

    def shown(self, name: str, value: Any) -> str:
        """Return a value in a line, or what its repr raised."""
        if _SECRET.search(name):
            return MASK
        try:
            text = self.repr(value)
        except BaseException as exc:  # noqa: BLE001 - the application's own repr
            return f"<repr of {type(value).__name__} raised {type(exc).__name__}>"
        return _masked(text)


_repr = _Repr()


# What has happened.


def failures_of(exc: BaseException) -> list[Failure]:
    """Return an exception and those behind it, the one that was raised last first."""
    found: list[Failure] = []
    seen: set[int] = set()
    relation = ""
    current: BaseException | None = exc
    while current is not None and id(current) not in seen and len(found) < MOST_FAILURES:
        seen.add(id(current))
        found.append(Failure(_headline(current), relation, frames_of(current.__traceback__)))
        if current.__cause__ is not None:
            relation, current = "It was caused by", current.__cause__
        elif not current.__suppress_context__:
            relation, current = "It happened while this was handled", current.__context__
        else:
            break
    return found


def _headline(exc: BaseException) -> str:
    lines = traceback.format_exception_only(exc)
    return next((line for line in lines if not line.startswith(" ")), lines[0]).rstrip("\n")


def frames_of(trace: TracebackType | None) -> list[Frame]:
    """Return a traceback's frames, the innermost first: MOST_FRAMES of them."""
    last: deque[TracebackType] = deque(maxlen=MOST_FRAMES)
    while trace is not None:
        last.append(trace)
        trace = trace.tb_next
    return [_frame_of(each) for each in reversed(last)]


def _frame_of(trace: TracebackType) -> Frame:
    code = trace.tb_frame.f_code
    file, line = code.co_filename, trace.tb_lineno or code.co_firstlineno
    is_own = not is_library(trace.tb_frame)
    values: list[tuple[str, str]] = []
    if is_own:
        for name, value in list(trace.tb_frame.f_locals.items())[:MOST_LOCALS]:
            if not (name.startswith("__") and name.endswith("__")):
                values.append((name, _repr.shown(name, value)))
    numbers = range(max(1, line - LINES_AROUND), line + LINES_AROUND + 1)
    source = [(number, text.rstrip("\n")) for number in numbers if (text := linecache.getline(file, number))]
    return Frame(file, line, code.co_qualname, is_own, source, values)


# The request.


def shown_fields(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return header fields with the secret ones masked."""
    return [(name, MASK if _SECRET.search(name) else _masked(value)) for name, value in fields]


def curl_of(request: Any) -> str:
    """Return a command that sends the request again; what is secret has to be filled in."""
    parts = ["curl"]
    if request.method == "HEAD":
        parts.append("--head")
    elif request.method != "GET":
        parts.append(f"-X {quote(request.method)}")
    for name, value in shown_fields(request.headers.items()):
        if name not in ("host", "content-length", "connection", "accept-encoding", "transfer-encoding"):
            parts.append(f"-H {quote(f'{name}: {value}')}")
    body = _body_of(request)
    if body:
        parts.append(f"--data-binary {quote(body)}")
    return " \\\n  ".join([*parts, quote(_url_of(request))])


def _url_of(request: Any) -> str:
    front, mark, query = str(request.url).partition("?")
    return f"{front}{mark}{_masked_pairs(query)}"


def _masked_pairs(text: str) -> str:
    """Mask the values of secret names in a query or an urlencoded form."""
    pairs = [pair.partition("=") for pair in text.split("&")]
    return "&".join(
        f"{name}={MASK}" if mark and _SECRET.search(name) else name + mark + value
        for name, mark, value in pairs
    )


def _body_of(request: Any) -> str:
    try:
        body: bytes = request.body()
        if len(body) > MOST_BODY_BYTES:
            return ""
        text = body.decode()
        return _masked_pairs(text) if request.is_form() else _masked(text)
    except Exception:  # noqa: BLE001 - a body that is streamed, or is no text: the command goes without
        return ""


def nearest_routes(path: str, routes: Iterable[Route]) -> list[Route]:
    """Return the routes whose templates are most like a path, the most like first."""
    wanted = path.lower().split("/")

    def likeness(route: Route) -> float:
        parts = route.template.lower().split("/")
        for number, part in enumerate(parts[: len(wanted)]):
            if part.startswith(("{", "*")):  # takes whatever stands there
                parts[number] = wanted[number]
        return SequenceMatcher(None, "/".join(wanted), "/".join(parts)).ratio()

    scored = [(likeness(route), route) for route in routes]
    scored = [(score, route) for score, route in scored if score >= LEAST_LIKENESS]
    scored.sort(key=lambda pair: pair[0], reverse=True)
    return [route for _, route in scored[:NEAREST_ROUTES]]


# The document.


def render_debug_page(members: Mapping[str, Any], report: Report) -> str:
    """Render a problem (problems.py) with all that is known about it."""
    request, exc = report.request, report.exc
    failures = failures_of(exc) if exc is not None else []
    status = f"{members['status']} {members['title']}"
    headline = failures[0].headline if failures else status
    if failures:
        body = [f'<p class="soft">{escape(status)}</p>\n<h1 class="bad">{escape(headline)}</h1>\n']
    else:
        body = [f"<h1>{escape(status)}</h1>\n<p>{escape(str(members.get('detail', '')))}</p>\n"]
    body.append(f"<p><code>{escape(request.method)} {escape(_url_of(request))}</code></p>\n")
    if members["status"] == 404 and request.route is None:
        body.append(_routes_section(request, report.routes))
    for number, failure in enumerate(failures):
        body.append(_failure_section(failure, is_first=number == 0))
    body.append(_request_section(request, report))
    if exc is not None:
        text = escape("".join(traceback.format_exception(exc)))
        body.append(f"<h2>Traceback as text</h2>\n{_folded('The whole traceback', f'<pre>{text}</pre>')}")
    return document(headline, "".join(body), _PAGE_STYLE)


def _folded(summary: str, content: str, *, is_open: bool = False) -> str:
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{escape(summary)}</summary><div>{content}</div></details>\n"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>\n' for name, value in rows
    )
    return f"<table>\n{cells}</table>\n" if cells else '<p class="soft">none</p>\n'


def _failure_section(failure: Failure, *, is_first: bool) -> str:
    title = "Where" if is_first else f"{failure.relation}: {failure.headline}"
    own = [frame for frame in failure.frames if frame.is_own]
    others = [frame for frame in failure.frames if not frame.is_own]
    lines = [f"<h2>{escape(title)}</h2>\n"]
    for number, frame in enumerate(own):
        lines.append(_frame_details(frame, is_open=is_first and number == 0))
    if not own:
        lines.append('<p class="soft">No frame of the application\'s own code.</p>\n')
    if others:
        inner = "".join(_frame_details(frame, is_open=False) for frame in others)
        noun = "frame" if len(others) == 1 else "frames"
        lines.append(_folded(f"{len(others)} {noun} of libraries", inner))
    return "".join(lines)


def _frame_details(frame: Frame, *, is_open: bool) -> str:
    width = len(str(frame.source[-1][0])) if frame.source else 1
    lines = []
    for number, text in frame.source:
        line = f"{number:>{width}}  {escape(text)}"
        lines.append(f"<b>{line}</b>\n" if number == frame.line else f"{line}\n")
    source = f"<pre>{''.join(lines)}</pre>\n" if lines else '<p class="soft">The source is not at hand.</p>\n'
    values = _table(frame.values) if frame.values else ""
    return _folded(f"{frame.file}:{frame.line} in {frame.function}", source + values, is_open=is_open)


def _routes_section(request: Any, routes: list[Route]) -> str:
    near = nearest_routes(request.raw_path.decode("latin-1"), routes)
    if not near:
        noun = "There are no routes." if not routes else "No route is like it."
        return f"<h2>Routes</h2>\n<p>{noun}</p>\n"
    rows = _table((f"{', '.join(route.methods)} {route.template}", route.place) for route in near)
    return f"<h2>The nearest routes</h2>\n{rows}"


def _request_section(request: Any, report: Report) -> str:
    route = request.route
    facts = [
        ("client", str(request.client_ip)),
        ("protocol", f"HTTP/{request.http_version}"),
        ("request id", request.request_id),
        ("route", str(route) if route is not None else "none matched"),
    ]
    if report.lane is not None:
        facts.append(("lane", report.lane))
    facts += [(f"parameter {name}", _repr.shown(name, value)) for name, value in request.params.items()]
    facts += [(f"query {name}", _repr.shown(name, value)) for name, value in _query_of(request)]
    lines = [f"<h2>Request</h2>\n{_table(facts)}"]
    lines.append(_folded("Header fields", _table(shown_fields(request.headers.items()))))
    if report.chain:
        steps = "".join(f"<li>{escape(step)}</li>\n" for step in report.chain)
        lines.append(_folded("Around the handler, from the outside in", f"<ol>\n{steps}</ol>"))
    lines.append(
        f'<h2>Do it again</h2>\n<pre class="command" tabindex="0">{escape(curl_of(request))}</pre>\n'
    )
    return "".join(lines)


def _query_of(request: Any) -> list[tuple[str, str]]:
    try:
        return list(request.query.items())
    except Exception:  # noqa: BLE001 - a query with too many fields is what the page may be about
        return []
