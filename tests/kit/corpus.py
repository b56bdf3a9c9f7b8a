"""The HTTP/1.1 corpus: its cases as values, the application they are asked of, and how one is run.

A case is data (tests/corpus/README.md explains every key) and says what the wire must show, from the RFCs
and not from what any server does. Loading is strict: an unknown key, a name used twice or a contradiction
is an error, since a misspelt expectation would be one that cannot fail. ``compare`` in corpus_judge.py
decides; nothing here does.
"""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.corpus_client import (
    Await,
    AwaitCount,
    Drip,
    Fin,
    Octets,
    Outcome,
    Pause,
    Split,
    Step,
    converse,
    whole,
)

CORPUS = Path(__file__).parent.parent / "corpus" / "h1"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"
FAREWELL = b"GET /behind HTTP/1.1\r\nHost: farewell\r\nConnection: close\r\n\r\n"
MARKER = b"behind-marker"
LARGE_BYTES = 1 << 20
# What only the server itself may say; an application that says it all the same is not heard.
OWN_FIELDS = {
    "date": "yesterday",
    "server": "another",
    "keep-alive": "timeout=1",
    "upgrade": "h2c",
    "connection": "upgrade",
}
NEEDED_KEYS = frozenset({"name", "rule", "send", "expect", "then"})
CASE_KEYS = NEEDED_KEYS | {"behind", "half_close", "reads_late", "announced", "methods"}
CASE_KEYS |= {"body", "bodies", "headers", "echo", "lacks"}


@dataclass(frozen=True)
class Expected:
    """One answer that must come: with one of these statuses, or perhaps not at all."""

    statuses: tuple[int, ...]
    is_optional: bool = False

    @property
    def is_final(self) -> bool:
        """Tell whether this is the answer itself, not an interim one."""
        return self.statuses[0] >= 200


@dataclass(frozen=True)
class Case:
    """One thing a client may send, and the only things a server may answer."""

    topic: str
    name: str
    rule: str
    steps: tuple[Step, ...]
    expect: tuple[Expected, ...]
    stays_open: bool
    behind: bool = True
    half_close: bool = False
    reads_late: bool = False
    announced: bool = True
    methods: tuple[str, ...] = ()
    body: bytes | None = None
    bodies: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    echo: Mapping[str, Any] = field(default_factory=dict)
    lacks: tuple[bytes, ...] = ()

    @property
    def trailing_count(self) -> int:
        """Count the final answers that the runner's own requests must get."""
        return (1 + self.behind) if self.stays_open else 0

    @property
    def expected_final_count(self) -> int:
        """Count the final answers to the case's own requests."""
        return sum(expected.is_final for expected in self.expect)


@dataclass(frozen=True)
class Topic:
    """One file of cases; ``row`` is the line of the protocol table that it belongs to."""

    name: str
    row: str
    cases: tuple[Case, ...]


def load_corpus(directory: Path = CORPUS) -> list[Topic]:
    """Read every file of the corpus; raises ValueError for a case that makes no sense."""
    topics = [load_topic(path) for path in sorted(directory.glob("*.toml"))]
    names: set[str] = set()
    for case in (case for topic in topics for case in topic.cases):
        _require(case.name not in names, case.name, "the name is used twice")
        names.add(case.name)
    return topics


def load_topic(path: Path) -> Topic:
    """Read one file of cases."""
    table = tomllib.loads(path.read_text("utf-8"))
    _require(set(table) == {"row", "case"}, path.name, f"a file holds row and case, got {sorted(table)}")
    return Topic(path.stem, table["row"], tuple(parse_case(path.stem, entry) for entry in table["case"]))


def parse_case(topic: str, table: Mapping[str, Any]) -> Case:
    """Make a case of its TOML table; raises ValueError."""
    name = table.get("name", "a case without a name")
    _require(set(table) <= CASE_KEYS, name, f"unknown keys {sorted(set(table) - CASE_KEYS)}")
    missing = NEEDED_KEYS - set(table)
    _require(not missing, name, f"missing keys {sorted(missing)}")
    _require(table["then"] in ("open", "close"), name, "then is open or close")
    half_close = table.get("half_close", False)
    case = Case(
        topic=topic,
        name=name,
        rule=table["rule"],
        steps=tuple(_parse_steps(table["send"])),
        expect=tuple(_parse_expect(table["expect"])),
        stays_open=table["then"] == "open",
        behind=table.get("behind", not half_close),
        half_close=half_close,
        reads_late=table.get("reads_late", False),
        announced=table.get("announced", not half_close),
        methods=tuple(table.get("methods", ())),
        body=octets_of(table["body"]) if "body" in table else None,
        bodies=tuple(table.get("bodies", ())),
        headers=table.get("headers", {}),
        echo=table.get("echo", {}),
        lacks=tuple(octets_of(text) for text in table.get("lacks", ())),
    )
    _check_sense(case)
    return case


def octets_of(part: Any) -> bytes:
    """Make octets of a TOML string (latin-1), a list of parts, or {repeat = part, count = n}."""
    if isinstance(part, str):
        return part.encode("latin-1")
    if isinstance(part, list):
        return b"".join(octets_of(each) for each in part)
    if set(part) != {"repeat", "count"}:
        raise ValueError(f"a part is a string, a list or {{repeat, count}}, got {part!r}")
    return octets_of(part["repeat"]) * int(part["count"])


def script_of(case: Case) -> list[Step]:
    """Put the runner's own requests behind the case's steps."""
    steps = _with_behind(case.steps) if case.behind else list(case.steps)
    if case.half_close:
        steps.append(Fin())
    if case.stays_open:
        steps += [AwaitCount(case.expected_final_count + case.behind), Octets(FAREWELL)]
    return steps


def run_case(case: Case, address: tuple[str, int], split: Split = whole) -> Outcome:
    """Send the case over a connection of its own and return what was heard."""
    return converse(address, script_of(case), case.methods, split, case.reads_late)


def _with_behind(steps: Sequence[Step]) -> list[Step]:
    """Send the request behind in one run with the case's last octets, so that whole means whole."""
    *before, last = steps
    if isinstance(last, Octets):
        return [*before, Octets(last.octets + BEHIND)]
    return [*steps, Octets(BEHIND)]


def _parse_steps(send: Any) -> Iterator[Step]:
    run: list[Any] = []
    for part in send if isinstance(send, list) else [send]:
        if isinstance(part, dict) and "repeat" not in part:
            if run:
                yield Octets(octets_of(run))
            run = []
            yield _parse_step(part)
        else:
            run.append(part)
    if run:
        yield Octets(octets_of(run))


def _parse_step(part: Mapping[str, Any]) -> Step:
    match part:
        case {"await": int(status), **rest} if not rest:
            return Await(status)
        case {"pause": float(seconds), **rest} if not rest:
            return Pause(seconds)
        case {"drip": str(text), "every_seconds": float(seconds), **rest} if not rest:
            return Drip(octets_of(text), seconds)
    raise ValueError(f"no step of a case: {part!r}")


def _parse_expect(entries: Sequence[Any]) -> Iterator[Expected]:
    """Read 200, [400, 501] for either, "100?" for perhaps, {status = 200, count = 9} for nine of them."""
    for entry in entries:
        match entry:
            case int(status):
                yield Expected((status,))
            case [*statuses]:
                yield Expected(tuple(statuses))
            case str(text) if re.fullmatch(r"[1-5][0-9]{2}\?", text):
                yield Expected((int(text[:3]),), is_optional=True)
            case {"status": int(status), "count": int(count)}:
                yield from [Expected((status,))] * count
            case _:
                raise ValueError(f"no expectation: {entry!r}")


def _check_sense(case: Case) -> None:
    _require(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", case.name) is not None, case.name, "names are kebab-case")
    _require(bool(case.steps) or not case.behind, case.name, "nothing is sent")
    is_vague = any(expected.is_optional and expected.is_final for expected in case.expect)
    _require(not (case.stays_open and is_vague), case.name, "open needs to know how many answers come")
    _require(not (case.stays_open and case.half_close), case.name, "half-closed is not open")
    _require(not (case.stays_open and not case.expect), case.name, "open needs an answer")
    waits = any(isinstance(step, Await) for step in case.steps)
    _require(not (waits and case.reads_late), case.name, "who waits for an answer cannot read late")
    _require(len(case.bodies) in (0, case.expected_final_count), case.name, "one body for each final answer")
    _require(not (case.bodies and is_vague), case.name, "bodies need to know how many answers come")


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise ValueError(f"{name}: {message}")


def what_was_seen(request: Any) -> dict[str, Any]:
    """Say what a handler sees of its request, as JSON can carry it."""
    raw_path = request.raw_path
    raw = raw_path.decode("latin-1") if isinstance(raw_path, bytes) else raw_path
    return {
        "method": request.method,
        "path": request.path,
        "raw_path": raw.partition("?")[0],
        "query": {name: list(request.query.get_all(name)) for name in request.query.keys()},  # noqa: SIM118
        "host": request.host,
        "http_version": request.http_version.removeprefix("HTTP/"),
        "has_length": request.content_length is not None,
        "headers": [[name, value] for name, value in request.headers.items()],
        "body": request.body().decode("latin-1"),
    }


async def _count(request: Any) -> int:
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
    return count


async def _slow(request: Any) -> str:
    await asyncio.sleep(0.05)
    return "slow"


async def _patient(request: Any) -> str:
    await asyncio.sleep(1.5)
    return "patient"


async def _overdue(request: Any) -> str:
    await asyncio.sleep(0.8)  # past its route's timeout, before the request's
    return "overdue"


async def _ignore(request: Any) -> str:
    return "ignored"


async def _ignore_late(request: Any) -> str:
    await asyncio.sleep(0.05)
    return "ignored"


async def _late_chunks() -> AsyncIterator[bytes]:
    for chunk in (b"late-one\n", b"late-two\n"):
        await asyncio.sleep(0.02)
        yield chunk


async def _long_stream(request: Any) -> AsyncIterator[bytes]:
    yield b"long-one\n"
    await asyncio.sleep(0.3)
    yield b"long-two\n"


async def _early_stream(request: Any) -> AsyncIterator[bytes]:
    yield b"early\n"


def corpus_app() -> Any:
    """Make the application that every case is asked of."""
    from cello import App, Response

    app = App()
    app.get("/", blocking=False)(lambda request: {"ok": True})
    app.get("/behind", blocking=False)(lambda request: MARKER.decode())
    app.route("/echo", methods=["POST", "PUT"], blocking=False)(what_was_seen)
    app.route("/any/{*path}", methods=["GET", "POST", "PUT", "DELETE"], blocking=False)(what_was_seen)
    app.get("/204", blocking=False)(lambda request: None)
    app.get("/304", blocking=False)(lambda request: Response(status=304))
    app.get("/only-get", blocking=False)(lambda request: "got")
    app.post("/only-post", blocking=False)(lambda request: "posted")
    app.post("/small", blocking=False, max_request_size=10)(lambda request: len(request.body()))
    app.get("/large", blocking=False)(lambda request: b"x" * LARGE_BYTES)
    app.get("/own-fields", blocking=False)(lambda request: Response("own", headers=OWN_FIELDS))
    app.get("/own-close", blocking=False)(lambda request: Response("own", headers={"connection": "close"}))
    app.get("/own-stream", blocking=False)(
        lambda request: Response.stream(iter((b"own\n",)), headers=OWN_FIELDS)
    )
    app.get("/own-stream-and-close", blocking=False)(
        lambda request: Response.stream(iter((b"own\n",)), headers={"connection": "close"})
    )
    app.get("/stream", blocking=False)(lambda request: iter((b"one\n", b"two\n", b"", b"three\n")))
    app.get("/measured-stream", blocking=False)(
        lambda request: Response.stream(iter((b"one\n", b"two\n")), headers={"content-length": "8"})
    )
    app.get("/late-stream", blocking=False)(lambda request: _late_chunks())
    app.get("/long-stream")(_long_stream)
    app.get("/slow")(_slow)
    app.get("/patient")(_patient)
    app.route("/overdue", methods=["GET", "POST"], timeout=0.2)(_overdue)
    app.post("/patient-upload", stream=True)(_patient)
    app.post("/late-upload", stream=True, timeout=1)(_patient)
    app.post("/upload", stream=True)(_count)
    app.post("/upload-small", stream=True, max_request_size=10)(_count)
    app.post("/ignore", stream=True)(_ignore)
    app.post("/ignore-late", stream=True)(_ignore_late)
    app.post("/ignore-large", stream=True, max_request_size=4 * LARGE_BYTES)(_ignore)
    app.post("/early-stream", stream=True)(_early_stream)
    return app
