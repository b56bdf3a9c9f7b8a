"""Every setting there is, and what each source calls it: a flag, a variable, a key of a file."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass

from ..config import RunArguments
from ..settings import Group, Setting, settings_of

PREFIX = "CELLO_"

Key = tuple[str, str]
"""A parameter of run(), and a field of its config class; "" for a parameter that is no group."""


@dataclass(frozen=True, slots=True)
class Place:
    """A setting by its parameter and, in a group, its field.

    ``alias`` is the short flag of a field whose name says enough, and None where it would mean two things.
    """

    key: Key
    setting: Setting
    alias: str | None = None

    @property
    def flag(self) -> str:
        """The flag that sets it; a switch has one with ``--no-`` as well."""
        return "--" + "-".join(part.replace("_", "-") for part in self.key if part)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + "_".join(part.upper() for part in self.key if part)

    @property
    def dotted(self) -> str:
        """The setting as a file has it: ``port``, or ``timeout.request_timeout`` for a key of a table."""
        return ".".join(part for part in self.key if part)


@functools.cache
def all_places() -> dict[Key, Place]:
    """Return every setting, in the order of run()'s parameters and of their fields."""
    found: list[tuple[Key, Setting]] = []
    for setting in settings_of(RunArguments):
        if isinstance(setting.kind, Group):
            found += [((setting.name, each.name), each) for each in settings_of(setting.kind.config)]
        else:
            found.append(((setting.name, ""), setting))
    names = Counter([field or parameter for (parameter, field), _ in found])
    return {key: Place(key, setting, alias_of(key, names)) for key, setting in found}


def alias_of(key: Key, names: Counter[str]) -> str | None:
    """Return a field's short flag, or None; ``names`` counts the parameters and fields of all settings."""
    group, field = key
    if field == "enabled":
        return f"--{group}"
    if not field or names[field] > 1:
        return None
    return "--" + field.replace("_", "-")


def groups() -> dict[str, type]:
    """Return the config classes by the parameters of run() that take them."""
    return {
        setting.name: setting.kind.config
        for setting in settings_of(RunArguments)
        if isinstance(setting.kind, Group)
    }
