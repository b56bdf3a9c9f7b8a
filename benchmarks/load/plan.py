"""Who is measured, and in which order; pure."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence

from benchmarks.load.contenders import CONTENDERS, Contender
from benchmarks.load.scenarios import IDLE


def contender_names(text: str) -> list[str]:
    """Read a comma-separated list; ArgumentTypeError names what is unknown."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown or not names:
        raise ArgumentTypeError(f"expected some of {', '.join(CONTENDERS)}, got {text!r}")
    return names


def choose(scenario: str, names: Sequence[str] | None) -> list[Contender]:
    if names:
        return [CONTENDERS[name] for name in names]
    everyone = CONTENDERS.values()
    return [each for each in everyone if (each.is_default_idle if scenario == IDLE else each.is_default)]


def order(contenders: Sequence[Contender], round_number: int) -> Iterator[Contender]:
    """Each once; every round begins with another one, so that nobody is always the first."""
    start = round_number % len(contenders)
    yield from contenders[start:]
    yield from contenders[:start]
