"""A page of another origin in a real browser: headless Chromium, where it is installed.

The page asks with credentials and a field of its own, so the browser sends a preflight first. What it could
read, it writes into its document, which Chromium prints.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cello import App, HTTPError, Response
from cello.testing import live_server

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"
)

PAGE = """<!doctype html><title>page</title><pre id="seen">nothing</pre><script>
async function ask(path, options) {
  try {
    const answer = await fetch("%(api)s" + path, options);
    const text = await answer.text();
    return path + " " + answer.status + " " + text.trim() + " " + answer.headers.get("x-shown") + " "
      + answer.headers.get("x-hidden");
  } catch (error) {
    return path + " " + error.name;
  }
}
const own = {credentials: "include", headers: {"X-Token": "t"}};
(async () => {
  const lines = [];
  lines.push(await ask("/login", {credentials: "include"}));
  lines.push(await ask("/data", own));
  lines.push(await ask("/data", {...own, method: "DELETE"}));
  lines.push(await ask("/data", {...own, headers: {"X-Other": "o"}}));
  lines.push(await ask("/missing", own));
  lines.push(await ask("/private", own));
  document.getElementById("seen").textContent = lines.join("\\n");
})();
</script>"""


def make_api(page_origin: str) -> tuple[App, list[str]]:
    api = App()
    seen: list[str] = []
    api.before_request(lambda request: seen.append(f"{request.method} {request.path}"))

    @api.get("/login")
    def login(request: Any) -> Response:
        response = Response("welcome")
        response.set_cookie("session", "s3")
        return response

    @api.get("/data")
    def data(request: Any) -> Response:
        if request.cookies.get("session") != "s3" or request.headers.get("x-token") != "t":
            raise HTTPError(401, "no session")
        return Response.json({"secret": 7}, headers={"X-Shown": "shown", "X-Hidden": "hidden"})

    @api.delete("/data")
    def delete(request: Any) -> str:
        return "deleted"

    @api.get("/private")
    def private(request: Any) -> Response:
        return Response("own", headers={"Access-Control-Allow-Origin": "https://elsewhere.test"})

    api.enable_cors(
        origins=[page_origin],
        methods=["GET"],
        allow_headers=["X-Token"],
        expose_headers=["X-Shown"],
        allow_credentials=True,
    )
    return api, seen


def test_a_page_of_another_origin_reads_what_it_may(tmp_path: Path) -> None:
    text: list[str] = []
    pages = App()
    pages.get("/")(lambda request: Response.html(text[0]))
    with live_server(pages) as page_server:
        api, seen = make_api(page_server.url)
        with live_server(api) as api_server:
            text.append(PAGE % {"api": api_server.url})
            printed = document_of(page_server.url, tmp_path)
    assert "/login 200 welcome null null" in printed
    assert '/data 200 {"secret":7} shown null' in printed
    assert printed.count("/data TypeError") == 2  # another method, another field
    assert "/missing 404" in printed
    assert "/private TypeError" in printed
    assert seen.count("GET /data") == 1  # the others ended at their preflight
    assert "DELETE /data" not in seen


def document_of(url: str, folder: Path) -> str:
    """Return a page's document as Chromium prints it when its scripts have run."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    text = done.stdout.replace("&quot;", '"')
    assert "<pre" in text, done.stderr
    return text
