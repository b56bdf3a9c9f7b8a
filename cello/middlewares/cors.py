"""Cross-origin resource sharing, as the Fetch standard has it (fetch.spec.whatwg.org, "HTTP extensions").

A browser lets a page of one origin read the answers of another only where those say so. ``Cors`` holds what
an application allows; it answers preflights, and gives the fields that other answers get. It knows requests
by ``raw_field`` alone, and touches no answer itself.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from .._speedups import escape, is_token
from ..checks import check_bool, check_int, refusal
from ..errors import ConfigError
from ..routing import is_async, place_of
from ..types import Fields

logger = logging.getLogger("cello")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_AGES = range(2**31)
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_REMEMBERED = 1024  # origins that a pattern allows; any number may
MOST_SHOWN = 200  # octets of what a client names, in a line of the log
MOST_TOLD = 100

Origin = str | re.Pattern[str] | Callable[[str], bool]

_OWNER = "enable_cors"
_ORIGIN_IN_WORDS = (
    'an origin such as "https://example.com" (scheme, host and a port that is not the default; no path, no '
    'slash at the end), "https://*.example.com", "null", "*", a compiled pattern or a function of the origin'
)
_HOST = re.compile(r"(\*\.)?([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_LIST_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


class Cors:
    """Which origins may read an application's answers, and what they may send.

    ``origins`` None, and ``"*"`` among them, allow every origin. ``methods`` None are METHODS;
    ``allow_headers`` None allows whatever fields a preflight asks for; ``max_age`` is the seconds that a
    browser keeps a preflight's answer. Raises ConfigError.
    """

    def __init__(
        self,
        origins: Origin | Iterable[Origin] | None = None,
        methods: Sequence[str] | None = None,
        allow_headers: Sequence[str] | None = None,
        expose_headers: Sequence[str] | None = None,
        *,
        allow_credentials: bool = False,
        max_age: int = 600,
        allow_private_network: bool = False,
    ) -> None:
        check_bool(_OWNER, "allow_credentials", allow_credentials)
        check_bool(_OWNER, "allow_private_network", allow_private_network)
        check_int(_OWNER, "max_age", max_age, MAX_AGES, " (seconds)")
        self._allow_credentials = allow_credentials
        self._allow_private_network = allow_private_network
        self._max_age = str(max_age).encode()
        self._exact: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        self._functions: list[Callable[[str], bool]] = []
        self._is_open = origins is None
        self._read_origins(() if origins is None else origins)
        # None is whatever a preflight asks for.
        listed = _tokens("methods", METHODS if methods is None else methods)
        self._methods = None if "*" in listed else {name.upper() for name in listed}
        fields = _tokens("allow_headers", ("*",) if allow_headers is None else allow_headers)
        self._allowed_fields = None if "*" in fields else {name.lower() for name in fields}
        exposed = _tokens("expose_headers", () if expose_headers is None else expose_headers)
        if allow_credentials and "*" in exposed:
            raise ConfigError(
                'enable_cors(expose_headers=["*"], allow_credentials=True): browsers take "*" for the name '
                "of a field where credentials are allowed; name the fields"
            )
        self.is_selective = not self._is_open or allow_credentials
        """Whether an answer depends on the Origin of its request."""
        shared = [(b"access-control-expose-headers", ", ".join(exposed).encode())] if exposed else []
        if allow_credentials:
            shared.append((b"access-control-allow-credentials", b"true"))
        self._shared: Fields = shared
        self.common: Fields = (
            [(b"vary", b"Origin")] if self.is_selective else [(b"access-control-allow-origin", b"*"), *shared]
        )
        """The fields of answers to requests without an Origin, and to all where every origin is allowed."""
        self._remembered: dict[bytes, Fields] = {}
        self._told_lines: set[str] = set()
        if self._is_open and allow_credentials:
            logger.warning(
                "enable_cors: every origin is allowed, with credentials: any page can act in the name of who "
                "visits it; list the origins that are trusted"
            )

    def _read_origins(self, given: Any) -> None:
        if isinstance(given, str | re.Pattern) or callable(given):
            given = [given]
        if not isinstance(given, Iterable):
            raise refusal(_OWNER, "origins", given, f"a list, each of {_ORIGIN_IN_WORDS}")
        for each in given:
            if isinstance(each, re.Pattern) and isinstance(each.pattern, str):
                self._patterns.append(each)
            elif callable(each) and not is_async(each):
                self._functions.append(each)
            elif not isinstance(each, str):
                way_out = "; a plain function, since answers cannot wait for it" if callable(each) else ""
                raise refusal(_OWNER, "origins", each, _ORIGIN_IN_WORDS + way_out)
            elif each == "*":
                self._is_open = True
            elif "*" in each:
                self._patterns.append(_pattern_of(each))
            else:
                self._exact.add(_checked_origin(each))

    def fields_for(self, origin: bytes) -> Fields:
        """Return the fields of an answer to a request from an origin, where answers depend on that."""
        fields = self._remembered.get(origin)
        if fields is None:
            fields = self.common
            if self.allows(origin):
                fields = [(b"access-control-allow-origin", origin), *self._shared, *self.common]
                if len(self._remembered) < MAX_REMEMBERED and not self._functions:
                    self._remembered[origin] = fields
        return fields

    def allows(self, origin: bytes) -> bool:
        """Tell whether a page of an origin may read answers."""
        text = origin.decode("latin-1")
        if self._is_open or text in self._exact:
            return True
        if any(pattern.fullmatch(text) for pattern in self._patterns):
            return True
        return any(self._ask(function, text) for function in self._functions)

    def _ask(self, function: Callable[[str], bool], origin: str) -> bool:
        try:
            answer: Any = function(origin)
        except BaseException as exc:
            shown = escape(origin.encode())
            logger.error("enable_cors: %s failed for the origin %s", place_of(function), shown, exc_info=exc)
            return False
        if answer is not True and answer is not False and answer is not None:  # a coroutine would be true
            if inspect.iscoroutine(answer):
                answer.close()
            logger.error(
                "enable_cors: %s must return True or False, not %s: nobody is let in",
                place_of(function),
                type(answer).__name__,
            )
        return answer is True

    def _told(self, origin: bytes) -> bytes:
        return origin if self.is_selective else b"*"

    def preflight(self, request: Any) -> Fields | None:
        """Return the fields of the answer to a preflight; None when the OPTIONS request is none.

        What is not allowed gets no fields, which is how a browser learns it, and a line in the log.
        """
        origin, method = request.raw_field(b"origin"), request.raw_field(b"access-control-request-method")
        if origin is None or method is None:
            return None
        wanted = request.raw_field(b"access-control-request-headers") or b""
        fields: Fields = [
            (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
        refused = self._fault(origin, method, wanted)
        if refused is not None:
            self._tell_once(
                f"CORS: a preflight from {escape(origin[:MOST_SHOWN])} for "
                f"{escape(request.raw_path[:MOST_SHOWN])} was refused: {refused}"
            )
            return fields
        fields.append((b"access-control-allow-origin", self._told(origin)))
        methods = method if self._methods is None else ", ".join(sorted(self._methods)).encode()
        fields.append((b"access-control-allow-methods", methods))
        allowed = wanted if self._allowed_fields is None else ", ".join(sorted(self._allowed_fields)).encode()
        if allowed:
            fields.append((b"access-control-allow-headers", allowed))
        if self._allow_credentials:
            fields.append((b"access-control-allow-credentials", b"true"))
        if (
            self._allow_private_network
            and request.raw_field(b"access-control-request-private-network") == b"true"
        ):
            fields.append((b"access-control-allow-private-network", b"true"))
        fields.append((b"access-control-max-age", self._max_age))
        return fields

    def _tell_once(self, line: str) -> None:
        """Log why a preflight was refused: once, and MOST_TOLD of them at most, since anybody can ask."""
        if line not in self._told_lines and len(self._told_lines) < MOST_TOLD:
            self._told_lines.add(line)
            logger.info(line)

    def _fault(self, origin: bytes, method: bytes, wanted: bytes) -> str | None:
        """Say what a preflight asks for that is not allowed, or None."""
        if not self.allows(origin):
            return "enable_cors(origins=...) does not list this origin"
        # Methods are case-sensitive, but a browser has made these six upper case itself.
        asked = escape(method[:MOST_SHOWN])
        if not is_token(method):
            return f"{asked} is no method"
        if self._methods is not None and method.decode("latin-1") not in self._methods:
            return f"enable_cors(methods=...) does not list {asked}"
        names = [
            name for name in _LIST_SEPARATOR.split(wanted.decode("latin-1").strip(" \t").lower()) if name
        ]
        for name in names:
            octets = name.encode("latin-1")
            if not is_token(octets):
                return f"{escape(octets[:MOST_SHOWN])} is no name of a field"
            if self._allowed_fields is not None and name not in self._allowed_fields:
                return f"enable_cors(allow_headers=...) does not list {escape(octets[:MOST_SHOWN])}"
        return None


def _tokens(name: str, values: Any) -> list[str]:
    """Check names of methods or fields."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        hint = f", such as [{values!r}]" if isinstance(values, str) else ""
        raise refusal(_OWNER, name, values, f"a list of names{hint}")
    listed = list(values)
    for each in listed:
        if not isinstance(each, str) or not each.isascii() or not is_token(each.encode()):
            raise refusal(_OWNER, name, values, f"names without spaces or commas, got {each!r} among them")
    return listed


def _checked_origin(text: str) -> str:
    """Return an origin as browsers write it (Fetch, "serializing an origin"): in lower case."""
    if text == "null":  # sandboxed frames and local files: every such page, so only for who asks for it
        return text
    lowered = text.lower()
    scheme, _, authority = lowered.partition("://")
    try:
        parts = urlsplit(lowered)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refusal(_OWNER, "origins", text, _ORIGIN_IN_WORDS) from None
    name = authority.removesuffix(f":{port}") if port is not None else authority
    is_whole = bool(_SCHEME.fullmatch(scheme) and host) and authority == parts.netloc
    if not is_whole or not _HOST.fullmatch(name) or not _is_as_browsers_write(name):
        raise refusal(_OWNER, "origins", text, _ORIGIN_IN_WORDS)
    if port is not None and port == DEFAULT_PORTS.get(scheme):
        raise refusal(_OWNER, "origins", text, f"no port here: browsers leave {scheme}'s own, {port}, out")
    return lowered


def _is_as_browsers_write(host: str) -> bool:
    """Tell whether an address is in the one form that browsers give it; a name always is."""
    is_v6 = host.startswith("[")
    if not is_v6 and not host.rpartition(".")[2].isdigit():
        return True
    try:
        return host.strip("[]") == str(ip_address(host.strip("[]")))
    except ValueError:
        return False


def _pattern_of(text: str) -> re.Pattern[str]:
    """Return the pattern of ``https://*.example.com``: any name below it, not itself."""
    checked = _checked_origin(text)
    scheme, _, authority = checked.partition("://")
    if not authority.startswith("*.") or "*" in authority[1:]:
        raise refusal(_OWNER, "origins", text, _ORIGIN_IN_WORDS)
    return re.compile(f"{re.escape(scheme)}://([a-z0-9_-]+\\.)+{re.escape(authority[2:])}")
