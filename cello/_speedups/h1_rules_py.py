"""The rules of an HTTP/1.1 head that httptools does not check.

httptools reports a head; these functions decide whether Cello takes it. Each returns what it found, or a
``Fault``: the status to answer with and the words for the client. Nothing here keeps state.

    request-line   = method SP request-target SP HTTP-version      RFC 9112 3
    request-target = origin-form / absolute-form / authority-form / asterisk-form      RFC 9112 3.2
"""

from __future__ import annotations

from typing import Any

from .octets_py import is_authority, is_token

# The methods that llhttp takes in an HTTP message; another valid token is answered 501 (RFC 9110 15.6.2).
METHODS: dict[bytes, str] = {
    name.encode(): name
    for name in (  # noqa: SIM905 - a list would take 35 lines
        "GET POST PUT DELETE PATCH HEAD OPTIONS CONNECT TRACE ACL BIND CHECKOUT COPY LINK LOCK M-SEARCH "
        "MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY PROPFIND PROPPATCH PURGE QUERY REBIND REPORT SEARCH "
        "SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
    ).split()
}

CODINGS = frozenset((b"chunked", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"))
MAX_BODY_LENGTH = 2**63 - 1


class Fault:
    """Why a message is refused: a status and its detail."""

    __slots__ = ("detail", "status")

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail


def fault_of_line(line: bytes) -> Fault:
    """Say what is wrong with a request line that is not ``method SP target SP HTTP/1.0 or 1.1``."""
    parts = line.split(b" ")
    if len(parts) != 3 or not parts[1]:
        return Fault(400, "the request line is not: method, one space, target, one space, HTTP/1.1")
    if not is_token(parts[0]):
        return Fault(400, "the method is not a token")
    if b"#" in parts[1]:
        return Fault(400, "the request target has a fragment")
    version = parts[2]
    is_http = len(version) == 8 and version[:5] == b"HTTP/" and version[6:7] == b"."
    if is_http and version[5:6].isdigit() and version[7:8].isdigit():
        if version in (b"HTTP/1.1", b"HTTP/1.0"):
            return Fault(501, "the method is not known to this server")
        return Fault(505, "this server speaks HTTP/1.1 and HTTP/1.0 here")  # RFC 9110 15.6.6
    return Fault(400, "the protocol is not HTTP/1.1 or HTTP/1.0")


def absolute_form(target: bytes) -> Any:
    """Split an absolute-form target into ``(authority, path and query)``: RFC 9112 3.2.2."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return Fault(400, "the request target is neither a path nor an http or https URL")
    end = len(rest)
    for mark in (b"/", b"?"):
        at = rest.find(mark)
        if 0 <= at < end:
            end = at
    authority = rest[:end]
    if not is_authority(authority):  # RFC 9110 4.2.1: never empty; 4.2.4: no userinfo
        return Fault(400, "the authority of the request target is not valid")
    path = rest[end:]
    return (authority, path if path[:1] == b"/" else b"/" + path)


def check_host(hosts: int, host: bytes | None, is_http_11: bool) -> Fault | None:
    """Check the Host field: exactly one, valid, in HTTP/1.1 (RFC 9112 3.2)."""
    if hosts > 1:
        return Fault(400, "the Host field is repeated")
    if host is None:
        return Fault(400, "the Host field is missing") if is_http_11 else None
    if not is_authority(host):
        return Fault(400, "the Host field is not a valid authority")
    return None


def check_transfer_encoding(value: bytes, is_http_11: bool) -> Fault | None:
    """Check Transfer-Encoding: only ``chunked``, and only in HTTP/1.1 (RFC 9112 6.1, 6.3)."""
    if not is_http_11:
        return Fault(400, "Transfer-Encoding in an HTTP/1.0 message")
    codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
    if codings == [b"chunked"]:
        return None
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1 or b"" in codings:
        return Fault(400, "Transfer-Encoding does not end in exactly one chunked")
    return Fault(501, "a transfer coding other than chunked is not supported")


def check_content_length(value: bytes) -> Any:
    """Read Content-Length: digits alone, at most 2**63 - 1 (RFC 9110 8.6)."""
    if value.isdigit() and len(value) <= 64:
        length = int(value)
        if length <= MAX_BODY_LENGTH:
            return length
    return Fault(400, "Content-Length is not a number of octets")


def wants_keep_alive(connection: bytes | None, is_http_11: bool) -> bool:
    """Tell whether the client wants the connection kept: ``close`` wins over all else (RFC 9112 9.3)."""
    if connection is None:
        return is_http_11
    options = [option.strip(b" \t") for option in connection.lower().split(b",")]
    if b"close" in options:
        return False
    return is_http_11 or b"keep-alive" in options


def is_tunnel_target(target: bytes) -> bool:
    """Tell whether a target is in authority-form, a host and a port (RFC 9112 3.2.3)."""
    return b":" in target and not target.endswith(b":") and is_authority(target)
