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
from ..options import PLACES, check_one_place
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

    Raises ConfigError for a group that lacks a field without a default, and for two places to listen on.
    """
    merged = {key: given.value for key, given in winners(arguments, above, below).items()}
    defaults = {name: RunArguments.__dataclass_fields__[name].default for name in PLACES}
    plain = {**defaults, **{parameter: value for (parameter, field), value in merged.items() if not field}}
    for parameter, config in groups().items():
        fields = {field: value for (group, field), value in merged.items() if group == parameter and field}
        plain[parameter] = _group(parameter, config, getattr(arguments, parameter), fields)
    return dataclasses.replace(arguments, **plain)


def winners(arguments: RunArguments, above: Layer, below: Iterable[Layer]) -> dict[Key, Given]:
    """Return each setting that some layer names, as it holds; raises ConfigError as ``lay_over``."""
    layers = _with_one_place([above, given_to_run(arguments), *below])
    found = {key: next((layer[key] for layer in layers if key in layer), None) for key in all_places()}
    return {key: given for key, given in found.items() if given is not None}


def _with_one_place(layers: list[Layer]) -> list[Layer]:
    """Return the layers without the places to listen on that a higher layer displaces with its own."""
    for at, layer in enumerate(layers):
        named = {name: layer[name, ""].value for name in PLACES if (name, "") in layer}
        named = {name: value for name, value in named.items() if value is not None}
        if named:
            check_one_place(named)
            kept = ("host", "port") if named.keys() <= {"host", "port"} else tuple(named)
            displaced = {(name, "") for name in PLACES if name not in kept}
            lower = [
                {key: given for key, given in each.items() if key not in displaced}
                for each in layers[at + 1 :]
            ]
            return [*layers[: at + 1], *lower]
    return layers


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
