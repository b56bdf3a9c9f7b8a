"""The request as handlers see it: raw octets, decoded when asked for.

An adapter fills the raw members (``method`` to ``client``) and the dispatch core the rest. Most handlers read
one or two things of a request, so nothing is parsed before it is asked for, and what was parsed is kept.
Everything here walks objects; the decoders for queries, cookies, forms and JSON live above and are handed in
by ``install_decoders``, since this package imports nothing above the lowest layer.
"""

from __future__ import annotations

import os
import re
from binascii import hexlify
from collections.abc import AsyncIterator, Callable
from math import inf
from os import urandom
from typing import Any

from ..errors import HTTPError
from .headers_py import Headers
from .heads_py import find_field, split_fields
from .octets_py import decode_component
from .query_py import MAX_QUERY_FIELDS, read_query

_decoders: dict[str, Callable[..., Any]] = {}

_is_request_id = re.compile(rb"[A-Za-z0-9._~+/=:@-]{1,128}").fullmatch
_new_ids: list[bytes] = []  # made in advance: a system call for each costs more than the rest of its answer
_IDS_AT_ONCE = 256


def _new_request_id() -> bytes:
    try:
        return _new_ids.pop()
    except IndexError:
        digits = hexlify(urandom(8 * _IDS_AT_ONCE))
        _new_ids.extend([digits[at : at + 16] for at in range(16, len(digits), 16)])
        return digits[:16]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_ids.clear)  # or two processes would give the same ones


def install_decoders(**decoders: Callable[..., Any]) -> None:
    """Hand in ``json``, ``cookies``, ``form`` and ``accepts``; see cello/request.py."""
    _decoders.update(decoders)


class Request:
    """One HTTP request.

    ``method`` is upper case; ``raw_path`` and ``raw_query`` are octets as they came; ``params`` are the
    values of the route's parameters, converted to their types; ``client`` is ``(address, port)`` or None;
    ``context`` is a dict of this request's own, for middleware to hand things to handlers.
    """

    __slots__ = (
        "_body",
        "_context",
        "_cookies",
        "_exchange",
        "_fields",
        "_fields_at",
        "_form",
        "_head",
        "_head_size",
        "_headers",
        "_json",
        "_params",
        "_path",
        "_query",
        "_request_id",
        "_started_at",
        "app",
        "authority",
        "client",
        "content_length",
        "expects_continue",
        "has_body",
        "http_version",
        "method",
        "raw_path",
        "raw_query",
        "route",
        "scheme",
    )

    method: str
    raw_path: bytes
    raw_query: bytes
    authority: bytes
    scheme: str
    http_version: str
    client: tuple[str, int] | None
    content_length: int | None
    has_body: bool
    expects_continue: bool
    app: Any
    route: Any
    _params: dict[str, Any] | None
    _exchange: Any
    _fields: list[tuple[bytes, bytes]] | None
    _fields_at: int
    _head: bytes
    _head_size: int
    _body: bytes | None
    _path: str | None
    _query: Any
    _headers: Any
    _cookies: dict[str, str] | None
    _form: Any
    _json: Any  # _decoders until the body was decoded: no decoder returns that
    _context: dict[str, Any] | None
    _request_id: bytes | None
    _started_at: float  # 0.0 before the handler is due

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.raw_path.decode('latin-1')}>"

    # The target and where it came from.

    @property
    def path(self) -> str:
        """The path, percent-decoded; ``raw_path`` has the octets."""
        if self._path is None:
            self._path = decode_component(self.raw_path)
        return self._path

    @property
    def params(self) -> dict[str, Any]:
        """The values of the route's parameters, by name."""
        if self._params is None:
            self._params = {}
        return self._params

    @property
    def query(self) -> Any:
        """The query's parameters: get, get_all, keys, items, []."""
        if self._query is None:
            try:
                self._query = read_query(self.raw_query, MAX_QUERY_FIELDS)
            except ValueError as exc:
                raise HTTPError(400, f"the query has more than {MAX_QUERY_FIELDS} fields") from exc
        return self._query

    @property
    def query_params(self) -> Any:
        """Another name of ``query``."""
        return self.query

    def get_query_param(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a query parameter, or the default."""
        found: str | None = self.query.get(name, default)
        return found

    @property
    def host(self) -> str:
        """The authority that the client asked for, with its port if it gave one."""
        return self.authority.decode("latin-1")

    @property
    def url(self) -> str:
        """The absolute URL of the request."""
        query = "?" + self.raw_query.decode("latin-1") if self.raw_query else ""
        return f"{self.scheme}://{self.host}{self.raw_path.decode('latin-1')}{query}"

    @property
    def client_ip(self) -> str | None:
        """The peer's IP address; empty on a unix domain socket, whose peers have none."""
        return self.client[0] if self.client else None

    @property
    def remote_addr(self) -> str | None:
        """Another name of ``client_ip``."""
        return self.client_ip

    def is_secure(self) -> bool:
        """Tell whether the request came over TLS."""
        return self.scheme == "https"

    # The header section.

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields as octets, names in lower case, in order."""
        if self._fields is None:
            self._fields = split_fields(self._head, self._fields_at, self._head_size)
        return self._fields

    @property
    def headers(self) -> Any:
        """The header fields, by name in any case."""
        if self._headers is None:
            self._headers = Headers(self.fields)
        return self._headers

    def raw_field(self, name: bytes) -> bytes | None:
        """Return the octets of a field under its lower-case name, several lines joined by ", ", or None.

        PERF: for what looks at one field of every request, as the built-in filters do; keeps nothing.
        """
        if self._fields is None:
            return find_field(self._head, self._fields_at, self._head_size, name)
        values = [field[1] for field in self._fields if field[0] == name]
        return b", ".join(values) if values else None

    def get_header(self, name: str, default: str | None = None) -> str | None:
        """Return a header field's value, or the default."""
        found: str | None = self.headers.get(name, default)
        return found

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent, by name."""
        if self._cookies is None:
            self._cookies = _decoders["cookies"](self.headers.get("cookie", ""))
        return self._cookies

    @property
    def content_type(self) -> str | None:
        """The Content-Type field as it came."""
        return self.get_header("content-type")

    def _media_type(self) -> str:
        """Return the media type without its parameters, in lower case."""
        return (self.content_type or "").partition(";")[0].strip().lower()

    def is_json(self) -> bool:
        """Tell whether the body says that it is JSON (RFC 8259, RFC 6839 for ``+json``)."""
        media_type = self._media_type()
        return media_type == "application/json" or media_type.endswith("+json")

    def is_form(self) -> bool:
        """Tell whether the body says that it is an urlencoded form."""
        return self._media_type() == "application/x-www-form-urlencoded"

    def is_multipart(self) -> bool:
        """Tell whether the body says that it is multipart."""
        return self._media_type().startswith("multipart/")

    def accepts(self, media_type: str) -> bool:
        """Tell whether the client takes answers of this media type (RFC 9110 12.5.1)."""
        accepted: bool = _decoders["accepts"](self.headers.get("accept"), media_type)
        return accepted

    # The body.

    def body(self) -> bytes:
        """Return the body's octets."""
        if self._body is None:
            raise RuntimeError(
                f"the body of {self!r} has not been read: its route has stream=True, "
                "so read it with `async for chunk in request.stream()`"
            )
        return self._body

    def text(self) -> str:
        """Return the body as text, in the charset of its Content-Type or UTF-8; a 400 where it is not."""
        charset = "utf-8"
        for part in (self.content_type or "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip('"') or charset
        try:
            return self.body().decode(charset)
        except (UnicodeError, LookupError) as exc:
            raise HTTPError(400, f"the request's body is not {charset} text") from exc

    def json(self) -> Any:
        """Return the body decoded from JSON, parsed once; a 400 where it is not JSON."""
        if self._json is _decoders:
            try:
                self._json = _decoders["json"](self.body())
            except ValueError as exc:
                raise HTTPError(400, f"the request's body is not valid JSON: {exc}") from exc
        return self._json

    def form(self) -> Any:
        """Return the fields of an urlencoded form; ``await request.form()`` works as well."""
        if self._form is None:
            if not self.is_form():
                got = self._media_type() or "no type"
                raise HTTPError(415, f"expected an application/x-www-form-urlencoded body, got {got}")
            self._form = _decoders["form"](self.body())
        return self._form

    def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it comes; whole in one piece where the route has no stream=True."""
        if self._exchange is not None and self._body is None:
            pieces: AsyncIterator[bytes] = self._exchange.body_pieces()
            return pieces
        return _one_piece(self.body())

    async def is_disconnected(self) -> bool:
        """Tell whether the client has left, or has ended its side of the connection."""
        return self._exchange is not None and bool(self._exchange.is_disconnected())

    # What belongs to this request.

    @property
    def deadline(self) -> float | None:
        """When the answer has to have begun, on the clock of time.monotonic and of the loop; None for never.

        ``async with asyncio.timeout_at(request.deadline)`` gives up before the client is told 504.
        """
        route = self.route
        if route is None or not self._started_at or route.call.timeout_seconds == inf:
            return None
        deadline: float = self._started_at + route.call.timeout_seconds
        return deadline

    @property
    def context(self) -> dict[str, Any]:
        """A dict of this request's own."""
        if self._context is None:
            self._context = {}
        return self._context

    @property
    def state(self) -> Any:
        """The application's state: ``app.state``."""
        return self.app.state

    @property
    def request_id(self) -> str:
        """An identifier of this request: the client's X-Request-ID, or 16 hexadecimal digits.

        The client's counts when it has 1 to 128 letters, digits and ``-._~+/=:@``; anything else could forge
        lines of a log, or fill it.
        """
        return self.request_id_octets().decode("ascii")

    def request_id_octets(self) -> bytes:
        """Return ``request_id`` as octets."""
        request_id = self._request_id
        if request_id is None:
            request_id = self.raw_field(b"x-request-id")
            if request_id is None or _is_request_id(request_id) is None:
                request_id = _new_request_id()
            self._request_id = request_id
        return request_id


def make_request(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    fields: list[tuple[bytes, bytes]] | None,
    head: bytes,
    fields_at: int,
    head_size: int,
    authority: bytes,
    scheme: str,
    http_version: str,
    client: tuple[str, int] | None,
) -> Request:
    """Make a request; the one way to make it.

    ``fields`` are the header fields, or None where they stand as lines in ``head[fields_at:head_size]``, from
    which they are taken when they are asked for.

    PERF: a function and not ``__init__``, which compiled would pack its arguments into a tuple first: 90 ns
    less.
    """
    request = Request.__new__(Request)
    request.method = method
    request.raw_path = raw_path
    request.raw_query = raw_query
    request._fields = fields
    request._head = head
    request._fields_at = fields_at
    request._head_size = head_size
    request.authority = authority
    request.scheme = scheme
    request.http_version = http_version
    request.client = client
    request.content_length = None
    request.has_body = False
    request.expects_continue = False
    request.app = None
    request.route = None
    request._params = None
    request._exchange = None
    request._body = b""
    request._path = None
    request._query = None
    request._headers = None
    request._cookies = None
    request._form = None
    request._json = _decoders
    request._context = None
    request._request_id = None
    request._started_at = 0.0
    return request


async def _one_piece(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
