"""``cello version``: what an issue report needs, and what is missing here."""

from __future__ import annotations

import platform
import ssl
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from .. import _speedups
from .._version import __version__

MEANING = "Show the versions of Cello, of Python, and of the libraries that it uses."

REQUIRED = ("httptools", "uvloop", "msgspec", "multidict", "h2", "aioquic", "watchfiles")
OPTIONAL = ("brotli", "zstandard", "isal")


def version(argv: Sequence[str]) -> int:
    """Print the versions; returns the exit status."""
    if argv and argv[0] in ("--help", "-h"):
        print(f"usage: cello version\n\n{MEANING}")
        return 0
    if argv:
        print(f"cello version: unexpected argument {argv[0]!r}", file=sys.stderr)
        return 2
    for name, text in lines():
        print(f"{name:15}{text}")
    return 0


def lines() -> Iterator[tuple[str, str]]:
    """Yield what is there: its name, and its version in words."""
    why = f" ({_speedups.WHY_PURE})" if _speedups.WHY_PURE else ""
    yield "cello", f"{__version__}, {_speedups.IMPLEMENTATION}{why}"
    yield "python", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    yield "platform", platform.platform()
    yield "openssl", ssl.OPENSSL_VERSION
    for name in REQUIRED:
        wanted = "winloop" if name == "uvloop" and sys.platform == "win32" else name
        yield wanted, _installed(wanted) or "missing"
    for name in OPTIONAL:
        yield name, _installed(name) or "not installed (optional)"


def _installed(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None
