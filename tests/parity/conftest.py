"""Both implementations of each compiled module, side by side.

A test module names its pair, SUBJECT = "octets". `twin` runs a test once on either; `same` calls one function
of both and asserts that they agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

IS_PURE_RUN = os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what compares twins where the run is to prove that the pure one gets along alone."""
    if not IS_PURE_RUN:
        return
    compares = [item for item in items if "twins" in getattr(item, "fixturenames", ())]
    if compares:
        config.hook.pytest_deselected(items=compares)
        items[:] = [item for item in items if "twins" not in getattr(item, "fixturenames", ())]


def load(subject: str, kind: str) -> ModuleType:
    """Import one implementation; the compiled one is left alone in a run that is to prove the pure one."""
    if kind == "c" and IS_PURE_RUN:
        pytest.skip("a pure run loads no compiled module")
    return import_module(f"cello._speedups.{subject}_{kind}")


def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """What a call comes to, comparable: the type and value returned, or the type and text of the error."""
    try:
        value = call(*args)
    except Exception as exc:
        return "raised", type(exc), str(exc)
    return "returned", type(value), value


@pytest.fixture(scope="module", params=["py"] if IS_PURE_RUN else ["py", "c"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    return load(request.module.SUBJECT, request.param)


@pytest.fixture(scope="module")
def twins(request: pytest.FixtureRequest) -> tuple[ModuleType, ModuleType]:
    return load(request.module.SUBJECT, "py"), load(request.module.SUBJECT, "c")


@pytest.fixture(scope="module")
def same(twins: tuple[ModuleType, ModuleType]) -> Callable[..., tuple[Any, ...]]:
    """Call the named function of both twins; assert equal outcomes and return them."""

    def check(name: str, *args: Any) -> tuple[Any, ...]:
        pure, compiled = (outcome(getattr(module, name), *args) for module in twins)
        assert compiled == pure, f"{name}{args!r:.300}"
        return pure

    return check
