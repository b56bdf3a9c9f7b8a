"""The command line of ``cello run`` and its like: a flag for every setting, made from the settings.

Imports nothing of what serves: that is loaded once the command line has been found good.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..checks import nearest
from ..cli import HELP, Parser, help_of, is_flag, reader
from ..config import RunArguments
from ..settings import Duration, Group, Setting, Switch, Texts, Whole, settings_of
from ..sources.layers import Given, Layer
from ..sources.names import Place, all_places
from .targets import EXPECTED, BadTarget, Target, parse_target

CONFIG_HELP = "read settings from a TOML file; also CELLO_CONFIG"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a command line says; ``rest`` is what stands behind ``--``, the application's own."""

    target: Target
    flags: Layer
    config: str | None
    is_json: bool
    rest: list[str]


def parse(prog: str, meaning: str, argv: Sequence[str], *, has_json: bool = False) -> Parsed:
    """Read a command line without the command's name.

    Raises SystemExit with status 0 after --help, and with 2 after one line for what is wrong.
    """
    parser = make_parser(prog, meaning, has_json=has_json)
    own, rest = _split(argv)
    # Not an option string of the parser: argparse would read "-host" as -h with a value and stop there.
    values, unread = parser.parse_known_args(["--help" if each == "-h" else each for each in own])
    _refuse_unread(parser, unread)
    if values.target is None:
        parser.error(f"expected what to run: {EXPECTED}")
    try:
        target = parse_target(values.target)
    except BadTarget as exc:
        parser.error(str(exc))
    flags = {
        place.key: Given(getattr(values, place.dotted), place.flag)
        for place in all_places().values()
        if hasattr(values, place.dotted)
    }
    return Parsed(target, flags, values.config, has_json and values.json, rest)


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    at = list(argv).index("--") if "--" in argv else len(argv)
    return list(argv[:at]), list(argv[at + 1 :])


def _refuse_unread(parser: Parser, unread: Sequence[str]) -> None:
    for argument in unread:
        if not is_flag(argument):
            parser.error(f"unexpected argument {argument!r}: the application's own stand behind --")
        flag = argument.partition("=")[0]
        suggestion = nearest(flag, parser._option_string_actions)
        hint = f" (did you mean {suggestion}?)" if suggestion else ""
        parser.error(f"unknown flag {flag}{hint}")


def make_parser(prog: str, meaning: str, *, has_json: bool = False) -> Parser:
    """Return the parser with all flags, in groups as run()'s parameters."""
    parser = Parser(
        prog=prog,
        usage=f"{prog} TARGET [flags] [-- the application's own arguments]",
        description=f"{meaning} TARGET is {EXPECTED}; see docs/command.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("target", nargs="?", metavar="TARGET", help="the application to run")
    parser.add_argument("--help", action="help", help=HELP)
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    if has_json:
        parser.add_argument("--json", action="store_true", help="print JSON")
    titles = {setting.name: f"{setting.name}: {setting.meaning}" for setting in settings_of(RunArguments)}
    sections: dict[str, argparse._ArgumentGroup] = {}
    for place in all_places().values():
        parameter, field = place.key
        title = titles[parameter] if field else "application and server"
        if title not in sections:
            sections[title] = parser.add_argument_group(title)
        _add(sections[title], place)
    return parser


def _add(section: argparse._ArgumentGroup, place: Place) -> None:
    setting = place.setting
    text = help_of(setting).replace("%", "%%")
    if isinstance(setting.kind, Switch):
        section.add_argument(
            *flags_of(place),
            dest=place.dotted,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text,
        )
        return
    is_list = isinstance(setting.kind, Texts)
    section.add_argument(
        *flags_of(place),
        dest=place.dotted,
        action="append" if is_list else "store",
        type=str if is_list else reader(setting),
        default=argparse.SUPPRESS,
        metavar=metavar_of(setting),
        help=text,
    )


def flags_of(place: Place) -> Iterable[str]:
    """Return a setting's flags, the long one first."""
    return (place.flag,) if place.alias is None else (place.flag, place.alias)


def metavar_of(setting: Setting) -> str | None:
    """Return what stands for a flag's value; None for a switch, which takes none."""
    kind = setting.kind
    assert not isinstance(kind, Group)
    if isinstance(kind, Switch):
        return None
    if isinstance(kind, Duration):
        return "SECONDS"
    if isinstance(kind, Whole) and kind.unit == "bytes":
        return "SIZE"
    if isinstance(kind, Texts):
        return {"folders": "DIR", "patterns": "PATTERN"}.get(kind.things, "TEXT")
    if isinstance(kind, Whole) and setting.name != "port":
        return "N"
    return setting.name.rpartition("_")[2].upper()


def rows() -> Iterator[tuple[Place, str]]:
    """Yield each setting with its flags as a page shows them."""
    for place in all_places().values():
        metavar = metavar_of(place.setting)
        if metavar is None:
            shown = [f"{flag}, --no-{flag[2:]}" for flag in flags_of(place)]
        else:
            shown = [f"{flag} {metavar}" for flag in flags_of(place)]
        yield place, ", ".join(shown)
