"""The command line of ``python app.py``: flags that win over run()'s arguments.

The script may have flags of its own, so an unknown flag is reported to the caller and never an error, and
nothing is taken from behind ``--``. A bad value of a known flag is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from .checks import did_you_mean, in_words, nearest
from .config import (
    ENVIRONMENTS,
    HOST_IN_WORDS,
    LOG_FORMATS,
    LOG_FORMATS_IN_WORDS,
    PORTS,
    WORKERS,
    host_hint,
    is_host,
)

_DESCRIPTION = "Serve this application. Every flag wins over the same parameter of app.run()."

_ENVIRONMENTS_IN_WORDS = """\
environments:
  development  debug mode on (errors show their traceback), requests are logged
  production   debug mode off (errors show a generic message), requests are not
               logged unless the application asks for it

The defaults above hold where app.run() gives no value of its own.
"""


@dataclass(frozen=True, slots=True)
class UnknownFlag:
    """A flag that Cello does not know, and the one that may have been meant."""

    flag: str
    suggestion: str | None

    def warning(self, prog: str) -> str:
        """Render the line that the user sees."""
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{prog}: unknown flag {self.flag} ignored by Cello{hint}"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None where it says nothing."""

    host: str | None = None
    port: int | None = None
    env: str | None = None
    workers: int | None = None
    debug: bool | None = None
    reload: bool | None = None
    no_logs: bool | None = None
    log_format: str | None = None
    unknown: tuple[UnknownFlag, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """Map the names of run()'s parameters to the values that were given."""
        values = {name: getattr(self, name) for name in _PARAMETERS}
        values["logs"] = False if self.no_logs else None
        return {name: value for name, value in values.items() if value is not None}


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ')}\n")


def default_prog() -> str:
    """Name the running program as its user typed it."""
    return f"python {os.path.basename(sys.argv[0]) or 'app.py'}"


def parse_overrides(argv: Sequence[str] | None = None, prog: str | None = None) -> Overrides:
    """Read the flags that override run().

    ``argv`` is without the program's name and defaults to the process's own. Raises SystemExit with status 0
    after --help, and with 2 after a line on stderr for a bad value of a known flag.
    """
    parser = _parser(prog or default_prog())
    given = list(sys.argv[1:] if argv is None else argv)
    own = given[: given.index("--")] if "--" in given else given
    # Not an option string of the parser: argparse would read "-host" as -h with a value and stop there.
    own = ["--help" if argument == "-h" else argument for argument in own]
    values, rest = parser.parse_known_args(own)
    return Overrides(**vars(values), unknown=_unknown_flags(rest))


def _unknown_flags(rest: Sequence[str]) -> tuple[UnknownFlag, ...]:
    flags = [argument.partition("=")[0] for argument in rest if _is_flag(argument)]
    return tuple(UnknownFlag(flag, nearest(flag, _FLAGS)) for flag in dict.fromkeys(flags))


def _is_flag(argument: str) -> bool:
    """Tell a flag from a value, a negative number or a text that begins with a dash."""
    return re.match(r"--?[^\W\d_][^\s=]*(=|$)", argument) is not None


def _parser(prog: str) -> _Parser:
    parser = _Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_ENVIRONMENTS_IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add = parser.add_argument
    add("--help", action="help", help="show this help and exit; also -h")
    add("--host", type=_host, help="address to listen on; 0.0.0.0 for all interfaces (default: 127.0.0.1)")
    add("--port", type=_port, help="TCP port to listen on; 0 for any free one (default: 8000)")
    add("--env", type=_env, help="development or production (default: development)")
    add("--workers", type=_workers, metavar="N", help="handler threads (default: CPU count)")
    _add_switch(parser, "--debug", "errors show their traceback (default: on in development)")
    _add_switch(parser, "--reload", "restart when a .py file changes; not built yet, refused in development")
    _add_switch(parser, "--no-logs", "do not log requests (default: logged in development)")
    add(
        "--log-format",
        type=_log_format,
        metavar="FORMAT",
        help="how requests are logged: auto, json or combined (default: auto)",
    )
    return parser


def _add_switch(parser: _Parser, name: str, text: str) -> None:
    parser.add_argument(name, action="store_true", default=None, help=text)


_PARAMETERS = ("host", "port", "env", "workers", "debug", "reload", "log_format")
_FLAGS = (
    "--help",
    "--host",
    "--port",
    "--env",
    "--workers",
    "--debug",
    "--reload",
    "--no-logs",
    "--log-format",
)


def _host(text: str) -> str:
    if not is_host(text):
        raise argparse.ArgumentTypeError(f"expected {HOST_IN_WORDS}, got {text!r}{host_hint(text)}")
    return text


def _port(text: str) -> int:
    return _int(text, PORTS)


def _workers(text: str) -> int:
    return _int(text, WORKERS)


def _int(text: str, allowed: range) -> int:
    # int() alone takes "1_000", " 80 " and digits of other scripts.
    is_plain = text.isascii() and text.isdigit() and len(text) < 10
    if not is_plain or int(text) not in allowed:
        raise argparse.ArgumentTypeError(f"expected {in_words(allowed)}, got {text!r}")
    return int(text)


def _log_format(text: str) -> str:
    if text not in LOG_FORMATS:
        raise argparse.ArgumentTypeError(
            f"expected {LOG_FORMATS_IN_WORDS}, got {text!r}{did_you_mean(text, LOG_FORMATS)}"
        )
    return text


def _env(text: str) -> str:
    if text not in ENVIRONMENTS:
        hint = did_you_mean(text, ENVIRONMENTS)
        raise argparse.ArgumentTypeError(f"expected 'development' or 'production', got {text!r}{hint}")
    return text
