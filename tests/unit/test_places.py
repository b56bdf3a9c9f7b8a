"""cello.places: which line is the application's, of those that call and of those that fail."""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from cello import App, ConfigError, RouteError, TimeoutConfig
from cello.errors import ArgumentError
from cello.places import caller, importing_line, is_library, last_own, short


def here() -> str:
    """Return the line that calls this, as messages name it."""
    return f"{short(__file__)}:{sys._getframe(1).f_lineno}"


def refused(call: Any) -> ConfigError | RouteError:
    with pytest.raises((ConfigError, RouteError)) as caught:
        call()
    return caught.value


def test_the_caller_is_the_line_itself_outside_of_cello() -> None:
    assert caller() == here()


@pytest.mark.parametrize(
    "call",
    [
        lambda: TimeoutConfig(request_timeout=-1),
        lambda: replace(TimeoutConfig(), request_timeout=-1),
        lambda: App().run(port=-1),
        lambda: App().enable_cors(max_age=-1),
        lambda: App().url_for("nothing"),
        lambda: App().use(5),
    ],
)
def test_a_refusal_names_the_line_that_called(call: Any) -> None:
    assert str(refused(call)).endswith(f" ({short(__file__)}:{call.__code__.co_firstlineno})")


def test_a_refusal_in_a_thread_that_runs_cello_alone_names_no_line() -> None:
    seen: list[BaseException] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading, "excepthook", lambda told: seen.append(told.exc_value))
        thread = threading.Thread(target=App().run, kwargs={"port": -1})
        thread.start()
        thread.join()
    assert str(seen[0]) == "app.run(port=-1): expected an int from 0 to 65535"


def test_a_place_that_the_message_has_is_not_told_twice() -> None:
    assert str(ConfigError("see (app.py:3 in index)", "app.py:3")) == "see (app.py:3 in index)"
    assert str(ConfigError("see (app.py:31 in index)", "app.py:3")) == "see (app.py:31 in index) (app.py:3)"
    assert str(ConfigError("no place", "")) == "no place"


def test_a_refusal_can_be_sent_to_another_process() -> None:
    exc = refused(lambda: TimeoutConfig(request_timeout=-1))
    again = pickle.loads(pickle.dumps(exc))
    assert (type(again), again.message, again.place, str(again)) == (
        type(exc),
        exc.message,
        exc.place,
        str(exc),
    )


def test_an_argument_error_is_a_config_error_and_a_type_error() -> None:
    exc = refused(lambda: TimeoutConfig(nonsense=1))  # type: ignore[call-arg]
    assert isinstance(exc, ArgumentError)
    assert isinstance(exc, TypeError)
    assert isinstance(exc, ConfigError)


def test_the_innermost_line_of_the_application_is_found_below_libraries() -> None:
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert last_own(caught.value) == (__file__, sys._getframe().f_lineno - 1)
    assert last_own(ValueError("never raised")) is None


def test_what_is_a_library() -> None:
    frames: list[FrameType] = []
    note = partial(_note_caller, frames)
    json.loads('{"a": 1}', object_hook=note)
    exec("note()", {"__name__": "made", "note": note})
    note()
    assert [is_library(frame) for frame in frames] == [True, True, False]


def _note_caller(frames: list[FrameType], *args: Any) -> None:
    found = sys._getframe().f_back
    assert found is not None
    frames.append(found)


def test_names_are_relative_below_the_current_directory_alone(tmp_path: Path) -> None:
    assert short(os.path.join(os.getcwd(), "x", "app.py")) == os.path.join("x", "app.py")
    assert short("/elsewhere/app.py") == "/elsewhere/app.py"


def test_an_import_is_told_from_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_by_a_test.py").write_text(
        "from cello.places import importing_line\nfound = importing_line()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import imported_by_a_test  # type: ignore[import-not-found]

    assert imported_by_a_test.found == f"{short(imported_by_a_test.__file__)}:2"
    script: dict[str, Any] = {"__name__": "__main__", "importing_line": importing_line, "__spec__": None}
    exec(compile("found = importing_line()", str(tmp_path / "script.py"), "exec"), script)
    assert script["found"] == ""
    assert importing_line() == ""
