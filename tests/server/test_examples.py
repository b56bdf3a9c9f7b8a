"""The examples, run as their first lines say, and asked as a newcomer would ask them."""

from __future__ import annotations

import gzip
import runpy
import ssl
from http.client import HTTPSConnection
from pathlib import Path

from tests.kit.process import PATIENCE_SECONDS, ROOT, running_script


def test_the_complete_example(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "ci" / "make-certificates.py"))["make_certificates"](
        tmp_path, ["localhost", "127.0.0.1"]
    )
    environment = {"TLS_CERT": str(tmp_path / "cert.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    source = (ROOT / "examples" / "production.py").read_text("utf-8")
    flags = ("--host", "127.0.0.1", "--port", "0")
    with running_script(tmp_path, source, *flags, environment=environment) as server:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        client = HTTPSConnection("localhost", server.port, timeout=PATIENCE_SECONDS, context=context)
        headers = {"Origin": "https://example.com", "Accept-Encoding": "gzip", "X-Request-ID": "first"}
        client.request("GET", "/", headers=headers)
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
        assert answer.headers["access-control-allow-origin"] == "https://example.com"
        assert answer.headers["x-request-id"] == "first"
        client.request("OPTIONS", "/", headers={**headers, "Access-Control-Request-Method": "GET"})
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "https://example.com"
        client.request("GET", "/" + "no-such-path" * 100, headers={**headers, "Accept": "application/json"})
        answer = client.getresponse()
        assert (answer.status, answer.headers["content-encoding"]) == (404, "gzip")
        assert b"no route matches" in gzip.decompress(answer.read())
        client.close()
        server.stdout.wait_for(r" GET / 200 \d+\.\dms 15B 127\.0\.0\.1$")
        server.stdout.wait_for(r" GET /no-such-path\S* 404 ")
        for missing in ("HTTP/2", "the cluster"):
            assert sum(missing in line for line in server.stderr.lines) == 1
        assert server.stop() == 0


def test_hello(tmp_path: Path) -> None:
    source = (ROOT / "examples" / "hello.py").read_text("utf-8")
    with running_script(tmp_path, source, "--port", "0") as server:
        assert server.port
        assert server.stop() == 0
