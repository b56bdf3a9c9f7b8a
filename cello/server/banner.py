"""What is said at the start: a short banner on a terminal, one line anywhere else.

The banner is for the person who has just typed a command: where the application is served, as what, and what
is off and why, with the way to have it. A service's journal has no use for that: it gets the line, which
programs may read, and the warnings one by one through the log.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from .._speedups import IMPLEMENTATION, WHY_PURE
from .._version import __version__
from ..config import RunOptions

_BOLD, _DIM, _YELLOW, _PLAIN = "\033[1m", "\033[2m", "\033[33m", "\033[0m"
_NEAR = ("http://127.", "https://127.", "unix:")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what they are reached under from here


def is_for_people(output: TextIO) -> bool:
    """Tell whether an output is a terminal, where the banner is shown."""
    try:
        return output.isatty()
    except (AttributeError, ValueError):  # no file at all (pythonw), or a closed one
        return False


def announce(
    urls: Sequence[str], options: RunOptions, *, is_uvloop: bool, output: TextIO | None = None
) -> None:
    """Say on stderr, or another output, where the application is served."""
    output = sys.stderr if output is None else output
    if is_for_people(output):
        has_colors = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        text = banner(urls, options, is_uvloop=is_uvloop, has_colors=has_colors)
    else:
        text = line(urls, options)
    print(text, file=output, flush=True)


def line(urls: Sequence[str], options: RunOptions) -> str:
    """Return the line for logs: addresses as they are bound."""
    processes = process_count(options)
    one = counted(options.workers, "worker")
    workers = one if processes == 1 else f"{processes} x {options.workers} workers"
    return (
        f"Cello {__version__} ({IMPLEMENTATION}) serves on {' and '.join(urls)} "
        f"({options.env}, {workers}); Ctrl-C stops it"
    )


def banner(urls: Sequence[str], options: RunOptions, *, is_uvloop: bool, has_colors: bool = False) -> str:
    """Return the banner for a terminal, of a few short lines."""
    bold, dim, yellow, plain = (_BOLD, _DIM, _YELLOW, _PLAIN) if has_colors else ("",) * 4
    loop = "uvloop" if is_uvloop else "asyncio"
    processes = process_count(options)
    contexts = f"{counted(processes, 'process', 'processes')} x {counted(options.workers, 'worker')}"
    lines = [
        "",
        f"  {bold}Cello {__version__}{plain} {dim}{IMPLEMENTATION}, on {loop}{plain}",
        "",
        *(
            f"  {bold}{url}{plain}{note and dim + note + plain}"
            for url, note in (_for_clients(url, options) for url in urls)
        ),
        f"  {options.env}, {contexts}, {' and '.join(protocols(options))}",
        "",
        *(f"  {yellow}off{plain}   {what}" for what in left_out(options, is_uvloop=is_uvloop)),
        *(f"  {yellow}note{plain}  {what}" for what in cautions(urls, options)),
        f"  {dim}Ctrl-C stops it{plain}",
        "",
    ]
    return "\n".join(lines)


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: ``1 worker``, ``2 workers``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def process_count(options: RunOptions) -> int:
    """Return how many processes serve."""
    return options.process_count


def protocols(options: RunOptions) -> list[str]:
    """Name the protocols that are served, the oldest first."""
    return [f"HTTP/1.1 over TLS {options.tls.min_version} or later" if options.tls else "HTTP/1.1"]


def left_out(options: RunOptions, *, is_uvloop: bool) -> Iterator[str]:
    """Yield what is off or was refused: each with the reason, and the way to have it where there is one."""
    yield from options.warnings
    if WHY_PURE:
        yield f"compiled modules: {WHY_PURE}"
    if not is_uvloop and sys.platform != "win32":
        yield "uvloop: it is not installed (pip install uvloop)"
    if not options.logs:
        said = "logs=False, or --no-logs"
        # Which of the two it is, is not known any more: app.enable_logging() does nothing against the flag.
        in_production = (
            f"app.enable_logging() turns it on, where neither {said.replace(', or', ' nor')} is given"
        )
        yield f"request log: {in_production if options.env == 'production' else said}"


def cautions(urls: Sequence[str], options: RunOptions) -> Iterator[str]:
    """Yield what the user should know of before others do."""
    if options.debug and not all(url.startswith(_NEAR) or "://[::1]" in url for url in urls):
        asked = options.env == "production"  # which alone would have debug off
        way_out = "leave out debug=True, or --debug" if asked else "--env production hides them"
        yield f"debug mode shows source and values to all who reach this address; {way_out}"


def _for_clients(url: str, options: RunOptions) -> tuple[str, str]:
    """Return a URL that a client on this machine opens, and what has to be said of it."""
    if url.startswith("unix:"):
        scheme = "https" if options.tls else "http"
        return url, f"  (curl --unix-socket {shlex.quote(url[5:])} {scheme}://localhost/)"
    for wildcard, local in _EVERYWHERE.items():
        if f"://{wildcard}:" in url:
            return url.replace(wildcard, local), f"  (and every other address of this machine: {wildcard})"
    return url, ""
