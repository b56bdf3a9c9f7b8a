"""Laying what several sources say over each other: the highest layer that names a setting has it.

An argument of run(), and a field of a config object, counts as given where it is not its default: ``run()``
and ``run(port=8000)`` mean the same. So a lower layer may set what run() was given the default of, and
nothing else that it was given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..config import RunArguments
from ..errors import ConfigError
from ..settings import settings_of
from .names import Key, Place, all_places, groups


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and what its user calls the place where it stands: a flag, a variable, a file's key."""

    value: Any
    source: str


Layer = Mapping[Key, Given]


def given_to_run(arguments: RunArguments) -> dict[Key, Given]:
    """Return what run()'s arguments say: all that is not its default."""
    layer: dict[Key, Given] = {}
    for place in all_places().values():
        parameter, field = place.key
        owner = getattr(arguments, parameter) if field else arguments
        if owner is None:
            continue
        value = getattr(owner, field or parameter)
        if value != place.setting.default:
            layer[place.key] = Given(value, f"run({parameter}=...)")
    return layer


def lay_over(arguments: RunArguments, above: Layer, below: Iterable[Layer]) -> RunArguments:
    """Return run()'s arguments with the layer above them and those below, the higher of them first.

    Raises ConfigError for a group that lacks a field without a default.
    """
    layers = [above, given_to_run(arguments), *below]
    merged: dict[Key, Any] = {}
    for key in all_places():
        given = next((layer[key] for layer in layers if key in layer), None)
        if given is not None:
            merged[key] = given.value
    plain = {parameter: value for (parameter, field), value in merged.items() if not field}
    for parameter, config in groups().items():
        fields = {field: value for (group, field), value in merged.items() if group == parameter and field}
        plain[parameter] = _group(parameter, config, getattr(arguments, parameter), fields)
    return dataclasses.replace(arguments, **plain)


def _group(parameter: str, config: type, own: Any, fields: Mapping[str, Any]) -> Any:
    """Return a config object with these fields: run()'s own, as far as that is one and has them."""
    if own is not None:
        changed = {name: value for name, value in fields.items() if getattr(own, name) != value}
        return dataclasses.replace(own, **changed) if changed else own
    if not fields:
        return None
    for setting in settings_of(config):
        if setting.default is dataclasses.MISSING and setting.name not in fields:
            raise ConfigError(_missing(all_places()[parameter, setting.name], config), place="")
    return config(**fields)


def _missing(place: Place, config: type) -> str:
    return (
        f"{config.__name__} needs {place.setting.name}: {place.flag}, {place.variable}, "
        f"or {place.dotted} in the configuration file"
    )
