"""The configuration file: TOML, run()'s parameters as keys and its groups as tables.

    port = 8080
    reload_dirs = ["src"]

    [timeout]
    request_timeout = 5

Only a file that was asked for is read: one that is found by its name in the current directory would make a
server's configuration depend on where it was started. Relative paths are relative to the file. TOML has no
null: the word "none" stands for None.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..checks import did_you_mean
from ..errors import ConfigError
from ..settings import FilePath, PemPath, Setting, Texts, Whole
from .layers import Given, Layer
from .names import Key, all_places, groups
from .texts import BadText, bad, checked, read_text


def read_file(path: str) -> Layer:
    """Read a configuration file; raises ConfigError with one line that names file and key."""
    layer: dict[Key, Given] = {}
    folder = os.path.dirname(os.path.abspath(path))
    parameters = {key[0] for key in all_places()}
    for name, value in _load(path).items():
        if name not in parameters:
            raise ConfigError(f"{path}: unknown key {name!r}{did_you_mean(name, parameters)}", place="")
        if name not in groups():
            _put(layer, path, folder, (name, ""), value)
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{path}: {name}: expected a table, [{name}], got {value!r:.100}", place="")
        fields = [key[1] for key in all_places() if key[0] == name]
        for field, each in value.items():
            if field not in fields:
                raise ConfigError(
                    f"{path}: unknown key {field!r} in [{name}]{did_you_mean(field, fields)}", place=""
                )
            _put(layer, path, folder, (name, field), each)
    return layer


def _load(path: str) -> Mapping[str, Any]:
    import tomllib  # most command lines name no file

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        where = "" if os.path.isabs(path) else f" in {os.getcwd()}"
        raise ConfigError(f"{path}: no such file{where}", place="") from None
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}", place="") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: this is not TOML: {exc}", place="") from None


def _put(layer: dict[Key, Given], path: str, folder: str, key: Key, value: Any) -> None:
    place = all_places()[key]
    try:
        read = _value(place.setting, value, folder)
    except BadText as exc:
        raise ConfigError(f"{path}: {place.dotted}: {exc}", place="") from None
    layer[key] = Given(read, f"{path}: {place.dotted}")


def _value(setting: Setting, value: Any, folder: str) -> Any:
    kind = setting.kind
    if value == "none" and setting.none is not None:
        return None
    if isinstance(kind, Whole) and kind.unit == "bytes" and isinstance(value, str):
        return read_text(setting, value)
    if isinstance(value, dict):
        raise bad(setting, kind.values, value)
    value = checked(setting, value, value)
    if isinstance(kind, PemPath | FilePath):
        return os.path.join(folder, value)
    if isinstance(kind, Texts) and kind.can_be_paths:
        return [os.path.join(folder, each) for each in value]
    return value
