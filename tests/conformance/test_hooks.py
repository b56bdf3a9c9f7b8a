"""before_request and after_request: their order, their answers, what they see."""

from __future__ import annotations

from typing import Any

import pytest

from cello import App, HTTPError
from tests.kit.chains import KIND, LANES, add_route, as_kind, tracing


def hooked(kind: str, lane: str) -> tuple[App, list[str]]:
    """Return an application with two hooks on either side, which note their order."""
    app, order = tracing(("def",), lane)
    for number in range(2):
        app.before_request(as_kind(kind, lambda request, n=number: order.append(f"before{n}")))
        app.after_request(as_kind(kind, lambda request, response, n=number: order.append(f"after{n}")))
    return app, order


@KIND
@LANES
def test_hooks_run_in_order_around_everything(serve: Any, kind: str, lane: str) -> None:
    app, order = hooked(kind, lane)
    assert serve(app).get("/").json() == {"from": "handler"}
    assert order == ["before0", "before1", "+m0", "handler", "-m0", "after0", "after1"]


@KIND
@LANES
def test_before_hook_answers(serve: Any, kind: str, lane: str) -> None:
    app, order = hooked(kind, lane)
    app.before_request(as_kind(kind, lambda request: ({"early": True}, 403)))
    app.before_request(as_kind(kind, lambda request: order.append("never")))
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (403, {"early": True})
    assert order == ["before0", "before1", "after0", "after1"]


@KIND
@LANES
@pytest.mark.parametrize(("falsy", "text"), [({}, "{}"), ("", ""), ([], "[]"), (0, "0"), (False, "false")])
def test_falsy_answers_of_hooks_are_answers(serve: Any, kind: str, lane: str, falsy: Any, text: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")
    app.before_request(as_kind(kind, lambda request: falsy))
    app.before_request(as_kind(kind, lambda request: "never"))
    assert serve(app).get("/").text == text


@KIND
@LANES
def test_after_hook_changes_or_replaces(serve: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "first")
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-A", "1")))
    app.after_request(as_kind(kind, lambda request, response: ({"was": response.body.decode()}, 202)))
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-B", response.status)))
    answer = serve(app).get("/")
    assert (answer.status, answer.json()) == (202, {"was": "first"})
    assert (answer.get("x-a"), answer.get("x-b")) == (None, "202")


@KIND
@LANES
def test_after_hooks_see_404_and_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()

    def fail(request: Any) -> Any:
        raise ValueError("bad")

    add_route(app, lane, fail)
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Saw", response.status)))
    client = serve(app)
    answers = client.get("/"), client.get("/nowhere"), client.post("/")
    assert [(each.status, each.get("x-saw")) for each in answers] == [
        (500, "500"),
        (404, "404"),
        (405, "405"),
    ]
    assert log.text.count("ValueError: bad") >= 1


@KIND
@LANES
def test_failing_before_hook(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "never")
    errors: list[Exception] = [ValueError("the hook's bug"), HTTPError(401, "who?")]

    def fail(request: Any) -> Any:
        raise errors.pop()

    app.before_request(as_kind(kind, fail))
    app.after_request(as_kind(kind, lambda request, response: response.set_header("X-Saw", response.status)))
    client = serve(app)
    answers = client.get("/"), client.get("/")
    assert [(each.status, each.get("x-saw")) for each in answers] == [(401, "401"), (500, "500")]
    assert "ValueError: the hook's bug" in log.text


@KIND
@LANES
def test_failing_after_hook_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "x")

    def fail(request: Any, response: Any) -> Any:
        raise ValueError("the hook's bug")

    app.after_request(as_kind(kind, fail))
    assert serve(app).get("/").status == 500
    assert "ValueError: the hook's bug" in log.text


@KIND
@LANES
def test_unencodable_answer_of_a_hook_is_a_500(serve: Any, log: Any, kind: str, lane: str) -> None:
    app = App()
    add_route(app, lane, lambda request: "x")
    app.before_request(as_kind(kind, lambda request: {"a": object()}))
    assert serve(app).get("/").status == 500
    assert "cannot encode object of type object at $.a" in log.text
