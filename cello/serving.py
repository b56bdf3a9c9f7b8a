"""What run() does with its arguments: asks the other sources, and serves.

``python app.py`` reads its own command line. Under the command ``cello`` another one is in force, which has
been read before the application was imported; it is told of the call, and decides what becomes of it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol

from .cli import default_prog, parse_overrides
from .config import RunArguments, RunOptions
from .errors import ConfigError, StartError
from .options import refuse_unbuilt, resolve_options
from .sources.reading import Sources, read_sources

logger = logging.getLogger("cello")


class CommandLine(Protocol):
    """The command that runs the application's code."""

    def run(self, application: Any, arguments: RunArguments) -> None:
        """Do what the command does where the application calls run()."""

    def sources_for(self, application: Any, arguments: RunArguments) -> Sources:
        """Return what holds where the application serves in a loop of its own."""


IN_FORCE: ContextVar[CommandLine | None] = ContextVar("cello-command", default=None)


def run(application: Any, arguments: RunArguments, argv: Sequence[str] | None) -> None:
    """Carry out ``app.run()``. Raises ConfigError, and SystemExit for what keeps it from serving."""
    command = IN_FORCE.get()
    if command is None:
        serve(application, arguments, _own_sources(argv, os.environ))
    else:
        command.run(application, arguments)


def sources_of_serve(application: Any, arguments: RunArguments, argv: Sequence[str] | None) -> Sources:
    """Return what ``app.serve()`` has besides its arguments: nothing, unless it was asked for."""
    command = IN_FORCE.get()
    if command is not None:
        return command.sources_for(application, arguments)
    return _own_sources(argv, os.environ if argv is None else {})


def _own_sources(argv: Sequence[str] | None, environment: Mapping[str, str]) -> Sources:
    """Return what ``python app.py`` has."""
    overrides = parse_overrides(argv)
    prog = default_prog()
    try:
        sources = read_sources(prog, overrides.layer(), environment)
    except ConfigError as exc:
        refuse(prog, exc)
    say([flag.warning(prog) for flag in overrides.unknown])
    say([f"{prog}: {warning}" for warning in sources.warnings])
    return sources


def say(warnings: Sequence[str]) -> None:
    """Print warnings, once: not again in what a supervisor has executed."""
    if not warnings:
        return
    from .cluster.handover import is_executed_by_supervisor

    for line in [] if is_executed_by_supervisor() else warnings:
        print(line, file=sys.stderr, flush=True)


def refuse(prog: str, exc: ConfigError) -> NoReturn:
    """End with a line for what is wrong with the command line, a variable or a file: status 2."""
    print(f"{prog}: {exc.message}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None


def resolve(arguments: RunArguments, sources: Sources, *, has_logging: bool) -> RunOptions:
    """Return what holds, of all sources; ``has_logging`` is what ``app.enable_logging()`` asked for.

    Raises ConfigError for what the arguments ask for; what only another source asks for is one line on
    stderr and exit status 2 (SystemExit).
    """
    try:
        return refuse_unbuilt(resolve_options(sources.lay_over(arguments), enable_logging=has_logging))
    except ConfigError as exc:
        if not sources.say_anything:
            raise
        refuse_unbuilt(resolve_options(arguments))  # raises where the arguments alone are at fault
        refuse(sources.prog, exc)


def serve(application: Any, arguments: RunArguments, sources: Sources) -> None:
    """Serve until a signal ends it. Raises ConfigError, and SystemExit with what is not status 0."""
    from .logs import configure_logging
    from .threads import is_loop_running

    options = application.resolve(arguments, sources)
    if is_loop_running():
        raise ConfigError(
            "app.run() starts an event loop, and one is running here: use `await app.serve(...)`"
        )
    configure_logging(options.log_format)
    try:
        status = _serve(application, options)
    except StartError as exc:
        print(f"cello: {exc}", file=sys.stderr, flush=True)
        status = exc.exit_status
    if status:
        raise SystemExit(status)


def _serve(application: Any, options: RunOptions) -> int:
    """Serve in this process, or with a supervisor, or as what a supervisor started; the exit status."""
    from .cluster.handover import is_executed_by_supervisor, is_for_another_run, note_run
    from .logs import warn_of_import

    note_run()
    if is_for_another_run():
        return 0  # it is over in the process that the supervisor is now
    is_executed = is_executed_by_supervisor()
    if not is_executed:
        warn(options)
        warn_of_import()
    if is_executed or options.is_supervised:
        from .cluster.launch import serve

        return serve(application, options)
    from .server.process import run

    run(application, options)
    return 0


def warn(options: RunOptions) -> None:
    """Log what has no effect, unless the banner will show it."""
    from .server.banner import is_for_people

    for warning in () if is_for_people(sys.stderr) else options.warnings:
        logger.warning(warning)
