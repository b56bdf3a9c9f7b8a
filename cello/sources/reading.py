"""All sources of a run at once: what they say, what has to be said of them, and who reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config import RunArguments
from .file import read_file
from .layers import Given, Layer, lay_over, winners
from .names import Key
from .variables import FILE, read_variables


@dataclass(frozen=True, slots=True)
class Sources:
    """What is said besides run()'s arguments: ``flags`` above them, the others below.

    ``prog`` is the command as its user typed it, for messages; ``warnings`` are lines without it.
    """

    prog: str = "cello"
    flags: Layer = field(default_factory=dict)
    variables: Layer = field(default_factory=dict)
    file: Layer = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def say_anything(self) -> bool:
        """Whether any source but run() itself sets something."""
        return bool(self.flags or self.variables or self.file)

    def lay_over(self, arguments: RunArguments) -> RunArguments:
        """Return run()'s arguments with all that is above and below them. Raises ConfigError."""
        return lay_over(arguments, self.flags, (self.variables, self.file))

    def winners(self, arguments: RunArguments) -> dict[Key, Given]:
        """Return each setting that is not left at its default, as it holds, with its source.

        Raises ConfigError.
        """
        return winners(arguments, self.flags, (self.variables, self.file))


def read_sources(
    prog: str, flags: Layer, environment: Mapping[str, str] = os.environ, path: str | None = None
) -> Sources:
    """Read variables and file; ``path`` is what ``--config`` names. Raises ConfigError, in one line."""
    variables = read_variables(environment)
    path = path or environment.get(FILE)
    file = read_file(path) if path else {}
    return Sources(prog, flags, variables.layer, file, variables.warnings)
