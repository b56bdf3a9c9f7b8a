"""The mistakes of mistakes.toml: an application each, and what its developer sees of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HEAD = """\
import asyncio

from cello import App, ClusterConfig, Http2Config, HTTPError, LimitsConfig, Response, TimeoutConfig, TlsConfig

app = App()


"""

_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


@dataclass(frozen=True)
class Mistake:
    """An application with a mistake in it, and the line that its developer sees.

    ``others`` are further files of it, by name; ``method`` to ``answer`` are of the request that shows it.
    """

    name: str
    code: str
    said: str
    arguments: tuple[str, ...] = ()
    unplaced: str = ""
    head: str = HEAD
    others: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    target: str = "/"
    body: str | None = None
    answer: int = 500

    @property
    def source(self) -> str:
        """The whole file."""
        return self.head + self.code

    @property
    def line(self) -> int | None:
        """The number of the line that is at fault."""
        return self._marked("HERE")

    def _marked(self, mark: str) -> int | None:
        lines = self.source.splitlines()
        return next((number for number, text in enumerate(lines, 1) if text.endswith(f"# {mark}")), None)

    @property
    def names_its_line(self) -> bool:
        """Whether what is said has the line that is at fault."""
        return self.line is not None and "{here}" in self.said

    @property
    def pattern(self) -> str:
        """A regular expression of all that is said."""
        said = self.said
        for mark in ("HERE", "THERE"):
            said = said.replace(f"{{{mark.lower()}}}", f"app.py:{self._marked(mark)}")
        return ".*".join(re.escape(part) for part in said.split("…"))


def mistakes(kind: str) -> list[Mistake]:
    """Return the rows of one kind: command_line, ended, warned, asked, forgotten."""
    return [Mistake(**{**row, "arguments": tuple(row.get("arguments", ()))}) for row in _TABLE[kind]]


def all_mistakes() -> list[Mistake]:
    """Return the rows of every kind."""
    return [mistake for kind in _TABLE for mistake in mistakes(kind)]
