"""What a browser gets of errors in debug mode, on every adapter."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from cello import App, HTTPError

BROWSER = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]
VOID = {"meta"}


class Outline(HTMLParser):
    """The tags of a document, which must be closed in order, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.places: list[tuple[str, int]] = []

    def tags_at(self, name: str) -> int:
        """Return the number of the words that stand in the first tag of a name."""
        return next(at for tag, at in self.places if tag == name)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.places.append((tag, len(self.words)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline_of(answer: Any) -> Outline:
    assert answer.get("content-type") == "text/html; charset=utf-8"
    outline = Outline()
    outline.feed(answer.text)
    assert outline.open == []
    names = {tag for tag, _ in outline.tags}
    assert not names & {
        "script",
        "link",
        "img",
        "iframe",
        "form",
        "a",
    }  # nothing of another host, nothing that runs
    assert not any(
        name.startswith("on") or name in ("src", "href") for _, attrs in outline.tags for name in attrs
    )
    assert "default-src 'none'" in str(answer.get("content-security-policy"))
    return outline


FIRST = "first-hush"


class Above:
    """Keeps the lines with what is secret out of sight: the page shows the source around the line."""

    first: int
    second: int


def login(request: Any) -> Any:
    pairs = list(request.headers.items())
    nested = {"password": [FIRST], "plain": 1}
    form = request.form()
    raise ValueError(f"{len(pairs)} {len(nested)} {len(form)}")


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def deep(count: int) -> None:
    password, payload, odd = "hunter2", {"api_key": "k-123", "plain": "<script>alert(1)</script>"}, Odd()
    assert all((password, payload, odd is not None))
    if count:
        deep(count - 1)
    raise ValueError("<b>the</b> bug & 'more'")


def make_app() -> App:
    app = App()

    @app.post("/fails/{number:int}")
    def fails(request: Any) -> Any:
        try:
            {}["missing"]
        except KeyError:
            deep(1)

    @app.get("/async")
    async def coroutine(request: Any) -> Any:
        raise RuntimeError("in a coroutine")

    app.get("/orders/{id:int}")(lambda request: "order")
    app.get("/customers")(lambda request: "customers")
    app.get("/refuses")(refuses)
    app.use(lambda request, call_next: call_next(request))
    app.enable_cors(origins=["https://a.test"])
    return app


def refuses(request: Any) -> Any:
    raise HTTPError(503, "<i>later</i>")


def test_the_page_of_a_failure(serve: Any, log: Any) -> None:
    client = serve(make_app(), debug=True)
    headers = [
        *BROWSER,
        ("Authorization", "Bearer xyz"),
        ("Content-Type", "text/plain"),
        ("X-Shown", "it's <shown>"),
    ]
    answer = client.request("POST", "/fails/7?page=2&token=t-456", headers, b"the <body>")
    assert answer.status == 500
    outline = outline_of(answer)
    text = "".join(outline.words)
    assert "ValueError: <b>the</b> bug & 'more'" in text
    assert "It happened while this was handled: KeyError: 'missing'" in text
    assert "POST /fails/{number:int}" in text
    assert "CORS" in text
    assert "Traceback (most recent call last)" in text
    own = [
        word
        for word in outline.words
        if "test_debug_page.py:" in word and " in " in word and "\n" not in word
    ]
    assert "in deep" in own[0]
    assert "in deep" in own[1]
    assert "fails" in own[2]
    marked = outline.words[outline.tags_at("b")]
    assert "raise ValueError" in marked
    assert "<Odd instance at " in text
    assert "&lt;script&gt;" in answer.text
    command = text[text.index("curl \\") :]
    for part in (
        "-X POST",
        "-H 'authorization: ***'",
        "x-shown: it",
        "--data-binary 'the <body>'",
        "token=***'",
    ):
        assert part in command
    for secret in ("'hunter2'", "k-123", "Bearer xyz", "t-456"):
        assert secret not in "".join(word for word in outline.words if "password, payload" not in word)
    opened = [attrs for tag, attrs in outline.tags if tag == "details" and "open" in attrs]
    assert len(opened) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_of_a_coroutine(serve: Any, log: Any, method: str) -> None:
    client = serve(make_app(), debug=True)
    answer = client.request(method, "/async", BROWSER)
    assert answer.status == 500
    if method == "GET":
        assert "RuntimeError: in a coroutine" in "".join(outline_of(answer).words)
    else:
        assert answer.body == b""


def test_a_404_names_the_nearest_routes(serve: Any) -> None:
    client = serve(make_app(), debug=True)
    answer = client.get("/order/7", BROWSER)
    assert answer.status == 404
    words = outline_of(answer).words
    near = [word for word in words if word.startswith(("GET /", "POST /")) and " " in word]
    assert near[0] == "GET /orders/{id:int}"
    assert "No route is like it." in outline_of(client.get("/%5b%5d%5b%5d", BROWSER)).words


def test_answers_that_are_meant_have_a_small_page(serve: Any) -> None:
    client = serve(make_app(), debug=True)
    answer = client.get("/customers/", BROWSER)
    assert answer.status == 308
    answer = client.request("DELETE", "/customers", BROWSER)
    assert answer.status == 405
    assert "DELETE is not among the methods" in "".join(outline_of(answer).words)
    answer = client.get("/refuses", BROWSER)
    assert answer.status == 503
    assert "<i>later</i>" in "".join(outline_of(answer).words)


@pytest.mark.parametrize("path", ["/async", "/no-such-path"])
def test_production_tells_nothing(serve: Any, log: Any, path: str) -> None:
    answer = serve(make_app(), env="production").get(path, BROWSER)
    text = "".join(outline_of(answer).words)
    assert "coroutine" not in text
    assert "customers" not in text
    assert "curl" not in text
    assert len(answer.text) < 2500


def test_a_page_that_cannot_be_made_is_a_small_one(
    serve: Any, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> str:
        raise LookupError("no page")

    monkeypatch.setattr("cello.debug_page.render_debug_page", broken)
    answer = serve(make_app(), debug=True).get("/async", BROWSER)
    assert answer.status == 500
    assert "RuntimeError: in a coroutine" in "".join(outline_of(answer).words)
    assert "no page" in log.text


def test_secrets_of_all_kinds_are_masked(serve: Any, log: Any) -> None:
    app = App()

    app.post("/login")(login)
    headers = [
        *BROWSER,
        ("Authorization", "Bearer second-hush"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Referer", "https://a.test/?token=third-hush"),
    ]
    client = serve(app, debug=True)
    target = "/login?password=fourth-hush)tail-hush&page=2"
    answer = client.request("POST", target, headers, b"user=ann&password=fifth-hush%27x")
    text = "".join(outline_of(answer).words)
    assert "hush" not in text
    for kept in ("page=2", "user=ann&password=***", "https://a.test/?token=***"):
        assert kept in text


def test_long_chains_cost_little(serve: Any, log: Any) -> None:
    app = App()

    @app.get("/")
    def chained(request: Any) -> Any:
        last: Exception | None = None
        for number in range(500):
            error = ValueError(number)
            error.__cause__ = last
            last = error
        assert last is not None
        raise last

    answer = serve(app, debug=True).get("/", BROWSER)
    assert answer.status == 500
    assert sum(word.startswith("It was caused by: ") for word in outline_of(answer).words) == 9
