"""The description of a field: what its value may be, in code and in words."""

from __future__ import annotations

import dataclasses

import pytest

from cello.config import LimitsConfig, RunArguments, TlsConfig
from cello.errors import ConfigError
from cello.settings import (
    Choice,
    Duration,
    Group,
    Host,
    Kind,
    Password,
    PemPath,
    RequestLog,
    Setting,
    Switch,
    Whole,
    listed,
    settings_of,
)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Switch(), "True or False"),
        (Whole(range(65536)), "0 to 65535"),
        (Whole(range(1, 2**31)), "1 to 2^31 - 1"),
        (Whole(range(2**14, 2**24), "bytes"), "16384 to 2^24 - 1 bytes"),
        (Whole(range(1, 2**31 - 5)), "1 to 2147483642"),
        (Duration(), "seconds above 0"),
        (Choice(("a", "b", "c")), '"a", "b" or "c"'),
        (RequestLog(("a", "b")), '"a", "b", a function of a LogEntry, or a logging.Handler'),
        (Host(), "IP address or host name"),
        (PemPath(), "path (str or os.PathLike)"),
        (Password(), "1 to 1024 bytes of text"),
        (Group(TlsConfig), "TlsConfig(...)"),
    ],
)
def test_a_kind_in_words(kind: Kind, values: str) -> None:
    assert kind.values == values


def test_a_list_in_words() -> None:
    assert listed(("a", "b")) == "a or b"
    assert listed(("a", "b", "c"), quote="'") == "'a', 'b' or 'c'"


def test_none_is_taken_where_it_means_something() -> None:
    setting = Setting("size", 1, "a size", Whole(range(1, 10)), none="no limit")
    setting.check("owner", None)
    setting.check("owner", 9)
    with pytest.raises(ConfigError, match=r"^owner\(size=10\): expected an int from 1 to 9 \("):
        setting.check("owner", 10)
    with pytest.raises(ConfigError, match=r"^owner\(size=None\): expected an int from 1 to 9 \("):
        dataclasses.replace(setting, none=None).check("owner", None)


def test_settings_are_the_fields_with_what_a_reader_needs() -> None:
    cert_path, *_, min_version = settings_of(TlsConfig)
    assert (cert_path.name, cert_path.default) == ("cert_path", dataclasses.MISSING)
    assert (min_version.name, min_version.default) == ("min_version", "1.2")
    assert (min_version.kind, min_version.none) == (Choice(("1.2", "1.3")), None)
    assert min_version.meaning == "oldest TLS version that is spoken"
    size = settings_of(LimitsConfig)[1]
    assert size.kind == Whole(range(2**63), "bytes")


@pytest.mark.parametrize("value", ["auto", "combined", lambda entry: None])
def test_formats_of_the_request_log(value: object) -> None:
    assert RunArguments(log_format=value).log_format is value  # type: ignore[arg-type]


async def _line(entry: object) -> str:
    return "a coroutine gives no line"


@pytest.mark.parametrize(
    ("value", "hint"), [("jsn", " (did you mean 'json'?)"), (str, ""), (_line, ""), (3, "")]
)
def test_another_format_is_refused(value: object, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunArguments(log_format=value)  # type: ignore[arg-type]
    assert caught.value.message == (
        f"app.run(log_format={value!r}): expected 'auto', 'json' or 'combined', a function of a LogEntry "
        f"that returns a line, or a logging.Handler{hint}"
    )


def test_a_subclass_may_have_fields_of_its_own() -> None:
    @dataclasses.dataclass(frozen=True)
    class Limits(LimitsConfig):
        max_pets: int = 3

    assert Limits(max_headers=9).max_pets == 3
    assert settings_of(Limits) == settings_of(LimitsConfig)
    with pytest.raises(ConfigError, match=r"^LimitsConfig\(max_headers=0\): expected"):
        Limits(max_headers=0)
