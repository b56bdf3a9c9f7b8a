"""What ``cello run`` is told to run: ``module:app``, ``package.module``, ``file.py`` or ``file.py:app``."""

from __future__ import annotations

import os
from dataclasses import dataclass

EXPECTED = "module:app or file.py"


class BadTarget(Exception):
    """A text names neither a module nor a file."""


@dataclass(frozen=True, slots=True)
class Target:
    """A module by its name, or a file by its path; and the name of the application in it, if that was given.

    ``name`` may have dots: ``state.app`` is an attribute of an attribute.
    """

    text: str
    module: str = ""
    path: str = ""
    name: str = ""


def parse_target(text: str) -> Target:
    """Take a target apart; raises BadTarget."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or name[:1] in ("/", "\\"):  # none, or that of a drive: C:\app.py
        place, colon, name = text, "", ""
    if colon and not _is_dotted(name):
        raise BadTarget(f"expected the application's name behind the colon, as in {EXPECTED}, got {text!r}")
    if place.endswith((".py", ".pyw")) or "/" in place or os.sep in place:
        return Target(text, path=place, name=name)
    if not _is_dotted(place):
        raise BadTarget(f"expected {EXPECTED}, got {text!r}")
    return Target(text, module=place, name=name)


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
