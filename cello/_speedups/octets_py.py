"""Octets checked and decoded by the grammars of the RFCs: tokens, field values, authorities, paths, forms.

Written twice: octets_c.pyx decides the same with C tables. Each function reads bytes as they came from the
wire, changes nothing and keeps no state; anything but bytes is a TypeError.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import parse_qsl, unquote_to_bytes

_ALPHANUMERIC = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# RFC 9110 5.6.2: tchar.
_TOKEN = b"!#$%&'*+-.^_`|~" + _ALPHANUMERIC
# RFC 9110 5.5: field-vchar, SP and HTAB; 0x80-0xff is obs-text.
_FIELD_VALUE = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
# Visible ASCII but "#". RFC 3986 3.3 allows less; what browsers send bare, such as "|" and "^", may pass.
_TARGET_PATH = bytes(octet for octet in range(0x21, 0x7F) if octet != 0x23)

# RFC 3986 2.1, 2.2, 2.3: a percent triple; unreserved / sub-delims, here without the dot that parts labels.
_TRIPLE = re.compile(rb"%[0-9A-Fa-f]{2}")
_BROKEN_TRIPLE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LABEL = rb"[A-Za-z0-9\-_~!$&'()*+,;=]+"
_NAME_AND_PORT = re.compile(rb"%b(?:\.%b)*\.?(?::([0-9]*))?" % (_LABEL, _LABEL))
# RFC 3986 3.2.2.
_IP_FUTURE = re.compile(rb"[Vv][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+")
_IPV6_OCTETS = b"0123456789ABCDEFabcdef:."


def is_token(value: bytes) -> bool:
    """Tell whether value is a token, such as a method or a field name (RFC 9110 5.6.2)."""
    _require_bytes(value)
    return value != b"" and not value.translate(None, _TOKEN)


def is_field_value(value: bytes) -> bool:
    """Tell whether value has only octets that a field value may have.

    HTAB, SP, visible ASCII and obs-text pass (RFC 9110 5.5), at the ends too; so does the empty value.
    """
    _require_bytes(value)
    return not value.translate(None, _FIELD_VALUE)


def is_authority(value: bytes) -> bool:
    """Tell whether value is what a Host field may say: uri-host [ ":" port ].

    RFC 9110 7.2 and RFC 3986 3.2.2. Stricter than the grammar in three points: a host is never empty
    (RFC 9110 4.2.1), no label but the root's is empty, and a port is at most 65535.
    """
    _require_bytes(value)
    if value[:1] == b"[":
        return _is_literal_and_port(value)
    # A triple counts as a letter; "%" is in no label, so a broken one fails the match.
    match = _NAME_AND_PORT.fullmatch(_TRIPLE.sub(b"x", value) if b"%" in value else value)
    return match is not None and _is_port(match[1] or b"")


def is_target_path(path: bytes) -> bool:
    """Tell whether path can be the path of a request target, as text.

    Visible ASCII without "#", whole percent triples, and behind them UTF-8 without NUL (RFC 3986 2.1, 3.3;
    RFC 3629 3). The empty path passes.
    """
    _require_bytes(path)
    if path.translate(None, _TARGET_PATH):
        return False
    if b"%" not in path:
        return True
    try:
        return "\0" not in decode_component(path)
    except ValueError:
        return False


def decode_component(raw: bytes) -> str:
    """Decode the percent triples of a path segment, then its UTF-8.

    "+" stays "+". Raises ValueError for a broken triple and for octets that are not UTF-8; NUL passes, since
    `is_target_path` has refused it.
    """
    _require_bytes(raw)
    if _BROKEN_TRIPLE.search(raw):
        raise ValueError(f"broken percent triple in {repr(raw)[:80]}")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ValueError(f"not UTF-8 when percent-decoded: {repr(raw)[:80]}") from None


def split_pairs(raw: bytes, max_pairs: int) -> list[tuple[str, str]]:
    """Parse application/x-www-form-urlencoded into (name, value) pairs (WHATWG URL 5.1).

    Only "&" parts pairs, and empty ones are left out; a name without "=" has an empty value, "+" is a space.
    Octets that are not UTF-8 become U+FFFD and a broken percent triple stays as it is. Stricter than the
    standard in one point: bare octets and percent triples never make one character together, so a bare 0xC3
    before "%A9" is two U+FFFD. Raises ValueError for more than max_pairs, the empty ones counted.
    """
    _require_bytes(raw)
    if raw and raw.count(b"&") >= max_pairs:
        raise ValueError(f"more than {max_pairs} pairs")
    text = raw.decode("utf-8", "replace")
    if 37 not in raw and 43 not in raw:  # "%", "+"
        # PERF: a quarter of what parse_qsl takes.
        pairs = []
        for pair in text.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                pairs.append((name, value))
        return pairs
    return parse_qsl(text, keep_blank_values=True, encoding="utf-8", errors="replace")


def _require_bytes(value: object) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"expected bytes, got {type(value).__name__}")


def _is_port(digits: bytes) -> bool:
    """RFC 3986 3.2.3: *DIGIT, so an empty port and leading zeros are allowed."""
    significant = digits.lstrip(b"0")
    return not significant or (significant.isdigit() and len(significant) <= 5 and int(significant) <= 65535)


def _is_literal_and_port(value: bytes) -> bool:
    literal, bracket, rest = value[1:].partition(b"]")
    if not bracket or not _is_ip_literal(literal):
        return False
    return not rest or (rest[:1] == b":" and _is_port(rest[1:]))


def _is_ip_literal(literal: bytes) -> bool:
    """RFC 3986 3.2.2: IPv6address / IPvFuture, without the zone identifiers of RFC 6874."""
    if literal.translate(None, _IPV6_OCTETS):
        return _IP_FUTURE.fullmatch(literal) is not None
    try:
        IPv6Address(literal.decode())
    except AddressValueError:
        return False
    return True
