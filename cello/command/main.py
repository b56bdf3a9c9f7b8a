"""``cello``: finds the subcommand, and imports no other."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .._version import __version__
from ..checks import nearest

COMMANDS = {
    "run": ("run", "serve an application"),
    "dev": ("run", "the same in development: hot reload, debug mode"),
    "routes": ("routes", "list an application's routes"),
    "check": ("check", "look for mistakes without serving: imports, configuration, certificates, routes"),
    "version": ("version", "show the versions of Cello and of what it uses"),
}
"""The subcommands: the module that has each as a function, and what it does."""

_ENDED_BY_SIGINT = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, by default the process's own; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        return _refuse(f"expected a command: {_names()}; cello --help tells more")
    name, *rest = arguments
    if name in ("--help", "-h", "help"):
        print(_help(), end="")
        return 0
    if name in ("--version", "-V"):
        print(__version__)
        return 0
    if name not in COMMANDS:
        suggestion = nearest(name, COMMANDS)
        hint = f"did you mean {suggestion}?" if suggestion else f"expected {_names()}"
        what = "flag" if name.startswith("-") else "command"
        return _refuse(f"unknown {what} {name} ({hint})")
    try:
        status = _function(name)(rest)
        sys.stdout.flush()
    except KeyboardInterrupt:  # before there is a server to stop
        return _ENDED_BY_SIGINT
    except BrokenPipeError:  # whoever reads has left, as in: cello routes app.py | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed there
        return 1
    return status


def _function(name: str) -> Callable[[Sequence[str]], int]:
    module = import_module(f"{__package__}.{COMMANDS[name][0]}")
    function: Callable[[Sequence[str]], int] = getattr(module, name)
    return function


def _names() -> str:
    *others, last = COMMANDS
    return f"{', '.join(others)} or {last}"


def _help() -> str:
    lines = [f"  {name:9}{meaning}" for name, (_, meaning) in COMMANDS.items()]
    return (
        "usage: cello COMMAND ...\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n"
        "cello COMMAND --help lists the flags of a command; cello --version shows Cello's version.\n"
    )


def _refuse(line: str) -> int:
    print(f"cello: {line}", file=sys.stderr)
    return 2
