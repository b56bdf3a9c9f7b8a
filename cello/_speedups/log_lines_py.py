"""The request log's lines in their two quick formats; the pure twin of log_lines_c.

What a client sent is escaped: visible ASCII but the backslash stays, any other octet is ``\\xNN``, so that
no line can be forged and no terminal steered.
"""

from __future__ import annotations

import re
from math import floor
from time import gmtime, localtime, strftime
from typing import Any

MAX_TARGET_BYTES = 2048

_find_unsafe = re.compile(rb"[^!-\[\]-~]").search  # outside of visible ASCII, or a backslash
_JSON_ESCAPES = {number: f"\\u{number:04x}" for number in range(0x20)} | {0x22: '\\"', 0x5C: "\\\\"}
_COLOURS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}
_PLAIN = "\x1b[0m"


def escape(octets: bytes) -> str:
    """Render octets of a client: at most 2,048, what is not visible ASCII as ``\\xNN``."""
    if len(octets) > MAX_TARGET_BYTES:
        octets = octets[:MAX_TARGET_BYTES]
    if _find_unsafe(octets) is None:
        return octets.decode("ascii")
    return "".join(
        chr(octet) if 0x20 < octet < 0x7F and octet != 0x5C else f"\\x{octet:02x}" for octet in octets
    )


class LogLines:
    """Lines that are rendered as answers come, until they are taken.

    ``is_json``: objects, with ``worker`` as a member of each; otherwise lines for people, with the status in
    colour where ``is_coloured``. ``wall_offset`` is added to the time of an answer to get that of day.
    """

    __slots__ = ("_is_coloured", "_is_json", "_lines", "_second", "_stamp", "_worker", "wall_offset")

    def __init__(self, is_json: bool, is_coloured: bool, worker: int) -> None:
        self._is_json = is_json
        self._is_coloured = is_coloured
        self._worker = worker
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self.wall_offset = 0.0

    def add(
        self,
        at: float,
        seconds: float,
        client: str,
        method: str,
        target: bytes,
        status: int,
        size: int,
        route: Any,
        version: str,
        request_id: bytes,
    ) -> None:
        """Render an answer: its end, the seconds it took, and what request_log_py says of the rest."""
        wall = at + self.wall_offset
        now = floor(wall)
        if now != self._second:
            self._second = now
            self._stamp = (
                strftime("%Y-%m-%dT%H:%M:%S", gmtime(now))
                if self._is_json
                else strftime("%Y-%m-%d %H:%M:%S", localtime(now))
            )
        if not self._is_json:
            shown = f"{_COLOURS.get(status // 100, '')}{status}{_PLAIN}" if self._is_coloured else str(status)
            tenths = int(seconds * 10000.0 + 0.5)
            self._lines.append(
                f"{self._stamp} {method} {escape(target)} {shown} "
                f"{tenths // 10}.{tenths % 10}ms {size}B {client}\n"
            )
            return
        path, mark, query = escape(target).partition("?")
        micros = int(seconds * 1000000.0 + 0.5)
        self._lines.append(
            f'{{"time":"{self._stamp}.{int((wall - now) * 1000.0):03d}+00:00",'
            f'"level":"{"error" if status >= 500 else "info"}",'
            f'"client":{_quoted(client)},"method":{_quoted(method)},"path":{_quoted(path)},'
            + (f'"query":{_quoted(query)},' if mark else "")
            + f'"route":{_quoted(route.template) if route is not None else "null"},'
            f'"status":{status},"ms":{micros // 1000}.{micros % 1000:03d},"bytes":{size},'
            f'"protocol":"HTTP/{version}","request_id":"{escape(request_id)}","worker":{self._worker}}}\n'
        )

    def take(self) -> bytes:
        """Return the lines, and begin anew."""
        lines, self._lines = self._lines, []
        return "".join(lines).encode()


def _quoted(text: str) -> str:
    return f'"{text.translate(_JSON_ESCAPES)}"'
