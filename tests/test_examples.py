"""Every example as its user starts it: a process of its own that answers over a real socket."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import httpx
import pytest

from tests.kit.process import ROOT, Process

EXAMPLES = ROOT / "examples"
PATIENCE_SECONDS = 20.0


@contextmanager
def running_example(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run an example on a free port; it is gone when the block ends."""
    command = [sys.executable, str(EXAMPLES / name), "--port", "0", *arguments]
    process = Process(command, ROOT, environment or {})
    try:
        yield process
    finally:
        process.end()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem, key.pem and ca.pem, made as the example tells its reader to."""
    folder = tmp_path_factory.mktemp("tls") / "made"
    process = Process([sys.executable, str(ROOT / "ci" / "make-certificates.py"), str(folder)], ROOT, {})
    assert process.wait() == 0, process.stderr.text
    return folder


def test_no_example_goes_without_a_test() -> None:
    tested = set(re.findall(r'running_example\(\s*"(\w+\.py)"', Path(__file__).read_text("utf-8")))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_hello_serves_its_page_and_json() -> None:
    with running_example("hello.py") as process:
        url = process.urls[0]
        page = httpx.get(f"{url}/", timeout=PATIENCE_SECONDS)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        links = re.findall(r'href="(/[^"]*)"', page.text)
        assert links
        for link in links:
            assert httpx.get(url + link, timeout=PATIENCE_SECONDS).status_code == 200
        answer = httpx.get(f"{url}/hello/m%C3%BCller", timeout=PATIENCE_SECONDS)
        assert answer.json() == {"message": "Hello, müller!"}
        process.stdout.wait_for(r"GET /hello/m%C3%BCller 200 ")
        assert process.stop() == 0


WAVES = {"isbn": "9780156949606", "title": "The Waves", "author": "Virginia Woolf", "cents": 1250}
EMMA = {"isbn": "9780141439587", "title": "Emma", "author": "Jane Austen", "cents": 900}


@contextmanager
def running_bookshop(folder: Path, *arguments: str) -> Iterator[tuple[Process, httpx.Client]]:
    """Run the bookshop over a database in this folder, with a client that speaks to it."""
    environment = {"BOOKSHOP_DB": str(folder / "books.db")}
    with (
        running_example("bookshop.py", *arguments, environment=environment) as process,
        httpx.Client(base_url=process.urls[0], timeout=PATIENCE_SECONDS) as client,
    ):
        yield process, client


@pytest.fixture(scope="module")
def bookshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A bookshop that sells one book, which no test changes."""
    with running_bookshop(tmp_path_factory.mktemp("shop")) as (_, client):
        assert client.post("/books", json=WAVES).status_code == 201
        yield client


def test_a_book_is_created_read_changed_and_deleted(tmp_path: Path) -> None:
    with running_bookshop(tmp_path) as (process, client):
        created = client.post("/books", json=WAVES)
        assert (created.status_code, created.json()) == (201, {"id": 1, **WAVES})
        where = created.headers["location"]
        assert where == "/books/1"
        assert client.get(where).json() == {"id": 1, **WAVES}
        changed = client.patch(where, json={"cents": 1100})
        assert (changed.status_code, changed.json()) == (200, {"id": 1, **WAVES, "cents": 1100})
        replaced = client.put(where, json=EMMA)
        assert (replaced.status_code, replaced.json()) == (200, {"id": 1, **EMMA})
        assert client.get(where).json() == {"id": 1, **EMMA}
        assert client.post("/books", json=WAVES).headers["location"] == "/books/2"
        deleted = client.delete(where)
        assert (deleted.status_code, deleted.content) == (204, b"")
        for method in ("GET", "PATCH", "DELETE"):
            assert client.request(method, where, json={}).status_code == 404
        assert [book["id"] for book in client.get("/books").json()["books"]] == [2]
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "detail"),
    [
        ("POST", "/books", b"{", 400, "the request's body is not valid JSON"),
        ("POST", "/books", b"", 400, "the request's body is not valid JSON"),
        ("POST", "/books", [], 422, "Expected `object`, got `array`"),
        ("POST", "/books", {"isbn": WAVES["isbn"]}, 422, "Object missing required field `title`"),
        ("POST", "/books", {**EMMA, "cents": "900"}, 422, "Expected `int`, got `str` - at `$.cents`"),
        ("POST", "/books", {**EMMA, "cents": -1}, 422, "Expected `int` >= 0 - at `$.cents`"),
        (
            "POST",
            "/books",
            {**EMMA, "cents": 2**63},
            422,
            "Expected `int` <= 9223372036854775807 - at `$.cents`",
        ),
        ("POST", "/books", {**EMMA, "title": ""}, 422, "Expected `str` of length >= 1 - at `$.title`"),
        ("POST", "/books", {**EMMA, "isbn": "12"}, 422, "Expected `str` matching regex"),
        ("POST", "/books", {**EMMA, "id": 7}, 422, "Object contains unknown field `id`"),
        ("POST", "/books", WAVES, 409, "another book has this ISBN"),
        ("PUT", "/books/1", {"title": "Emma"}, 422, "Object missing required field `isbn`"),
        ("PATCH", "/books/1", {"title": None}, 422, "Expected `str`, got `null` - at `$.title`"),
        ("PUT", "/books/7", EMMA, 404, "there is no such book"),
        ("GET", "/books/7", None, 404, "there is no such book"),
        ("DELETE", "/books/7", None, 404, "there is no such book"),
        ("GET", f"/books/{2**63}", None, 404, "there is no such book"),
        ("GET", "/books/waves", None, 404, "no route matches this path"),
        ("POST", "/books/1", WAVES, 405, ""),
        ("GET", "/books?limit=0", None, 422, "Expected `int` >= 1 - at `$.limit`"),
        ("GET", "/books?limit=101", None, 422, "Expected `int` <= 100 - at `$.limit`"),
        ("GET", "/books?limit=many", None, 422, "Expected `int`, got `str` - at `$.limit`"),
        ("GET", "/books?writer=Woolf", None, 422, "Object contains unknown field `writer`"),
    ],
)
def test_what_the_bookshop_refuses(
    bookshop: httpx.Client, method: str, target: str, body: object, status: int, detail: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = bookshop.request(method, target, content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(detail)
    assert bookshop.get("/books").json() == {"books": [{"id": 1, **WAVES}], "next": None}


def test_no_text_becomes_sql(tmp_path: Path) -> None:
    text = "'); DROP TABLE books; --"
    with running_bookshop(tmp_path) as (_, client):
        assert client.post("/books", json={**EMMA, "title": text, "author": text}).status_code == 201
        assert client.get("/books", params={"author": text}).json()["books"][0]["title"] == text
        assert client.get("/books", params={"author": "' OR 1=1 --"}).json() == {"books": [], "next": None}


def test_pages_lead_to_each_other_and_keep_their_filter(tmp_path: Path) -> None:
    with running_bookshop(tmp_path) as (_, client):
        for number in range(7):
            book = {**(EMMA if number % 2 else WAVES), "isbn": f"978{number:010}"}
            assert client.post("/books", json=book).status_code == 201

        def pages(target: str | None) -> Iterator[list[int]]:
            while target is not None:
                page = client.get(target).json()
                yield [book["id"] for book in page["books"]]
                target = page["next"]

        assert list(pages("/books")) == [[1, 2, 3, 4, 5, 6, 7]]
        assert list(pages("/books?limit=3")) == [[1, 2, 3], [4, 5, 6], [7]]
        assert list(pages("/books?limit=7")) == [[1, 2, 3, 4, 5, 6, 7]]
        assert list(pages("/books?author=Virginia+Woolf&limit=2")) == [[1, 3], [5, 7]]
        assert list(pages("/books?author=Nobody")) == [[]]
        assert list(pages("/books?after=6")) == [[7]]


def test_what_many_writers_create_is_there_once_and_after_a_restart(tmp_path: Path) -> None:
    def create(client: httpx.Client, first: int) -> list[int]:
        made = []
        for number in range(first, first + 25):
            answer = client.post("/books", json={**EMMA, "isbn": f"978{number:010}"})
            assert answer.status_code == 201, answer.text
            made.append(answer.json()["id"])
            assert client.get(answer.headers["location"]).json()["isbn"] == f"978{number:010}"
        return made

    with running_bookshop(tmp_path, "--workers", "16") as (process, client), ThreadPoolExecutor(8) as threads:
        made = list(threads.map(partial(create, client), range(0, 200, 25)))
        assert sorted(chain.from_iterable(made)) == list(range(1, 201))
        rivals = threads.map(lambda _: client.post("/books", json=WAVES).status_code, range(8))
        assert sorted(rivals) == [201, *[409] * 7]
        assert process.stop() == 0
    with running_bookshop(tmp_path) as (process, client):
        first = client.get("/books?limit=100").json()
        second = client.get(first["next"]).json()
        third = client.get(second["next"]).json()
        books = first["books"] + second["books"] + third["books"]
        assert sorted(book["isbn"] for book in books) == sorted(
            [*(f"978{number:010}" for number in range(200)), WAVES["isbn"]]
        )
        assert client.post("/books", json=WAVES).status_code == 409
        assert process.stop() == 0


def test_a_bookshop_without_its_folder_says_so_and_ends(tmp_path: Path) -> None:
    environment = {"BOOKSHOP_DB": str(tmp_path / "nowhere" / "books.db")}
    with running_example("bookshop.py", environment=environment) as process:
        assert process.wait() == 1
        said = "in Database.migrate failed: OperationalError: unable to open database file (examples/"
        assert said in process.stderr.lines[-1]


def test_production_serves_as_the_complete_example_says(certificates: Path) -> None:
    environment = {"TLS_CERT": str(certificates / "cert.pem"), "TLS_KEY": str(certificates / "key.pem")}
    trust = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with running_example("production.py", "--host", "127.0.0.1", environment=environment) as process:
        assert process.urls[0].startswith("https://127.0.0.1:")
        with httpx.Client(verify=trust, timeout=PATIENCE_SECONDS) as client:
            for host in ("127.0.0.1", "localhost"):
                answer = client.get(f"https://{host}:{process.port}/", headers={"X-Request-ID": "first"})
                assert answer.json() == {"status": "ok"}
                assert (answer.headers["server"], answer.headers["x-request-id"]) == ("cello", "first")
                assert "access-control-allow-origin" not in answer.headers
            client.headers["origin"] = "https://example.com"
            url = f"https://localhost:{process.port}"
            assert client.get(url).headers["access-control-allow-origin"] == "https://example.com"
            answer = client.options(url, headers={"Access-Control-Request-Method": "GET"})
            assert (answer.status_code, answer.content) == (204, b"")
            assert answer.headers["access-control-allow-origin"] == "https://example.com"
            answer = client.get(f"{url}/{'no-such-path' * 100}", headers={"Accept-Encoding": "gzip"})
            assert (answer.status_code, answer.headers["content-encoding"]) == (404, "gzip")
            assert answer.json()["detail"] == "no route matches this path"
        process.stdout.wait_for(r" GET / 200 \d+\.\dms 15B 127\.0\.0\.1$")
        process.stdout.wait_for(r" GET /no-such-path\S* 404 ")
        assert sum("HTTP/2" in line for line in process.stderr.lines) == 1
        assert "4 x 8 workers" in process.stderr.text
        assert process.stop() == 0


QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text("utf-8")


def write_quickstart(folder: Path) -> None:
    """Write app.py and test_app.py as the quickstart tells its reader to."""
    first, *parts, test, last = re.findall(r"^```python\n(.*?)^```$", QUICKSTART, re.MULTILINE | re.DOTALL)
    above, end = first.split("if __name__", 1)
    assert end == ' == "__main__":\n    app.run()\n'
    (folder / "app.py").write_text("".join([above, *parts, last]), "utf-8")
    (folder / "test_app.py").write_text(test, "utf-8")


def make_certificate(folder: Path) -> Path:
    """Make a certificate as the quickstart tells its reader to; returns what a client has to trust.

    Where there is no openssl the clone's own script has to do.
    """
    (command,) = re.findall(r"^openssl (?:.*\\\n)*.*$", QUICKSTART, re.MULTILINE)
    if shutil.which("openssl") is None:
        run_in(folder, sys.executable, str(ROOT / "ci" / "make-certificates.py"), ".")
        return folder / "ca.pem"
    run_in(folder, "sh", "-c", command)
    return folder / "cert.pem"


def run_in(folder: Path, *command: str) -> str:
    """Run a command to its successful end; returns what it wrote."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_quickstart_leads_to_a_tested_application_over_https(tmp_path: Path) -> None:
    write_quickstart(tmp_path)
    assert "1 passed" in run_in(tmp_path, sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    trust = ssl.create_default_context(cafile=str(make_certificate(tmp_path)))
    process = Process([sys.executable, "app.py", "--port", "0"], tmp_path, {})
    try:
        assert process.urls[0].startswith("https://127.0.0.1:")
        answer = httpx.get(f"https://localhost:{process.port}/", verify=trust, timeout=PATIENCE_SECONDS)
        assert answer.json() == {"status": "ok"}
        assert re.fullmatch(r"app;dur=\d+\.\d", answer.headers["server-timing"])
        process.stdout.wait_for(r" GET / 200 ")
        assert process.stop() == 0
    finally:
        process.end()


def test_production_without_its_certificate_says_which_file_is_missing(tmp_path: Path) -> None:
    environment = {"TLS_CERT": str(tmp_path / "nowhere.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    with running_example("production.py", "--host", "127.0.0.1", environment=environment) as process:
        assert process.wait() == 1
        told = f"cello: TlsConfig(cert_path='{tmp_path / 'nowhere.pem'}'): no such file"
        assert process.stderr.lines[-1] == told


def test_production_is_the_readmes_example_with_paths_of_its_own() -> None:
    def runs(source: str) -> list[str]:
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        found = [call for call in calls if ast.unparse(call.func) == "app.run"]
        return [ast.unparse(word) for call in found for word in call.keywords if word.arg != "tls"]

    readme = (ROOT / "README.md").read_text("utf-8")
    snippet = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    assert runs(snippet)
    assert runs((EXAMPLES / "production.py").read_text("utf-8")) == runs(snippet)
