"""Health checks: what they answer, and how they stand beside the application's own parts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cello import App
from cello.errors import RouteError
from tests.kit.adapters import Client


def make_app(*paths: str) -> App:
    app = App()
    app.enable_health_checks(*paths)
    return app


@pytest.mark.parametrize(("target", "status"), [("/-/live", "live"), ("/-/ready", "ready")])
def test_both_answer_200_and_json(serve: Callable[..., Client], target: str, status: str) -> None:
    client = serve(make_app())
    answer = client.get(target)
    assert (answer.status, answer.json()) == (200, {"status": status})
    assert answer.get("content-type") == "application/json"
    assert answer.get("cache-control") == "no-store"
    assert (client.head(target).status, client.head(target).body) == (200, b"")
    assert client.post(target).status == 405


def test_ready_is_503_once_a_stop_has_begun_and_live_is_not(serve: Callable[..., Client]) -> None:
    app = make_app()
    client = serve(app)
    app.begin_stop()
    answer = client.get("/-/ready")
    assert (answer.status, answer.json()) == (503, {"status": "stopping"})
    assert answer.get("content-type") == "application/json"
    assert client.get("/-/live").json() == {"status": "live"}


def test_it_is_ready_again_when_it_is_served_again(serve: Callable[..., Client]) -> None:
    app = make_app()
    app.begin_stop()
    assert serve(app).get("/-/ready").status == 200


def test_other_paths(serve: Callable[..., Client]) -> None:
    client = serve(make_app("/healthz", "/readyz"))
    assert client.get("/healthz").json() == {"status": "live"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/-/live").status == 404


def test_without_them_there_are_none(serve: Callable[..., Client]) -> None:
    assert serve(App()).get("/-/live").status == 404


def test_full_handler_threads_do_not_hold_them_up(serve: Callable[..., Client]) -> None:
    app = make_app()
    entered, release = threading.Event(), threading.Event()

    @app.get("/busy", blocking=True)
    def busy(request: Any) -> str:
        entered.set()
        release.wait(20)
        return "done"

    client = serve(app, workers=1)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(client.get("/busy").body))
    thread.start()
    try:
        assert entered.wait(20)
        assert client.get("/-/live").status == 200
        assert client.get("/-/ready").status == 200
        assert not found
    finally:
        release.set()
        thread.join()
    assert found == [b"done"]


def test_they_are_routes_like_others_for_cors_hooks_and_names(serve: Callable[..., Client]) -> None:
    app = make_app()
    app.enable_cors(["https://example.com"])
    seen: list[str] = []
    app.before_request(lambda request: seen.append(request.path))
    assert app.url_for("health_live") == "/-/live"
    answer = serve(app).get("/-/live", [("Origin", "https://example.com")])
    assert answer.get("access-control-allow-origin") == "https://example.com"
    assert seen == ["/-/live"]


def test_a_route_of_the_applications_own_on_the_same_path_is_an_error() -> None:
    def mine(request: Any) -> str:
        return "mine"

    app = make_app()
    with pytest.raises(
        RouteError, match=r"^route GET /-/live .*mine\): .* registered already, as GET /-/live"
    ):
        app.get("/-/live")(mine)
    app = App()
    app.get("/-/ready")(mine)
    with pytest.raises(
        RouteError, match=r"^route GET /-/ready .* registered already, as GET /-/ready .*mine\)"
    ):
        app.enable_health_checks()
