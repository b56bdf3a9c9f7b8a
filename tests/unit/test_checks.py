"""cello.checks: calls that do not fit say which name was meant, and those that fit are as before."""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import re
from typing import Any

import pytest

from cello import App, TimeoutConfig, TlsConfig
from cello.checks import named, named_fields
from cello.errors import ArgumentError


@named("paint", missing="as in paint(1)")
def paint(colour: int, depth: int = 1, *, width: int = 2) -> tuple[int, int, int]:
    """Paint."""
    return colour, depth, width


def told(call: Any) -> str:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert caught.value.__context__ is None
    return caught.value.message


def test_a_call_that_fits_is_made() -> None:
    assert paint(5) == (5, 1, 2)
    assert paint(5, 6, width=7) == (5, 6, 7)


def test_the_nearest_name_is_named() -> None:
    assert told(lambda: paint(1, dept=2)) == "paint(dept=...): there is no 'dept' (did you mean 'depth'?)"  # type: ignore[call-arg]
    assert told(lambda: paint(1, x=2)) == "paint(x=...): there is no 'x'; it takes colour, depth, width"  # type: ignore[call-arg]


def test_what_is_missing_and_what_is_too_much_is_told() -> None:
    assert told(lambda: paint()) == "paint(): missing a required argument: 'colour'; as in paint(1)"  # type: ignore[call-arg]
    assert told(lambda: paint(1, 2, 3)) == (  # type: ignore[misc]
        "paint(): too many positional arguments; it takes colour, depth, width"
    )
    assert told(lambda: paint(1, colour=2)) == (  # type: ignore[misc]
        "paint(): multiple values for argument 'colour'; it takes colour, depth, width"
    )


def test_a_type_error_from_inside_passes() -> None:
    @named("add")
    def add(first: Any, second: Any) -> Any:
        return first + second

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        add(1, "2")
    assert not isinstance(caught.value, ArgumentError)

    @named("outer")
    def outer() -> Any:
        return add(1)

    assert told(outer) == "add(): missing a required argument: 'second'; it takes first, second"


def test_a_secret_under_a_misspelt_name_is_not_shown() -> None:
    with pytest.raises(ArgumentError) as caught:
        TlsConfig("c.pem", "k.pem", key_pasword="hush")  # type: ignore[call-arg]
    assert "key_password" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_signatures_and_help_are_as_written() -> None:
    assert list(inspect.signature(TimeoutConfig).parameters) == [
        field.name for field in dataclasses.fields(TimeoutConfig)
    ]
    assert str(inspect.signature(App.get)).startswith("(self, path: 'str', **options")
    assert "run(self, host: 'str' = '127.0.0.1', port: 'int' = 8000" in pydoc.plain(pydoc.render_doc(App.run))
    assert pydoc.getdoc(App.run).startswith("Serve until SIGINT or SIGTERM.")
    assert (paint.__name__, paint.__doc__) == ("paint", "Paint.")


def test_a_dataclass_stays_one() -> None:
    @named_fields
    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 0

    assert Point(1) == Point(x=1, y=0) == dataclasses.replace(Point(2), x=1)
    assert not hasattr(Point(1), "__dict__")
    assert told(lambda: Point(1, z=2)).startswith("Point(z=...): there is no 'z'")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "hint"), [("gte", " (did you mean 'get'?)"), ("websocket", ""), ("_get", "")]
)
def test_what_an_application_does_not_have(name: str, hint: str) -> None:
    app = App()
    with pytest.raises(AttributeError) as caught:
        getattr(app, name)
    assert re.fullmatch(rf"there is no app\.{name}{re.escape(hint)} \(\S+:\d+\)", str(caught.value))
    assert not hasattr(app, name)
