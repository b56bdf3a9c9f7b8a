"""CELLO_* variables: every setting by its name in capitals, such as CELLO_TIMEOUT_REQUEST_TIMEOUT."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..checks import nearest
from ..errors import ConfigError
from .layers import Given, Layer
from .names import PREFIX, Key, all_places
from .texts import BadText, read_text

FILE = "CELLO_CONFIG"
"""Names the configuration file; ``--config`` wins."""

RESERVED = {
    FILE: "the configuration file",
    "CELLO_NO_EXTENSIONS": "the pure implementation (_speedups)",
    "CELLO_DISPATCH": "random lanes, for tests (lanes)",
    "CELLO_WORKER": "set for workers that execute the program again (cluster.handover)",
    "CELLO_HANDOVER": "what a supervisor hands to those (cluster.handover)",
}
"""Variables with the prefix that are no settings, and what they are."""

CONCURRENCY = "WEB_CONCURRENCY"
"""What hosting platforms call the number of worker processes; CELLO_CLUSTER_PROCESSES wins."""

_PROCESSES: Key = ("cluster", "processes")

# Kubernetes tells every container of a namespace about a Service named "cello" in variables of this prefix,
# CELLO_PORT=tcp://10.0.0.11:80 among them (docker's "service links").
_is_service_link = re.compile(r"CELLO_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_\w+)").fullmatch
_is_address = re.compile(r"(tcp|udp|sctp)://\S+").fullmatch


class Variables(NamedTuple):
    """What the environment says, and what has to be said of it."""

    layer: Layer
    warnings: tuple[str, ...]


def read_variables(environment: Mapping[str, str]) -> Variables:
    """Read the settings from an environment.

    An empty variable counts as not set. Raises ConfigError with one line that names the variable.
    """
    layer: dict[Key, Given] = {}
    unknown: list[str] = []
    links: list[str] = []
    places = {place.variable: place for place in all_places().values()}
    names = {name.upper(): name for name in environment if name.upper().startswith(PREFIX)}
    for name in sorted(names.values()):
        text = environment[name]
        if name in RESERVED or not text:
            continue
        if _is_service_link(name) or _is_address(text):
            links.append(name)
        elif name in places:
            layer[places[name].key] = Given(_read(name, places[name].key, text), name)
        else:
            unknown.append(_unknown(name, [*places, *RESERVED]))
    concurrency = environment.get(CONCURRENCY, "")
    if concurrency and _PROCESSES not in layer:
        layer[_PROCESSES] = Given(_read(CONCURRENCY, _PROCESSES, concurrency), CONCURRENCY)
    return Variables(layer, (*unknown, *_of_links(links)))


def _read(name: str, key: Key, text: str) -> object:
    try:
        return read_text(all_places()[key].setting, text)
    except BadText as exc:
        raise ConfigError(f"{name}: {exc}", place="") from None


def _unknown(name: str, known: list[str]) -> str:
    # Without the prefix, which makes any two of them look alike.
    suggestion = nearest(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known])
    hint = f" (did you mean {PREFIX}{suggestion}?)" if suggestion else ""
    return f"unknown variable {name} ignored{hint}"


def _of_links(names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    told = f"variable {names[0]}{more} ignored: Kubernetes sets it for a Service named cello"
    return [f"{told} (enableServiceLinks: false leaves it out)"]
