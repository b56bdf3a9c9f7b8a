"""What a slow handler does to its neighbours, lane by lane; draws the picture of docs/concurrency.md.

``python -m benchmarks.lanes --output benchmarks/results/lanes.json --picture docs/concurrency.svg``

One server, in a process of its own, has the same handler three times: pinned to the threads, pinned to the
loop's thread, and adaptive. It answers at once for TURN_SECONDS and then sleeps 40 ms a call. While one
client asks it 10 times a second, another asks a fast route of the same server; its latencies are the figure.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import math
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TURN_SECONDS = 2.0
RUN_SECONDS = 5.0
SLOW_SECONDS = 0.04
WINDOW_SECONDS = 0.1

SERVER = """
import sys, time
from cello import App

app = App()
slow = {"is": False}

def handler(request):
    if slow["is"]:
        time.sleep(SLOW_SECONDS)
    return {"message": "slow" if slow["is"] else "quick"}

app.get("/threads", blocking=True)(handler)
app.get("/loop", blocking=False)(handler)
app.get("/adaptive")(lambda request: handler(request))

@app.get("/turn", blocking=False)
def turn(request):
    slow["is"] = True
    return {}

@app.get("/sleep")
def sleep(request):
    time.sleep(1)
    return {}

@app.get("/fast", blocking=False)
def fast(request):
    return {"message": "hello"}

@app.on_startup
def started():
    print("started", flush=True)

app.run(port=int(sys.argv[1]), env="production", workers=int(sys.argv[2]), argv=[])
""".replace("SLOW_SECONDS", str(SLOW_SECONDS))


@contextlib.contextmanager
def serving(port: int, workers: int) -> Iterator[None]:
    """Serve the application in a process of its own until the block ends."""
    command = [sys.executable, "-c", SERVER, str(port), str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(f"the server on port {port} did not start")
        time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(40)


class Client:
    """One connection that is kept, and what its requests took."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, path: str) -> float:
        """Return the seconds that an answer took."""
        started = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
        return time.perf_counter() - started


def share(seconds: list[float], part: float) -> float:
    """Return what a part of all durations were below, in milliseconds."""
    return round(sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))] * 1000, 3)


def neighbour(port: int, stop: threading.Event, found: list[tuple[float, float]], started: float) -> None:
    """Ask the fast route without a pause; notes when each request began and what it took."""
    client = Client(port)
    while not stop.is_set():
        at = time.perf_counter() - started
        found.append((at, client.ask("/fast")))
        time.sleep(0.0005)


def timeline(port: int, lane: str) -> dict[str, Any]:
    """Measure a neighbour's latencies while the handler in a lane turns slow."""
    with serving(port, 4):
        for _ in range(100):  # the adaptive handler earns its place first
            Client(port).ask(f"/{lane}")
        stop = threading.Event()
        found: list[tuple[float, float]] = []
        started = time.perf_counter()
        thread = threading.Thread(target=neighbour, args=(port, stop, found, started))
        thread.start()
        client = Client(port)
        has_turned = False
        while (now := time.perf_counter() - started) < RUN_SECONDS:
            if not has_turned and now >= TURN_SECONDS:
                has_turned = True
                client.ask("/turn")
            took = client.ask(f"/{lane}")
            time.sleep(max(0.0, 0.1 - took))
        stop.set()
        thread.join()
    windows: dict[int, float] = {}
    for at, seconds in found:
        window = int(at / WINDOW_SECONDS)
        windows[window] = max(windows.get(window, 0.0), seconds)
    behind = [seconds for at, seconds in found if at >= TURN_SECONDS]
    return {
        "lane": lane,
        "slowest_ms_per_window": [
            round(windows.get(each, 0.0) * 1000, 3) for each in range(max(windows) + 1)
        ],
        "p50_ms": share(behind, 0.5),
        "p99_ms": share(behind, 0.99),
        "over_20_ms": sum(seconds > 0.02 for seconds in behind),
    }


def sleepers(port: int, workers: int) -> dict[str, Any]:
    """Measure 8 requests that sleep a second each, and a neighbour meanwhile."""
    with serving(port, workers):
        stop = threading.Event()
        found: list[tuple[float, float]] = []
        started = time.perf_counter()
        asking = threading.Thread(target=neighbour, args=(port, stop, found, started))
        asking.start()
        clients = [threading.Thread(target=Client(port).ask, args=("/sleep",)) for _ in range(8)]
        begun = time.perf_counter()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        took = time.perf_counter() - begun
        stop.set()
        asking.join()
    durations = [seconds for _, seconds in found]
    return {
        "workers": workers,
        "seconds": round(took, 3),
        "neighbour_p50_ms": share(durations, 0.5),
        "neighbour_p99_ms": share(durations, 0.99),
        "neighbour_max_ms": round(max(durations) * 1000, 3),
        "neighbour_mean_ms": round(statistics.fmean(durations) * 1000, 3),
    }


# --- the picture ---

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 130, 28, 44
LOWEST_MS, HIGHEST_MS = 0.1, 100.0
FONT = 'font-family="system-ui, sans-serif" font-size="13"'
STYLE = """
text{fill:#222}.grid{stroke:#ccc}path{fill:none;stroke-width:2}
.loop{stroke:#c0392b}.adaptive{stroke:#1f6fb2}.threads{stroke:#2e8b57}
@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}
.loop{stroke:#ff7b6b}.adaptive{stroke:#6cb6ff}.threads{stroke:#6fd39b}}
"""
LABELS = {"loop": "blocking=False", "adaptive": "nothing said", "threads": "blocking=True"}


def draw(timelines: list[dict[str, Any]]) -> str:
    """Return an SVG of the slowest answer in each tenth of a second, on a logarithmic scale."""

    def x_of(window: int) -> float:
        return LEFT + (window + 0.5) * WINDOW_SECONDS / RUN_SECONDS * (WIDTH - LEFT - RIGHT)

    def y_of(milliseconds: float) -> float:
        bounded = min(max(milliseconds, LOWEST_MS), HIGHEST_MS)
        part = math.log(bounded / LOWEST_MS) / math.log(HIGHEST_MS / LOWEST_MS)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    turn = LEFT + TURN_SECONDS / RUN_SECONDS * (WIDTH - LEFT - RIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>',
        "<title>The slowest answer that a neighbour gets in each tenth of a second</title>",
        f"<style>{STYLE}</style>",
    ]
    for tick in (0.1, 1, 10, 100):
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g} ms</text>')
    for second in range(int(RUN_SECONDS) + 1):
        x = LEFT + second / RUN_SECONDS * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{second} s</text>')
    parts.append(
        f'<line class="grid" x1="{turn:.1f}" y1="{TOP}" x2="{turn:.1f}" y2="{HEIGHT - BOTTOM}" '
        'stroke-dasharray="4 3"/>'
    )
    parts.append(f'<text x="{turn + 6:.1f}" y="{TOP - 8}">the other handler turns slow: 40 ms a call</text>')
    ends: list[tuple[float, str]] = []
    for each in timelines:
        values = each["slowest_ms_per_window"][: int(RUN_SECONDS / WINDOW_SECONDS)]
        points = [f"{x_of(window):.1f},{y_of(value):.1f}" for window, value in enumerate(values)]
        parts.append(f'<path class="{each["lane"]}" d="M{" L".join(points)}"/>')
        ends.append((y_of(statistics.median(values[-10:])), each["lane"]))
    ends.sort()
    last = -100.0
    for y, lane in ends:
        last = max(y, last + 18)
        parts.append(
            f'<path class="{lane}" d="M{WIDTH - RIGHT + 6},{last:.1f} h14"/>'
            f'<text x="{WIDTH - RIGHT + 24}" y="{last + 4:.1f}">{LABELS[lane]}</text>'
        )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8190)
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--picture", type=Path, help="where to write the SVG")
    args = parser.parse_args()
    result = {
        "sleepers": [sleepers(args.port, 8), sleepers(args.port, 2)],
        "timelines": [timeline(args.port, lane) for lane in ("loop", "adaptive", "threads")],
    }
    for each in result["sleepers"]:
        print(each)
    for each in result["timelines"]:
        print({name: value for name, value in each.items() if name != "slowest_ms_per_window"})
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=1) + "\n")
    if args.picture is not None:
        args.picture.write_text(draw(result["timelines"]))


if __name__ == "__main__":
    main()
