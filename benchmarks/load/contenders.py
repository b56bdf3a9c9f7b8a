"""Who is measured: one entry each.

To add one, append a Contender to CONTENDERS: a command that serves the scenarios' targets on the given port,
and a function that says why it cannot run here. It is given one core, and may not write an access log.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load.scenarios import Scenario

ROOT = Path(__file__).parents[2]
SERVERS = Path(__file__).with_name("servers")

# Granian at its best for this load: one worker, one runtime thread, HTTP/1 alone, no WebSockets. The
# back-pressure is its limit of open connections, by default too low for the idle ones.
GRANIAN_OPTIONS = shlex.split(
    "--workers 1 --runtime-threads 1 --blocking-threads 1 --loop uvloop --http 1 --no-ws"
    " --backlog 4096 --backpressure 16384 --no-access-log --log-level warning"
)
UVICORN_OPTIONS = shlex.split(
    "--http httptools --loop uvloop --ws none --lifespan off"
    " --backlog 4096 --no-access-log --log-level warning"
)

CELLO_PROBE = """
import sys
import cello
from cello import App
compiled = sorted(name for name in sys.modules if name.startswith("cello._speedups.") and name.endswith("_c"))
print(cello.__version__, len(compiled))
"""


@dataclass(frozen=True)
class Launch:
    """What a server is told when it is started."""

    port: int
    scenario: Scenario | None  # None: idle connections
    scratch: Path


@dataclass(frozen=True)
class Contender:
    """A server under measurement.

    ``missing`` gives the reason why it cannot run here, or None. ``echoes`` is False for an answer that
    carries nothing of its request. ``is_default`` and ``is_default_idle`` put it among those measured unless
    others are named.
    """

    name: str
    command: Callable[[Launch], list[str]]
    missing: Callable[[], str | None]
    version: Callable[[], str]
    env: Mapping[str, str] = field(default_factory=dict)
    echoes: bool = True
    is_default: bool = True
    is_default_idle: bool = False


def server_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The harness's own environment, without what would change Cello or Python, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELLO_", "PYTHON"))}
    return {**kept, **extra}


def lacks(*packages: str) -> Callable[[], str | None]:
    """A ``missing`` function: which of these Python packages is not installed?"""

    def missing() -> str | None:
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        if not absent:
            return None
        return f"{', '.join(absent)} not installed (pip install -r benchmarks/requirements.txt)"

    return missing


def version_of(package: str) -> Callable[[], str]:
    return lambda: f"{package} {importlib.metadata.version(package)}"


def module(name: str, *options: str) -> Callable[[Launch], list[str]]:
    """A ``command`` function: one of servers/, with ``options``."""
    start = [sys.executable, "-m", f"benchmarks.load.servers.{name}"]
    return lambda launch: [*start, "--port", str(launch.port), *options]


def bare(launch: Launch) -> list[str]:
    is_pipelined = launch.scenario is not None and launch.scenario.depth > 1
    return module("bare", *(["--pipelined"] if is_pipelined else []))(launch)


def nginx(launch: Launch) -> list[str]:
    text = (SERVERS / "nginx.conf").read_text()
    conf = launch.scratch / "nginx.conf"
    conf.write_text(text.replace("@PORT@", str(launch.port)).replace("@SCRATCH@", str(launch.scratch)))
    return [nginx_path() or "nginx", "-e", "stderr", "-p", str(launch.scratch), "-c", str(conf)]


def nginx_path() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def nginx_missing() -> str | None:
    return None if nginx_path() else "nginx not installed (sh ci/install-tools.sh)"


def nginx_version() -> str:
    done = subprocess.run([nginx_path() or "nginx", "-v"], capture_output=True, text=True, check=True)
    return done.stderr.strip().removeprefix("nginx version: ")


def granian(interface: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        app = f"benchmarks.load.servers.{interface}_app:app"
        where = ["--interface", interface, "--port", str(launch.port), app]
        return [sys.executable, "-m", "granian", *GRANIAN_OPTIONS, *where]

    return command


def uvicorn(launch: Launch) -> list[str]:
    where = ["--port", str(launch.port), "benchmarks.load.servers.asgi_app:app"]
    return [sys.executable, "-m", "uvicorn", *UVICORN_OPTIONS, *where]


def shown_command(contender: Contender) -> str:
    """How it is started, for the results: on port 0, and without this machine's paths."""
    with tempfile.TemporaryDirectory() as directory:
        command = contender.command(Launch(0, None, Path(directory)))
        environment = [f"{name}={value}" for name, value in contender.env.items()]
        text = shlex.join([*environment, *command])
        return text.replace(sys.executable, "python").replace(directory, "SCRATCH")


@functools.cache
def probe_cello(is_pure: bool) -> tuple[str, str | None]:
    """Cello's version as a fresh process sees it, and why it cannot be measured, if so.

    A figure of the compiled Cello must never come from its fallback, nor the other way round, so the process
    says which modules it has loaded.
    """
    probe = [sys.executable, "-c", CELLO_PROBE]
    env = server_environment(pure_env(is_pure))
    done = subprocess.run(probe, capture_output=True, text=True, cwd=ROOT, env=env)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return "", f"cello does not import: {last[0]}"
    version, compiled_count = done.stdout.split()
    if is_pure and compiled_count != "0":
        return version, f"cello loads {compiled_count} compiled modules in spite of CELLO_NO_EXTENSIONS=1"
    if not is_pure and compiled_count == "0":
        return version, "cello is not compiled here (python setup.py build_ext --inplace)"
    return version, None


def pure_env(is_pure: bool) -> dict[str, str]:
    return {"CELLO_NO_EXTENSIONS": "1"} if is_pure else {}


def cello(
    name: str,
    lane: str,
    *flags: str,
    is_pure: bool = False,
    is_default: bool = True,
    is_default_idle: bool = False,
) -> Contender:
    kind = "pure Python" if is_pure else "compiled"
    return Contender(
        name,
        module("cello_app", "--lane", lane, *flags),
        missing=lambda: probe_cello(is_pure)[1],
        version=lambda: f"cello {probe_cello(is_pure)[0]}, {kind}, {' '.join((lane, *flags))}",
        env=pure_env(is_pure),
        is_default=is_default,
        is_default_idle=is_default_idle,
    )


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("bare", bare, lacks("uvloop"), version_of("uvloop"), echoes=False, is_default_idle=True),
        Contender("nginx", nginx, nginx_missing, nginx_version, is_default_idle=True),
        Contender("granian", granian("rsgi"), lacks("granian", "uvloop", "msgspec"), version_of("granian")),
        Contender(
            "granian-asgi",
            granian("asgi"),
            lacks("granian", "uvloop", "msgspec"),
            version_of("granian"),
            is_default=False,
        ),
        Contender(
            "uvicorn",
            uvicorn,
            lacks("uvicorn", "uvloop", "httptools", "msgspec"),
            version_of("uvicorn"),
            is_default=False,
        ),
        cello("cello", "inline", is_default_idle=True),
        cello("cello-pure", "inline", is_pure=True, is_default_idle=True),
        cello("cello-auto", "auto"),
        cello("cello-async", "async"),
        cello("cello-threads", "threads"),
        cello("cello-builtins", "inline", "--builtins", is_default=False),
        cello("cello-logs", "inline", "--logs", "auto", is_default=False),
        cello("cello-logs-json", "inline", "--logs", "json", is_default=False),
    )
}
