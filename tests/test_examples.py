"""Every example as its user starts it: a process of its own that answers over a real socket."""

from __future__ import annotations

import ast
import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
        for missing in ("HTTP/2", "the cluster"):
            assert sum(missing in line for line in process.stderr.lines) == 1
        assert process.stop() == 0


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
