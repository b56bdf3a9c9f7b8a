"""The command line of ``python app.py``: flags that win over run()'s arguments.

The script may have flags of its own, so an unknown flag is reported to the caller and never an error, and
nothing is taken from behind ``--``. A bad value of a known flag is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from .checks import nearest
from .config import RunArguments
from .settings import Choice, Setting, Texts, listed, settings_of
from .sources.layers import Given, Layer
from .sources.texts import BadText, read_text

_DESCRIPTION = "Serve this application. Every flag wins over the same parameter of app.run()."

HELP = "show this help and exit; also -h"
_ENVIRONMENTS_IN_WORDS = """\
environments:
  development  debug mode on (errors show their traceback), requests are logged
  production   debug mode off (errors show a generic message), requests are not
               logged unless the application asks for it

The defaults above hold where app.run() gives no value of its own.
"""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of the command line and the parameter of run() that it sets.

    ``sets`` is what a flag without a value sets; None for one that takes a value, which ``metavar`` names.
    """

    name: str
    setting: Setting
    metavar: str | None = None
    sets: bool | None = None

    @property
    def usage(self) -> str:
        """The flag with what stands for its value."""
        return f"{self.name} {self.metavar}" if self.metavar else self.name

    @property
    def help(self) -> str:
        """The setting's meaning, the words that the flag takes, and the default."""
        return f"do not {self.setting.meaning}" if self.sets is False else help_of(self.setting)


def help_of(setting: Setting) -> str:
    """Return the text of a setting's flag: its meaning, the words that it takes, and the default."""
    words = f": {listed(setting.kind.choices)}" if isinstance(setting.kind, Choice) else ""
    default = setting.none if setting.default is None else setting.default
    return f"{setting.meaning}{words}" + (f" (default: {default})" if default is not False else "")


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
    logs: bool | None = None
    log_format: str | None = None
    reload_dirs: list[str] | None = None
    reload_includes: list[str] | None = None
    reload_excludes: list[str] | None = None
    uds: str | None = None
    fd: int | None = None
    pid_file: str | None = None
    user: str | None = None
    group: str | None = None
    unknown: tuple[UnknownFlag, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """Map the names of run()'s parameters to the values that were given."""
        values = {flag.setting.name: getattr(self, flag.setting.name) for flag in FLAGS}
        return {name: value for name, value in values.items() if value is not None}

    def layer(self) -> Layer:
        """Return what was given, as it is laid over run()'s arguments."""
        names = {flag.setting.name: flag.name for flag in FLAGS}
        return {(name, ""): Given(value, names[name]) for name, value in self.parameters().items()}


class Parser(argparse.ArgumentParser):
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
    names = ["--help", *(flag.name for flag in FLAGS)]
    flags = [argument.partition("=")[0] for argument in rest if is_flag(argument)]
    return tuple(UnknownFlag(flag, nearest(flag, names)) for flag in dict.fromkeys(flags))


def is_flag(argument: str) -> bool:
    """Tell a flag from a value, a negative number or a text that begins with a dash."""
    return re.match(r"--?[^\W\d_][^\s=]*(=|$)", argument) is not None


def _parser(prog: str) -> Parser:
    parser = Parser(
        prog=prog,
        description=_DESCRIPTION,
        epilog=_ENVIRONMENTS_IN_WORDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--help", action="help", help=HELP)
    for flag in FLAGS:
        _add(parser, flag)
    return parser


def _add(parser: Parser, flag: Flag) -> None:
    name, target, text = flag.name, flag.setting.name, flag.help.replace("%", "%%")
    if isinstance(flag.setting.kind, Texts):
        parser.add_argument(name, dest=target, action="append", metavar=flag.metavar, help=text)
    elif flag.sets is None:
        # Where nothing is given, Overrides has None: no value here may be that.
        read = reader(replace(flag.setting, none=None))
        parser.add_argument(name, dest=target, type=read, metavar=flag.metavar, help=text)
    else:
        parser.add_argument(name, dest=target, action="store_const", const=flag.sets, help=text)


def reader(setting: Setting) -> Callable[[str], Any]:
    """Return what reads a flag's value, for argparse."""

    def read(text: str) -> Any:
        try:
            return read_text(setting, text)
        except BadText as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return read


_SETTINGS = {setting.name: setting for setting in settings_of(RunArguments)}

FLAGS = (
    Flag("--host", _SETTINGS["host"], "HOST"),
    Flag("--port", _SETTINGS["port"], "PORT"),
    Flag("--env", _SETTINGS["env"], "ENV"),
    Flag("--workers", _SETTINGS["workers"], "N"),
    Flag("--debug", _SETTINGS["debug"], sets=True),
    Flag("--reload", _SETTINGS["reload"], sets=True),
    Flag("--no-logs", _SETTINGS["logs"], sets=False),
    Flag("--log-format", _SETTINGS["log_format"], "FORMAT"),
    Flag("--reload-dirs", _SETTINGS["reload_dirs"], "DIR"),
    Flag("--reload-includes", _SETTINGS["reload_includes"], "PATTERN"),
    Flag("--reload-excludes", _SETTINGS["reload_excludes"], "PATTERN"),
    Flag("--uds", _SETTINGS["uds"], "PATH"),
    Flag("--fd", _SETTINGS["fd"], "N"),
    Flag("--pid-file", _SETTINGS["pid_file"], "PATH"),
    Flag("--user", _SETTINGS["user"], "USER"),
    Flag("--group", _SETTINGS["group"], "GROUP"),
)
