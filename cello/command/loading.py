"""Loading the application that a command is for: by its module's name, or by running its file.

A file runs as ``python file.py`` would: as ``__main__``, with its folder in front of ``sys.path`` and what
stands behind ``--`` as its arguments. Where it calls ``app.run()``, guarded or not, it serves right there,
with the command line over run()'s arguments: what the file does after run(), and around it, happens when it
should. The commands that do not serve end a file there.

A module is imported, and must be whole before it serves: a handler may import it again, in a thread, and
would wait for an import that ends with the server. So an unguarded ``app.run()`` only notes its arguments.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

from ..checks import did_you_mean
from ..config import RunArguments
from ..serving import IN_FORCE
from ..sources.reading import Sources
from .targets import Target
from .tracebacks import trimmed

Serve = Callable[[Any, RunArguments], None]

_MOST_NAMED = 8


class LoadError(Exception):
    """The application does not import: a line, or a traceback, that says why."""


class _Reached(BaseException):
    """A file has come to its run(), and a command that does not serve ends it there.

    No Exception: the application's own ``except Exception`` is not to catch it.
    """


@dataclass(frozen=True, slots=True)
class Loaded:
    """An application and what its run() was given; ``has_served`` where all has been done."""

    application: Any
    arguments: RunArguments
    has_served: bool = False


@dataclass(slots=True)
class _Command:
    """The command line in force while the application's code runs (serving.CommandLine)."""

    target: Target
    sources: Sources
    serve: Serve | None
    module: ModuleType | None = None
    has_served: bool = False
    calls: list[tuple[Any, RunArguments]] = field(default_factory=list)

    def run(self, application: Any, arguments: RunArguments) -> None:
        if not self._is_meant(application):
            return
        self.calls.append((application, arguments))
        if self.target.path and self.serve is None:
            raise _Reached
        if self.target.path and self.serve is not None:
            self.has_served = True
            self.serve(application, arguments)

    def sources_for(self, application: Any, arguments: RunArguments) -> Sources:
        self.calls.append((application, arguments))
        if self.serve is None:
            raise _Reached
        self.has_served = True
        return self.sources

    def _is_meant(self, application: Any) -> bool:
        """Tell whether this is the application that a file's target names, where it names one."""
        if not self.target.path or not self.target.name or self.module is None:
            return True
        return _walk(self.module, self.target.name.split(".")) is application


def load(target: Target, sources: Sources, rest: list[str], serve: Serve | None = None) -> Loaded:
    """Run or import a target, and find its application; a file serves on its way, where ``serve`` is given.

    Raises LoadError, and whatever ends a program: SystemExit, KeyboardInterrupt.
    """
    command = _Command(target, sources, serve)
    token = IN_FORCE.set(command)
    try:
        module = _execute(command, rest) if target.path else _import(target, rest)
    except _Reached:
        return Loaded(*command.calls[-1])
    except (LoadError, SystemExit, KeyboardInterrupt):
        raise
    except BaseException as exc:  # whatever it is, it is the application's, and shown
        if command.has_served:
            raise
        raise LoadError(trimmed(exc).rstrip()) from None
    finally:
        IN_FORCE.reset(token)
    if command.has_served:
        return Loaded(*command.calls[-1], has_served=True)
    application = _find(target, module, command.calls)
    arguments = next((given for owner, given in command.calls if owner is application), RunArguments())
    return Loaded(application, arguments)


def _execute(command: _Command, rest: list[str]) -> ModuleType:
    path = command.target.path
    code = compile(_read(path), os.path.abspath(path), "exec", dont_inherit=True)
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(path)
    module.__loader__ = SourceFileLoader("__main__", module.__file__)
    command.module = module
    _put_in_front(os.path.dirname(module.__file__))
    sys.argv[:] = [path, *rest]
    sys.modules["__main__"] = module
    exec(code, module.__dict__)  # noqa: S102 - this is what the command is for
    return module


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        files = [each for each in _listed(folder) if each.endswith(".py")]
        hint = did_you_mean(os.path.basename(path), files)
        raise LoadError(f"there is no file {path} in {os.getcwd()}{hint}") from None
    except IsADirectoryError:
        raise LoadError(f"{path} is a folder: name a file in it, or a module") from None
    except OSError as exc:
        raise LoadError(f"{path} cannot be read: {exc.strerror}") from None


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _import(target: Target, rest: list[str]) -> ModuleType:
    _put_in_front(os.getcwd())
    sys.argv[:] = [target.module, *rest]
    try:
        return importlib.import_module(target.module)
    except ModuleNotFoundError as exc:
        # Of the target itself, or of a package that it is in; any other is the application's own.
        if exc.name is None or not f"{target.module}.".startswith(f"{exc.name}."):
            raise
        raise LoadError(_no_module(exc.name)) from None


def _put_in_front(folder: str) -> None:
    """Have modules imported from a folder first, in place of the folder of the command itself."""
    if getattr(sys.flags, "safe_path", False):  # asked for by -P: nothing is in front
        return
    sys.path[0] = folder


def _no_module(name: str) -> str:
    package, _, own = name.rpartition(".")
    where = getattr(sys.modules[package], "__path__", []) if package else sys.path[:1]
    hint = did_you_mean(own, [each.name for each in pkgutil.iter_modules(where)])
    return f"there is no module {name} in {package or os.getcwd()}{hint}"


def _find(target: Target, module: ModuleType, calls: list[tuple[Any, RunArguments]]) -> Any:
    if target.name:
        return _named(target, module)
    ran = {id(application): application for application, _ in calls}
    if len(ran) == 1:
        return next(iter(ran.values()))
    first_names: dict[int, str] = {}  # one object may have several
    for name, application in _applications(module):
        first_names.setdefault(id(application), name)
    names = list(first_names.values())
    if not names:
        raise LoadError(f"{target.text} has no App at its top level: app = App()")
    if len(names) > 1:
        text = target.text
        raise LoadError(f"{text} has several Apps, {', '.join(names)}: name one, as in {text}:{names[0]}")
    return getattr(module, names[0])


def _applications(module: ModuleType) -> Iterator[tuple[str, Any]]:
    app_module = sys.modules.get(f"{__package__.partition('.')[0]}.app")
    for name, value in vars(module).items():
        if app_module is not None and isinstance(value, app_module.App):
            yield name, value


def _named(target: Target, module: ModuleType) -> Any:
    place = target.path or target.module
    owner: Any = module
    for name in target.name.split("."):
        if not hasattr(owner, name):
            raise LoadError(f"there is no {name!r} in {place}{_choices(owner, name)}")
        owner = getattr(owner, name)
    app_module = sys.modules.get(f"{__package__.partition('.')[0]}.app")
    if app_module is None or not isinstance(owner, app_module.App):
        called = ": its result is one only when it is called, at the top level" if callable(owner) else ""
        raise LoadError(f"{target.text} is no App but a {type(owner).__name__}{called}")
    return owner


def _choices(owner: Any, name: str) -> str:
    hint = did_you_mean(name, [each for each in vars(owner) if not each.startswith("_")])
    if hint or not isinstance(owner, ModuleType):
        return hint
    applications = [each for each, _ in _applications(owner)][:_MOST_NAMED]
    return f"; its Apps: {', '.join(applications)}" if applications else "; it has no App"


def _walk(owner: Any, names: list[str]) -> Any:
    for name in names:
        owner = getattr(owner, name, None)
    return owner
