"""What a check has found: one line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad it is; the value is what the line begins with."""

    FINE = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what was found."""

    level: Level
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level.value:9}{self.subject}: {self.text}"
