"""Of every setting: command line, run(), variable, file; the highest of them that names it has it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cello.command.flags import parse
from cello.config import RunArguments
from cello.settings import Choice, Duration, Host, Switch, Texts, Whole
from cello.sources.layers import Given
from cello.sources.names import Key, Place, all_places, groups
from cello.sources.reading import read_sources

PLACES = list(all_places().values())
SOURCES = ("flag", "run", "variable", "file")


def four_values(place: Place) -> list[tuple[Any, str]]:
    """Return four values other than the default with their texts, as many different as there are."""
    kind = place.setting.kind
    values: list[Any]
    if isinstance(kind, Switch):
        values = [not place.setting.default] * 4 if place.setting.default is not None else [True, False] * 2
    elif isinstance(kind, Whole):
        values = [kind.allowed[-1] - number for number in range(1, 5)]
    elif isinstance(kind, Duration):
        values = [11, 12.5, 13, 14]
    elif isinstance(kind, Choice):
        values = [each for each in kind.choices if each != place.setting.default] * 4
    elif isinstance(kind, Texts):
        return [([f"/{name}"], f"/{name}") for name in "abcd"]
    else:
        values = list("abcd") if isinstance(kind, Host) else [f"/{name}" for name in "abcd"]
    return [(value, str(value).lower() if isinstance(value, bool) else str(value)) for value in values[:4]]


def required(place: Place) -> dict[str, Any]:
    """Return the fields without which the place's config class cannot be made."""
    config = groups()[place.key[0]]
    fields = dataclasses.fields(config)
    return {each.name: "/required.pem" for each in fields if each.default is dataclasses.MISSING}


def given_to_run(place: Place, value: Any) -> RunArguments:
    parameter, field = place.key
    if not field:
        return RunArguments(**{parameter: value})
    return RunArguments(**{parameter: groups()[parameter](**{**required(place), field: value})})


def run_without(place: Place) -> RunArguments:
    """Return run()'s arguments without the setting, but with what its group cannot be without."""
    parameter, field = place.key
    if not field or not required(place) or field in required(place):
        return RunArguments()
    return RunArguments(**{parameter: groups()[parameter](**required(place))})


def held(arguments: RunArguments, key: Key) -> Any:
    parameter, field = key
    return getattr(getattr(arguments, parameter), field) if field else getattr(arguments, parameter)


def as_toml(value: Any) -> str:
    return json.dumps(value)


@given(place=st.sampled_from(PLACES), named=st.sets(st.sampled_from(SOURCES), min_size=1))
def test_the_highest_source_that_names_a_setting_has_it(
    place: Place, named: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = dict(zip(SOURCES, four_values(place), strict=True))
    parameter, field = place.key
    argv = ["app.py"]
    if "flag" in named:
        value, text = values["flag"]
        switch = place.flag if value else f"--no-{place.flag[2:]}"
        argv += [switch] if isinstance(value, bool) else [f"{place.flag}={text}"]
    arguments = given_to_run(place, values["run"][0]) if "run" in named else run_without(place)
    environment = {place.variable: values["variable"][1]} if "variable" in named else {}
    path = None
    if "file" in named:
        path = str(tmp_path_factory.mktemp("config") / "cello.toml")
        table = f"[{parameter}]\n" if field else ""
        Path(path).write_text(f"{table}{field or parameter} = {as_toml(values['file'][0])}\n", "utf-8")
    sources = read_sources("x", parse("x", "", argv).flags, environment, path)
    if parameter == "tls" and field in required(place) and "run" not in named:
        other = ("tls", "key_path" if field == "cert_path" else "cert_path")
        sources = dataclasses.replace(sources, flags={**sources.flags, other: Given("/other.pem", "")})
    highest = next(name for name in SOURCES if name in named)
    assert held(sources.lay_over(arguments), place.key) == values[highest][0]


def test_the_values_above_can_tell_sources_apart() -> None:
    """Most settings have a value for each source, or the test above could not fail for them."""
    apart = [place for place in PLACES if len({text for _, text in four_values(place)}) == 4]
    alike = {place.dotted for place in PLACES} - {place.dotted for place in apart}
    few = {place.dotted for place in PLACES if isinstance(place.setting.kind, Switch | Choice)}
    assert alike == few
    for place in PLACES:
        assert all(value != place.setting.default for value, _ in four_values(place)), place.dotted
