"""Path templates: what `/users/{id:int}/files/{path:path}` means, and how a URL is built from one.

A template is a list of segments, the texts between slashes. A parameter fills its whole segment: `/a{b}` is
an error, so that matching can go segment by segment and never has to search inside one. Four kinds of
segment:

    users                       STATIC    equals the path's segment after percent-decoding
    {id:int}                    TYPED     a text that the type's converter takes; its value is the parameter
    {id}, {id:str}              PLAIN     any text but the empty one
    {path:path}, {*path}, *path WILDCARD  the rest, one character at least; stands last; `*` is `*path`

A last slash is an empty STATIC segment, so `/a` and `/a/` are two templates, and `/` is one empty segment.
Braces, `*`, `?`, `#`, `%`, `<` and white space as text are written percent-encoded, and so is a `:` that
would make a parameter elsewhere (`/:id`). An empty segment elsewhere (`/a//b`) is
refused: it comes from gluing a prefix to a path, and clients do not send it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from .errors import RouteError

Converter = Callable[[str], Any]

PCHAR = "!$&'()*+,;=:@"
"""What may stand in a path's segment besides letters, digits and `-._~`: RFC 3986 3.3, pchar."""

_is_float = re.compile(r"-?[0-9]+(\.[0-9]+)?").fullmatch
_is_uuid = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}").fullmatch
_is_name = re.compile(r"[^\W\d][\w-]*").fullmatch
_is_colon_parameter = re.compile(r":[^\W\d]\w*").fullmatch
_find_space = re.compile(r"[ \t-\r]").search
_find_bad_triple = re.compile(r"%(?![0-9A-Fa-f]{2})").search


class Kind(Enum):
    """What a segment of a template takes."""

    STATIC = "static"
    TYPED = "typed"
    PLAIN = "plain"
    WILDCARD = "wildcard"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a template.

    ``text`` is the decoded text of a STATIC segment, ``name`` the parameter's name of the others; ``type``
    is "int", "uuid" or "float" for TYPED, "str" for PLAIN, "path" for WILDCARD and empty for STATIC.
    """

    kind: Kind
    text: str = ""
    name: str = ""
    type: str = ""

    def __str__(self) -> str:
        """Spell the segment as in a template."""
        if self.kind is Kind.STATIC:
            return ("%3A" + self.text[1:] if _is_colon_parameter(self.text) else self.text).translate(
                _ESCAPES
            )
        return f"{{{self.name}}}" if self.kind is Kind.PLAIN else f"{{{self.name}:{self.type}}}"


_ESCAPES = {ord(char): quote(char, safe="") for char in "/{}*?#%< \t\n\v\f\r"}


def to_int(text: str) -> int:
    """Convert ASCII digits, at most 19, with an optional minus; raises ValueError for other texts."""
    # PERF: 254 ns, a regex takes 354 (CPython 3.11); this runs once per matched parameter.
    digits = text.removeprefix("-")
    if len(digits) > 19 or not digits.isdecimal() or not digits.isascii():
        raise ValueError("not an integer")
    return int(text)


def to_uuid(text: str) -> UUID:
    """Convert the 8-4-4-4-12 hexadecimal form (RFC 9562 4); raises ValueError for other texts."""
    if _is_uuid(text) is None:
        raise ValueError("not a UUID")
    return UUID(text)


def to_float(text: str) -> float:
    """Convert decimal digits with an optional fraction; raises ValueError for other texts.

    Exponents, nan and inf are not taken, nor are so many digits that the value would be infinite.
    """
    if _is_float(text) is None or math.isinf(value := float(text)):
        raise ValueError("not a decimal number")
    return value


CONVERTERS: dict[str, Converter] = {"int": to_int, "uuid": to_uuid, "float": to_float}
"""The converters of TYPED segments, by type, in their order of precedence."""

_TYPES = (*CONVERTERS, "str", "path")

_PARAMETERS = "parameters are written {id} or {id:int}"


def parse_template(template: str) -> list[Segment]:
    """Split a path template into its segments.

    Raises RouteError, naming the template and what is wrong with it.
    """
    if not isinstance(template, str) or not template.startswith("/"):
        hint = f"; did you mean {'/' + template!r}?" if isinstance(template, str) else ""
        raise RouteError(f"a route's path is a str that begins with '/', got {template!r}{hint}")
    for char, part in (
        ("?", "a query ('?') is no part of a route's path; a handler finds it in request.query"),
        ("#", "a fragment ('#') is no part of a route's path, and clients do not send it"),
    ):
        if char in template:
            raise RouteError(f"route {template!r}: {part}")
    texts = template[1:].split("/")
    if "" in texts[:-1]:
        raise RouteError(f"route {template!r}: there is an empty segment ('//')")
    try:
        segments = [_parse_segment(text) for text in texts]
        _check_together(segments)
    except ValueError as exc:
        raise RouteError(f"route {template!r}: {exc}") from None
    return segments


def _parse_segment(text: str) -> Segment:
    if text.startswith("*"):
        return Segment(Kind.WILDCARD, name=_checked_name(text[1:] or "path"), type="path")
    if text.startswith("{") and text.endswith("}"):
        return _parse_parameter(text[1:-1])
    if "{" in text or "}" in text:
        raise ValueError(_describe_brace(text))
    for is_foreign, char in ((_is_colon_parameter(text), ":"), ("<" in text, "<")):
        if is_foreign:
            raise ValueError(
                f"{_PARAMETERS}, got {text!r} (a literal {char!r} there is written {quote(char)})"
            )
    if _find_space(text):
        raise ValueError(f"{text!r} has white space in it (a space that clients send is written %20)")
    if "*" in text:
        raise ValueError(f"a wildcard fills its whole segment, got {text!r} (a literal '*' is written %2A)")
    return Segment(Kind.STATIC, text=_decoded(text))


def _describe_brace(text: str) -> str:
    if text.count("{") > text.count("}"):
        return f"the brace in {text!r} is not closed; {_PARAMETERS}"
    if text.count("{") < text.count("}"):
        return f"the brace in {text!r} was not opened; {_PARAMETERS}"
    return f"a parameter fills its whole segment, got {text!r} (literal braces are written %7B and %7D)"


def _parse_parameter(inside: str) -> Segment:
    if "{" in inside or "}" in inside:
        raise ValueError(f"a parameter fills its whole segment, got '{{{inside}}}'")
    if inside.startswith("*"):
        return Segment(Kind.WILDCARD, name=_checked_name(inside[1:]), type="path")
    name, colon, type_name = inside.partition(":")
    _checked_name(name)
    if not colon or type_name == "str":
        return Segment(Kind.PLAIN, name=name, type="str")
    if type_name == "path":
        return Segment(Kind.WILDCARD, name=name, type="path")
    if type_name not in CONVERTERS:
        is_swapped = name in _TYPES and _is_name(type_name) is not None
        hint = (
            f"; did you mean '{{{type_name}:{name}}}'?" if is_swapped else nearest(type_name.lower(), _TYPES)
        )
        known = ", ".join(_TYPES)
        raise ValueError(f"parameter {name!r} has the unknown type {type_name!r}; known: {known}{hint}")
    return Segment(Kind.TYPED, name=name, type=type_name)


def _checked_name(name: str) -> str:
    if not name:
        raise ValueError("a parameter has an empty name")
    if _is_name(name) is None:
        raise ValueError(f"{name!r} is no parameter name (letters, digits, '_' and '-', no digit first)")
    return name


def _decoded(text: str) -> str:
    if _find_bad_triple(text):
        raise ValueError(f"{text!r} has a '%' without two hexadecimal digits (a literal '%' is written %25)")
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()  # a lone surrogate is no text that a request could hold
    except UnicodeError:
        raise ValueError(f"{text!r} is not UTF-8") from None
    return decoded


def _check_together(segments: Sequence[Segment]) -> None:
    names: set[str] = set()
    for index, segment in enumerate(segments):
        if segment.kind is Kind.WILDCARD and index < len(segments) - 1:
            raise ValueError(f"the wildcard {segment.name!r} takes the rest of the path, so it stands last")
        if segment.name in names:
            raise ValueError(f"the parameter {segment.name!r} is there twice; give each a name of its own")
        if segment.name:
            names.add(segment.name)


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean 'x'?" for the known word closest to one, or nothing where none is close."""
    found = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def format_template(segments: Sequence[Segment]) -> str:
    """Spell a template in its one canonical form."""
    return "".join(f"/{segment}" for segment in segments)


def build_path(segments: Sequence[Segment], params: Mapping[str, Any]) -> str:
    """Build the percent-encoded path that matches a template with these parameters.

    A value is written as text (str, int, float or UUID), and that text is checked as a request's would be.
    "/" is encoded in plain parameters and kept in wildcards. Raises RouteError for a parameter that is
    missing, unknown or of the wrong type, and for "." and ".." (RFC 3986 5.2.4: clients resolve them,
    encoded or not, to another path).
    """
    where = format_template(segments)
    names = [segment.name for segment in segments if segment.name]
    if unknown := [name for name in params if name not in names]:
        takes = ", ".join(names) or "none"
        hint = nearest(unknown[0], names)
        raise RouteError(f"the path {where} has no parameter {unknown[0]!r}; its parameters: {takes}{hint}")
    if missing := [name for name in names if name not in params]:
        raise RouteError(f"the path {where} needs the parameter {missing[0]!r}")
    try:
        path = "".join("/" + _encoded(segment, params) for segment in segments)
    except ValueError as exc:
        raise RouteError(f"the path {where}: {exc}") from None
    # "//host" would name another server: RFC 3986 4.2.
    return "/%2F" + path[2:] if path.startswith("//") else path


def _encoded(segment: Segment, params: Mapping[str, Any]) -> str:
    if segment.kind is Kind.STATIC:
        return quote(segment.text, safe=PCHAR)
    value = params[segment.name]
    is_wildcard = segment.kind is Kind.WILDCARD
    try:
        text = _text_of(value)
        if segment.kind is Kind.TYPED:
            CONVERTERS[segment.type](text)
        encoded = quote(text, safe=PCHAR + "/" if is_wildcard else PCHAR)
    except ValueError:
        raise ValueError(f"the parameter {segment.name!r} takes {segment.type}, got {value!r}") from None
    if not text:
        raise ValueError(f"the parameter {segment.name!r} is empty")
    if not {".", ".."}.isdisjoint(text.split("/") if is_wildcard else (text,)):
        raise ValueError(f"the parameter {segment.name!r} has a dot segment, got {value!r}")
    return encoded


def _text_of(value: Any) -> str:
    """Return a value's text, as it stands in a path; raises ValueError for a type that has none."""
    if isinstance(value, str):
        return str.__str__(value)  # the value of a (str, Enum), whose own __str__ gives its name
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, float):
        return format(Decimal(float.__repr__(value)), "f")  # no exponent
    if isinstance(value, UUID):
        return str(value)
    raise ValueError("no text")
