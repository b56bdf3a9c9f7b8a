"""``cello run`` and ``cello dev``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .. import serving
from ..config import RunArguments
from ..errors import ConfigError
from ..sources.layers import Given, Layer
from ..sources.names import Key
from ..sources.reading import Sources, read_sources
from .flags import Parsed, parse
from .loading import Loaded, LoadError, Serve, load
from .tracebacks import trimmed

RUN = "Serve an application; every flag wins over the same parameter of its run()."
DEV = "Serve an application in development: as run --reload --debug --env development."

_DEV: dict[Key, Any] = {("reload", ""): True, ("debug", ""): True, ("env", ""): "development"}

FAILED, USAGE, DOES_NOT_IMPORT = 1, 2, 3


def run(argv: Sequence[str]) -> int:
    """Serve what a command line names; returns the exit status."""
    return _run("cello run", parse("cello run", RUN, argv), {})


def dev(argv: Sequence[str]) -> int:
    """Serve in development; returns the exit status."""
    flags = {key: Given(value, "cello dev") for key, value in _DEV.items()}
    return _run("cello dev", parse("cello dev", DEV, argv), flags)


def _run(prog: str, parsed: Parsed, flags: Layer) -> int:
    sources = read(prog, parsed, flags)
    serving.say([f"{prog}: {warning}" for warning in sources.warnings])

    def serve(application: Any, arguments: RunArguments) -> None:
        try:
            serving.serve(application, arguments, sources)
        except ConfigError as exc:
            print(f"{prog}: {exc.message}", file=sys.stderr, flush=True)
            raise SystemExit(FAILED) from None

    loaded = load_or_exit(prog, parsed, sources, serve)
    if not loaded.has_served:
        serve(loaded.application, loaded.arguments)
    return 0


def read(
    prog: str, parsed: Parsed, flags: Layer | None = None, environment: Mapping[str, str] = os.environ
) -> Sources:
    """Return what flags, variables and file say; ``flags`` are laid below the command line's own.

    Raises SystemExit with status 2 after one line for what is wrong.
    """
    try:
        return read_sources(prog, {**(flags or {}), **parsed.flags}, environment, parsed.config)
    except ConfigError as exc:
        serving.refuse(prog, exc)


def load_or_exit(prog: str, parsed: Parsed, sources: Sources, serve: Serve | None = None) -> Loaded:
    """Load the application; raises SystemExit with status 3 after saying why it does not import."""
    try:
        return load(parsed.target, sources, parsed.rest, serve)
    except LoadError as exc:
        text = str(exc)
        print(text if "\n" in text else f"{prog}: {text}", file=sys.stderr, flush=True)
        raise SystemExit(DOES_NOT_IMPORT) from None
    except Exception as exc:  # noqa: BLE001 - what the application does after it has served
        print(trimmed(exc), end="", file=sys.stderr, flush=True)
        raise SystemExit(FAILED) from None
