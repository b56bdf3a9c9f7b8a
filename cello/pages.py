"""Error answers for browsers: one self-contained document, without scripts and without any other host.

In production a few words; in debug all that helps to find the mistake (debug_page.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the pages: should anything slip through the escaping, it cannot run."""

# Every pair of colours has a contrast of 7:1 and more (WCAG 2.2, 1.4.6), in both schemes.
STYLE = """\
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#4a515a;--line:#d5d9de;--box:#f3f5f7;
--mark:#ffe8c2;--bad:#9b1c1c;--link:#0b4a8f}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e8eaed;--soft:#b4bac2;--line:#3a4047;
--box:#1e2226;--mark:#4d3a12;--bad:#ff9d94;--link:#9cc9ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;
overflow-wrap:anywhere}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.1rem;margin:2rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}
p{margin:.4rem 0}.soft{color:var(--soft)}.bad{color:var(--bad)}
code,pre,td,th{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.875rem}
"""


def document(title: str, body: str, style: str = STYLE) -> str:
    """Return a whole document around a body that is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="robots" content="noindex">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n'
        f"</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def render_page(members: Mapping[str, Any]) -> str:
    """Render a problem (problems.py) as a small page."""
    title = f"{members['status']} {members['title']}"
    lines = [f"<h1>{escape(title)}</h1>\n"]
    if "detail" in members:
        lines.append(f"<p>{escape(str(members['detail']))}</p>\n")
    if "instance" in members:
        lines.append(f'<p class="soft"><code>{escape(str(members["instance"]))}</code></p>\n')
    return document(title, "".join(lines))
