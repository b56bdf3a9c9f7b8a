"""Makes the tables of configuration.md and command.md in docs from the code: python ci/make_reference.py

The pages' text stands outside of the markers and is written by hand; what is between them is overwritten.
tests/test_docs.py fails while a page is not what this script makes.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the clone's own modules, whatever is installed

from cello import config  # noqa: E402
from cello.cli import FLAGS, HELP  # noqa: E402
from cello.command.flags import CONFIG_HELP, rows  # noqa: E402
from cello.settings import Group, Setting, settings_of  # noqa: E402

PAGE = ROOT / "docs" / "configuration.md"
COMMAND_PAGE = ROOT / "docs" / "command.md"
COMMAND = "python ci/make_reference.py"
CLASSES = ("TlsConfig", "TimeoutConfig", "LimitsConfig", "Http2Config", "Http3Config", "ClusterConfig")
OPENING = f"<!-- {{name}}: made from cello/config.py by `{COMMAND}` -->\n"
CLOSING = "<!-- end of {name} -->\n"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Render a table; a cell may hold no bar, since GitHub splits cells at it even in code."""
    lines = [list(heads), *map(list, rows)]
    assert not any("|" in cell for line in lines for cell in line)
    head, *rest = (f"| {' | '.join(line)} |\n" for line in lines)
    return f"{head}{'|---' * len(lines[0])}|\n{''.join(rest)}"


def default_of(setting: Setting) -> str:
    """Render a default as it is written in Python, with the quotes of these pages."""
    if setting.default is dataclasses.MISSING:
        return "required"
    text = f'"{setting.default}"' if isinstance(setting.default, str) else repr(setting.default)
    return f"`{text}`"


def values_of(setting: Setting) -> str:
    """Render what a value may be; a config class leads to its own table."""
    if isinstance(setting.kind, Group):
        name = setting.kind.config.__name__
        return f"[{name}](#{name.lower()})"
    return setting.kind.values


def settings_table(kind: type, head: str) -> str:
    """Render the settings of a config class."""
    rows = (
        (
            f"`{setting.name}`",
            default_of(setting),
            values_of(setting),
            setting.meaning + (f"; None: {setting.none}" if setting.none else ""),
        )
        for setting in settings_of(kind)
    )
    return table((head, "Default", "Values", "Meaning"), rows)


def flags_table() -> str:
    """Render the flags of the command line."""
    rows = [
        (
            f"`{flag.usage}`",
            f"`{flag.setting.name}`" if flag.sets is None else f"`{flag.setting.name}={flag.sets}`",
            flag.help,
        )
        for flag in FLAGS
    ]
    return table(("Flag", "Sets", "Meaning"), [*rows, ("`--help`", "", HELP)])


def sources_table() -> str:
    """Render what each setting is called on the command line, in the environment and in a file."""
    lines = [
        (", ".join(f"`{flag}`" for flag in shown.split(", ")), f"`{place.variable}`", f"`{place.dotted}`")
        for place, shown in rows()
    ]
    config = ("`--config FILE`", "`CELLO_CONFIG`", CONFIG_HELP.partition(";")[0])
    return table(("Flag", "Variable", "Key of the file"), [*lines, config])


def tables(page: Path) -> dict[str, str]:
    """Return every table that a page has to have, by the name in its marker."""
    if page == COMMAND_PAGE:
        return {"sources": sources_table()}
    made = {name: settings_table(getattr(config, name), "Field") for name in CLASSES}
    return {"run": settings_table(config.RunArguments, "Parameter"), "flags": flags_table(), **made}


def remade(text: str, page: Path = PAGE) -> str:
    """Return a page with fresh tables. Raises ValueError where the markers of one do not stand once."""
    for name, made in tables(page).items():
        opening, closing = OPENING.format(name=name), CLOSING.format(name=name)
        between = re.compile(f"(?<={re.escape(opening)}).*?(?={re.escape(closing)})", re.DOTALL)
        if len(between.findall(text)) != 1:
            raise ValueError(f"expected {opening!r} and {closing!r} once in {page.name}")
        text = between.sub(lambda _, made=made: made, text)
    return text


def main() -> None:
    """Rewrite the pages."""
    for page in (PAGE, COMMAND_PAGE):
        text = page.read_text("utf-8")
        fresh = remade(text, page)
        page.write_text(fresh, "utf-8")
        print(f"{page.relative_to(ROOT)}: {'nothing to change' if fresh == text else 'rewritten'}")


if __name__ == "__main__":
    main()
