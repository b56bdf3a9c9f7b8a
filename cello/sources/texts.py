"""Reading settings from text, as command lines and variables have them.

A text becomes the value that run() would take, and is checked as that is. ``none`` stands for None, ``auto``
and its like for themselves. What is wrong is said without the setting's name, which the caller knows better:
it is a flag, a variable or a key.
"""

from __future__ import annotations

import re
from typing import Any

from ..checks import did_you_mean, in_words
from ..errors import ConfigError
from ..settings import Choice, Duration, Host, Password, Setting, Switch, Texts, Whole, listed

SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
# int() and float() alone take "1_000", " 80 ", "nan" and digits of other scripts.
_is_whole = re.compile(r"[0-9]{1,19}").fullmatch
_is_size = re.compile(r"([0-9]{1,19})([KMG]?)(?:I?B)?", re.IGNORECASE).fullmatch
_is_seconds = re.compile(r"[0-9]{1,19}(\.[0-9]{1,9})?").fullmatch


class BadText(Exception):
    """A text is no value of a setting; the message says what is expected, and what was got."""


def read_text(setting: Setting, text: str) -> Any:
    """Return a setting's value; raises BadText."""
    if setting.none is not None and text.lower() == "none":
        return None
    return checked(setting, _converted(setting, text), text)


def checked(setting: Setting, value: Any, given: object) -> Any:
    """Return a value that the setting takes; ``given`` is what it was read from. Raises BadText."""
    kind = setting.kind
    if isinstance(kind, Choice) and isinstance(value, str) and value not in kind.choices:
        raise bad(setting, listed(kind.choices, quote="'"), given, did_you_mean(value, kind.choices))
    if isinstance(kind, Host) and isinstance(value, str) and not kind.accepts(value):
        raise bad(setting, kind.in_words, given, kind.hint(value))
    try:
        setting.check("", value)
    except ConfigError as exc:
        expected, hint = _taken_apart(exc.message)
        raise bad(setting, expected, given, hint) from None
    return value


def _taken_apart(message: str) -> tuple[str, str]:
    """Return what a refusal expects, without None, which is written otherwise here, and its hint."""
    expected, semicolon, hint = message.rpartition(": expected ")[2].partition("; ")
    return expected.partition(", or None")[0], semicolon + hint


def bad(setting: Setting, expected: str, given: object, hint: str = "") -> BadText:
    """Return the error for a value, which is not shown where it may be a password."""
    if isinstance(setting.kind, Password):
        return BadText(f"expected {setting.kind.values} (the value is not shown)")
    return BadText(f"expected {expected}{_or_none(setting)}, got {given!r}{hint}")


def _or_none(setting: Setting) -> str:
    return ", or 'none'" if setting.none is not None else ""


def _converted(setting: Setting, text: str) -> Any:
    kind = setting.kind
    if isinstance(kind, Switch):
        return _switch(setting, text)
    if isinstance(kind, Whole):
        return _whole(setting, kind, text)
    if isinstance(kind, Duration):
        if _is_seconds(text) is None:
            raise bad(setting, f"a number of {kind.values}", text)
        return float(text) if "." in text else int(text)
    if isinstance(kind, Texts):
        return [each.strip() for each in text.split(",")]
    return text


def _switch(setting: Setting, text: str) -> bool:
    word = text.lower()
    if word not in (*_TRUE, *_FALSE):
        raise bad(setting, "true or false", text)
    return word in _TRUE


def _whole(setting: Setting, kind: Whole, text: str) -> int | str:
    if kind.word and text == kind.word:
        return text
    is_size = kind.unit == "bytes"
    found = _is_size(text) if is_size else _is_whole(text)
    if found is None:
        word = f", or {kind.word!r}" if kind.word else ""
        sizes = " of bytes, or a size such as 512K or 10MiB" if is_size else ""
        raise bad(setting, f"{in_words(kind.allowed)}{sizes}{word}", text)
    return int(found[1]) * SIZES[found[2].upper()] if is_size else int(text)
