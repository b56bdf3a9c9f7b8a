"""A response as a value: status, header fields and a body.

Everything is checked and encoded where it is set, so that an error's traceback points at the line that made
it and the dispatch core meets only what HTTP can carry. Framing (Content-Length, chunks, HEAD) is not decided
here.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote

from .cookies import render_delete_cookie, render_set_cookie
from .errors import ResponseError
from .headers import HeadersInit, ResponseHeaders
from .json_codec import encode
from .problems import PROBLEM_JSON, problem

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"
XML = "application/xml"
OCTET_STREAM = "application/octet-stream"

BodyStream = Iterator[Any] | AsyncIterator[Any] | AsyncIterable[Any]

# RFC 3986 2.2, 2.3: the reserved and unreserved characters, and "%" for what is encoded already
_URI_CHARACTERS = ":/?#[]@!$&'()*+,;=-._~%"


class Response:
    """An answer that a handler returns or middleware changes.

    ``body`` may be bytes-like, str (sent as UTF-8), None for no content, a stream (an iterator, an async
    iterator or any async iterable of bytes or str), or else whatever JSON can hold. The content type follows
    from it, unless ``headers`` has a Content-Type; ``content_type`` goes before both. Raises ResponseError
    for a status outside 200 to 599 and for header fields that HTTP cannot carry, EncodeError for a body that
    JSON cannot hold.
    """

    __slots__ = ("_body", "_headers", "_status", "is_stream")

    is_stream: bool

    def __init__(
        self,
        body: Any = None,
        status: int = 200,
        headers: HeadersInit = None,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self._headers = ResponseHeaders(headers)
        if content_type is not None:
            self.headers["content-type"] = content_type
        self.body = body

    @property
    def status(self) -> int:
        """The status code, 200 to 599: the server alone sends 1xx."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
            raise ResponseError(f"a response's status is an integer from 200 to 599, got {status!r:.80}")
        self._status = int(status)  # an HTTPStatus becomes its number

    @property
    def headers(self) -> ResponseHeaders:
        """The header fields, to be changed in place.

        Setting replaces them all, but for a Content-Type where the new ones have none; it takes what the
        constructor takes.
        """
        return self._headers

    @headers.setter
    def headers(self, headers: HeadersInit) -> None:
        given = headers if isinstance(headers, ResponseHeaders) else ResponseHeaders(headers)
        if "content-type" in self._headers:
            given.setdefault("content-type", self._headers["content-type"])
        self._headers = given

    @property
    def body(self) -> Any:
        """The content: bytes, or the iterator itself when ``is_stream``.

        Setting takes what the constructor takes; a Content-Type that is set already stays.
        """
        return self._body

    @body.setter
    def body(self, body: Any) -> None:
        self._body, default_type = _prepare(body)
        self.is_stream = not isinstance(self._body, bytes)
        if default_type is not None:
            self._default_content_type(default_type)

    def _default_content_type(self, content_type: str) -> None:
        # The constants above need no check, so this goes past the one in ResponseHeaders.
        raw = self.headers.raw
        if not any(name == b"content-type" for name, _ in raw):
            raw.append((b"content-type", content_type.encode("ascii")))

    @classmethod
    def _of(cls, body: bytes, default_type: str, status: int, headers: HeadersInit) -> Self:
        response = cls(None, status, headers)
        response._body = body
        response._default_content_type(default_type)
        return response

    @classmethod
    def json(cls, data: Any, status: int = 200, headers: HeadersInit = None) -> Self:
        """Return data as JSON; a str becomes a JSON string. Raises EncodeError."""
        return cls._of(encode(data), JSON, status, headers)

    @classmethod
    def text(cls, text: str, status: int = 200, headers: HeadersInit = None) -> Self:
        """Return plain text in UTF-8."""
        return cls._of(_utf8("text", text), TEXT, status, headers)

    @classmethod
    def html(cls, html: str, status: int = 200, headers: HeadersInit = None) -> Self:
        """Return an HTML document in UTF-8."""
        return cls._of(_utf8("html", html), HTML, status, headers)

    @classmethod
    def xml(cls, xml: str | bytes, status: int = 200, headers: HeadersInit = None) -> Self:
        """Return an XML document.

        A str is sent in UTF-8, bytes are in whatever encoding they declare themselves.
        """
        return cls._of(xml if isinstance(xml, bytes) else _utf8("xml", xml), XML, status, headers)

    @classmethod
    def binary(
        cls,
        data: bytes | bytearray | memoryview,
        content_type: str = OCTET_STREAM,
        status: int = 200,
        headers: HeadersInit = None,
    ) -> Self:
        """Return octets as they are."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ResponseError(f"Response.binary takes bytes, got {type(data).__name__}")
        return cls(data, status, headers, _unless_default(content_type))

    @classmethod
    def stream(
        cls,
        iterator: Iterable[Any] | AsyncIterable[Any],
        content_type: str = OCTET_STREAM,
        status: int = 200,
        headers: HeadersInit = None,
    ) -> Self:
        """Return a body that is sent as it is made.

        ``iterator`` is an iterable or async iterable of bytes or str.
        """
        if isinstance(iterator, (str, bytes, bytearray, memoryview, dict)):
            raise ResponseError(
                f"Response.stream takes an iterator of bytes or str, got {type(iterator).__name__}"
            )
        if isinstance(iterator, Iterable):
            iterator = iter(iterator)
        elif not isinstance(iterator, AsyncIterable):
            raise ResponseError(
                f"Response.stream takes an iterator of bytes or str, got {type(iterator).__name__}"
            )
        return cls(iterator, status, headers, _unless_default(content_type))

    @classmethod
    def redirect(
        cls, url: str, status: int = 302, permanent: bool = False, headers: HeadersInit = None
    ) -> Self:
        """Send the client to another URL, absolute or relative.

        ``permanent=True`` means 301 (clients may turn POST into GET); ask for 307 or 308 by ``status`` to
        keep the method. Characters that a URI cannot hold are percent-encoded, an international host name
        too; "%" stays.
        """
        if permanent:
            if status not in (301, 302):
                raise ResponseError(f"permanent=True means status 301, got status={status!r:.80} as well")
            status = 301
        if status not in (300, 301, 302, 303, 305, 307, 308):
            raise ResponseError(
                f"a redirect's status is 300, 301, 302, 303, 305, 307 or 308, got {status!r:.80}"
            )
        response = cls(None, status, headers)
        response.headers["location"] = _uri("redirect", url)
        return response

    @classmethod
    def no_content(cls, headers: HeadersInit = None) -> Self:
        """Return 204, which has no body."""
        return cls(None, 204, headers)

    @classmethod
    def created(cls, data: Any = None, location: str | None = None, headers: HeadersInit = None) -> Self:
        """Return 201 with data as JSON, or without content when it is None.

        ``location`` is the URL of what was made (RFC 9110 15.3.2), encoded as in ``redirect``.
        """
        response = cls(None, 201, headers) if data is None else cls.json(data, 201, headers)
        if location is not None:
            response.headers["location"] = _uri("created", location)
        return response

    @classmethod
    def error(
        cls,
        status: int,
        detail: str | None = None,
        instance: str | None = None,
        headers: HeadersInit = None,
        **extra: Any,
    ) -> Self:
        """Return a problem (RFC 9457) as application/problem+json.

        ``detail`` is for the client, ``extra`` are members of its own (see ``cello.problems.problem``).
        """
        if not isinstance(status, int) or not 400 <= status <= 599:
            raise ResponseError(f"Response.error takes a status from 400 to 599, got {status!r:.80}")
        return cls._of(encode(problem(int(status), detail, instance, **extra)), PROBLEM_JSON, status, headers)

    def set_header(self, name: str, value: str | int) -> None:
        """Set a field, in place of all lines of that name."""
        self.headers[name] = value

    def append_header(self, name: str, value: str | int) -> None:
        """Add a field line beside those of the same name."""
        self.headers.append(name, value)

    def set_cookie(
        self,
        name: str,
        value: str,
        max_age: int | None = None,
        expires: datetime | float | str | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: str | None = "Lax",
    ) -> None:
        """Add a Set-Cookie line.

        ``cello.cookies.render_set_cookie`` explains the arguments and what is refused.
        """
        line = render_set_cookie(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
        self.headers.append("set-cookie", line)

    def delete_cookie(
        self,
        name: str,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: str | None = "Lax",
    ) -> None:
        """Add a Set-Cookie line that deletes a cookie.

        A browser wants to see path, domain and secure as it was set with.
        """
        line = render_delete_cookie(
            name, path=path, domain=domain, secure=secure, httponly=httponly, samesite=samesite
        )
        self.headers.append("set-cookie", line)

    def __repr__(self) -> str:
        content = "stream" if self.is_stream else f"{len(self._body)} bytes"
        return f"<Response {self._status} {self.headers.get('content-type', 'no content type')}, {content}>"


def _prepare(body: Any) -> tuple[Any, str | None]:
    """Return a body's octets or stream, and its default content type."""
    if body is None:
        return b"", None
    if isinstance(body, bytes):
        return body, OCTET_STREAM
    if isinstance(body, str):
        return _utf8("body", body), TEXT
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body), OCTET_STREAM
    if isinstance(body, (dict, list)):
        return encode(body), JSON
    if isinstance(body, (Iterator, AsyncIterable)):
        return body, OCTET_STREAM
    return encode(body), JSON


def _utf8(what: str, text: str) -> bytes:
    if not isinstance(text, str):
        raise ResponseError(f"Response: {what} is a str, got {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ResponseError(f"Response: {what} is not encodable as UTF-8: {exc}") from exc


def _unless_default(content_type: str) -> str | None:
    # The default gives way to a Content-Type among the headers; what the caller chose does not.
    return None if content_type == OCTET_STREAM else content_type


def _uri(what: str, url: str) -> str:
    """Turn an IRI into a URI (RFC 3987 3.1).

    Backslashes are encoded too, which browsers take for slashes: "/\\host" stays a path.
    """
    if not isinstance(url, str) or not url:
        raise ResponseError(f"Response.{what} takes a URL, got {url!r:.80}")
    if any(character in url for character in "\r\n\0"):
        raise ResponseError(f"Response.{what} takes a URL without CR, LF and NUL, got {url!r:.80}")
    try:
        return quote(url, safe=_URI_CHARACTERS)
    except UnicodeEncodeError as exc:
        raise ResponseError(
            f"Response.{what} takes a URL that is encodable as UTF-8, got {url!r:.80}"
        ) from exc
