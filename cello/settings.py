"""What the fields of a config class may be and what they mean: one description that all readers share.

A field carries its description as dataclass metadata, beside an annotation and a default that stand where
every type checker looks for them. Validation, the flags of the command line with their --help, and the tables
of docs/configuration.md are made from it, so that none of them can tell another range than the one that
holds. What a value may be is a ``Kind``, which checks a value and has words for what it checks.

Meanings are plain text without markup and without a full stop, since a terminal shows them as well as a page.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import os
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from .checks import check_bool, check_int, check_seconds, did_you_mean, refusal
from .errors import ConfigError

_IDS = range(2**32 - 1)  # (uid_t) -1 stands for nobody at all
_PASSWORD_BYTES = 1024  # OpenSSL's PEM_BUFSIZE


class Kind(Protocol):
    """What a value may be."""

    @property
    def values(self) -> str:
        """The values and their unit in few words; of None the setting itself tells."""

    def check(self, owner: str, name: str, value: object) -> None:
        """Check a value of the parameter ``name`` of ``owner``; raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a config class.

    ``default`` is ``dataclasses.MISSING`` where a value is required; ``none`` says what None means, and is
    None where None is no value.
    """

    name: str
    default: Any
    meaning: str
    kind: Kind
    none: str | None

    def check(self, owner: str, value: object) -> None:
        """Check a value; raises ConfigError."""
        if value is not None or self.none is None:
            self.kind.check(owner, self.name, value)


def described(meaning: str, kind: Kind, none: str | None = None) -> dict[str, Any]:
    """Return a field's metadata: its meaning, its kind, and what None means where it may be None."""
    return {"meaning": meaning, "kind": kind, "none": none}


def settings_of(config: type) -> tuple[Setting, ...]:
    """Return the settings of a config class, in the order of its fields.

    A field without a description, as a subclass may add one, is no setting.
    """
    fields = [each for each in dataclasses.fields(config) if "kind" in each.metadata]
    return tuple(Setting(each.name, each.default, **each.metadata) for each in fields)


def check_settings(owner: str, config: Any) -> None:
    """Check every field of a config object; ``owner`` is for the message. Raises ConfigError."""
    for setting in settings_of(type(config)):
        setting.check(owner, getattr(config, setting.name))


@dataclass(frozen=True, slots=True)
class Switch:
    """True or False."""

    @property
    def values(self) -> str:
        return "True or False"

    def check(self, owner: str, name: str, value: object) -> None:
        check_bool(owner, name, value)


@dataclass(frozen=True, slots=True)
class Whole:
    """An int in a range, or the one word that stands for a number found out later."""

    allowed: range
    unit: str = ""
    word: str = ""

    @property
    def values(self) -> str:
        low, high = self.allowed[0], self.allowed[-1]
        numbers = f"{low} to {_short(high)} {self.unit}".rstrip()
        return f'{numbers}, or "{self.word}"' if self.word else numbers

    def check(self, owner: str, name: str, value: object) -> None:
        if self.word and value == self.word:
            return
        unit = f" ({self.unit})" if self.unit else ""
        check_int(owner, name, value, self.allowed, unit + (f", or {self.word!r}" if self.word else ""))


def _short(number: int) -> str:
    """Render 2147483647 as 2^31 - 1, which is what it means."""
    is_mask = number >= 2**24 - 1 and number & (number + 1) == 0
    return f"2^{number.bit_length()} - 1" if is_mask else str(number)


@dataclass(frozen=True, slots=True)
class Duration:
    """A time in seconds, whole or not; ``way_out`` ends the message of a refusal."""

    way_out: str = ""
    or_zero: bool = False
    unit: ClassVar[str] = "seconds"

    @property
    def values(self) -> str:
        return f"{self.unit}, 0 or more" if self.or_zero else f"{self.unit} above 0"

    def check(self, owner: str, name: str, value: object) -> None:
        if self.or_zero and value == 0 and not isinstance(value, bool):
            return
        check_seconds(owner, name, value, self.way_out)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    choices: tuple[str, ...]

    @property
    def values(self) -> str:
        return listed(self.choices, '"')

    def check(self, owner: str, name: str, value: object) -> None:
        if isinstance(value, str) and value in self.choices:
            return
        hint = did_you_mean(value, self.choices) if isinstance(value, str) else " (str)"
        raise refusal(owner, name, value, listed(self.choices, "'") + hint)


def listed(choices: tuple[str, ...], quote: str = "") -> str:
    """List words as a sentence does."""
    *others, last = (f"{quote}{choice}{quote}" for choice in choices)
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True, slots=True)
class RequestLog(Choice):
    """A format of the request log by its name, or a function or handler in its place."""

    @property
    def values(self) -> str:
        names = ", ".join(f'"{choice}"' for choice in self.choices)
        return f"{names}, a function of a LogEntry, or a logging.Handler"

    def check(self, owner: str, name: str, value: object) -> None:
        is_function = callable(value) and not isinstance(value, type | logging.Handler)
        is_plain = is_function and not inspect.iscoroutinefunction(value)
        is_name = isinstance(value, str) and value in self.choices
        if is_name or is_plain or isinstance(value, logging.Handler):
            return
        hint = did_you_mean(value, self.choices) if isinstance(value, str) else ""
        others = "a function of a LogEntry that returns a line, or a logging.Handler"
        names = listed(self.choices, "'")
        raise refusal(owner, name, value, f"{names}, {others}{hint}")


@dataclass(frozen=True, slots=True)
class Host:
    """An address or a name to listen on."""

    in_words: ClassVar[str] = "an IP address or a host name, without spaces, scheme, port or path (str)"

    @property
    def values(self) -> str:
        return "IP address or host name"

    def check(self, owner: str, name: str, value: object) -> None:
        if not isinstance(value, str) or not self.accepts(value):
            raise refusal(owner, name, value, self.in_words + self.hint(value))

    @staticmethod
    def accepts(text: str) -> bool:
        """Tell whether a text can be an address or a name; whether it exists is for the resolver to say."""
        has_port = text.count(":") == 1
        return bool(text) and not has_port and not any(c.isspace() or c in "/\\" or ord(c) < 32 for c in text)

    @classmethod
    def hint(cls, text: object) -> str:
        """Render the end of a message for a URL, or a host with its port, that is given as a host."""
        if not isinstance(text, str):
            return ""
        host, _, port = text.rpartition("://")[2].partition("/")[0].partition(":")
        if not cls.accepts(host):
            return ""
        return f" (did you mean host {host!r} and port {port}?)" if port else f" (did you mean {host!r}?)"


@dataclass(frozen=True, slots=True)
class PemPath:
    """The path of a PEM file; whether there is one is for the server to find."""

    @property
    def values(self) -> str:
        return "path (str or os.PathLike)"

    def check(self, owner: str, name: str, value: object) -> None:
        path = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(path, str) or not path or "\0" in path:
            raise refusal(owner, name, value, "the path of a PEM file (str or os.PathLike)")


@dataclass(frozen=True, slots=True)
class FilePath:
    """The path of a file of the server's; ``file`` says what that is."""

    file: str

    @property
    def in_words(self) -> str:
        """What is expected, for a message."""
        return f"the path of {self.file} (str or os.PathLike)"

    @property
    def values(self) -> str:
        return "path (str or os.PathLike)"

    def check(self, owner: str, name: str, value: object) -> None:
        path = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(path, str) or not self.accepts(path):
            raise refusal(owner, name, value, self.in_words)

    @staticmethod
    def accepts(text: str) -> bool:
        """Tell whether a text can be a path."""
        return bool(text) and "\0" not in text


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a group of the system's; whether there is one is for the server to find."""

    kind: str

    @property
    def in_words(self) -> str:
        """What is expected, for a message."""
        return f"a {self.kind}'s name (str) or number (int)"

    @property
    def values(self) -> str:
        return "name or number"

    def check(self, owner: str, name: str, value: object) -> None:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value in _IDS
        if not is_number and not (isinstance(value, str) and self.accepts(value)):
            raise refusal(owner, name, value, self.in_words)

    @staticmethod
    def accepts(text: str) -> bool:
        """Tell whether a text can be a name, or a number's digits."""
        return bool(text) and not any(char in ":\0\n" for char in text)


@dataclass(frozen=True, slots=True)
class Texts:
    """A list or tuple of texts; ``things`` says what they are."""

    things: str
    can_be_paths: bool = False

    @property
    def values(self) -> str:
        kind = "paths" if self.can_be_paths else "str"
        return f"list of {self.things} ({kind})"

    def check(self, owner: str, name: str, value: object) -> None:
        allowed = (str, os.PathLike) if self.can_be_paths else str
        is_list = isinstance(value, list | tuple)
        if not isinstance(value, list | tuple) or not all(
            isinstance(each, allowed) and each for each in value
        ):
            hint = "" if is_list else f', such as ["{value}"]' if isinstance(value, str) else ""
            raise refusal(owner, name, value, f"a {self.values}{hint}")


@dataclass(frozen=True, slots=True)
class Password:
    """A password, which no message ever shows."""

    @property
    def values(self) -> str:
        return f"1 to {_PASSWORD_BYTES} bytes of text"

    def check(self, owner: str, name: str, value: object) -> None:
        if not isinstance(value, str):
            got = f"a value of type {type(value).__name__}"
            raise ConfigError(f"{owner}({name}=...): expected a str or None, got {got}")
        try:
            size = len(value.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= _PASSWORD_BYTES:
            raise ConfigError(
                f"{owner}({name}=...): expected 1 to {_PASSWORD_BYTES} bytes of UTF-8, or None for a key "
                "without a password (the value is not shown)"
            )


@dataclass(frozen=True, slots=True)
class Group:
    """An object of a config class, with settings of its own."""

    config: type

    @property
    def values(self) -> str:
        return f"{self.config.__name__}(...)"

    def check(self, owner: str, name: str, value: object) -> None:
        if isinstance(value, self.config):
            return
        # The type alone is shown: a dict given by mistake may hold a password.
        got = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        got += f": write {self.config.__name__}()" if value is self.config else ""
        raise ConfigError(f"{owner}({name}=...): expected a {self.values} or None, got {got}")
