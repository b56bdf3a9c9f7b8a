"""What ``enable_cors`` takes and refuses, and which origins it lets in."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cello import ConfigError
from cello._speedups import make_request
from cello.middlewares.cors import Cors
from tests.kit.log_watch import watching_log


def ends_in_test(origin: str) -> bool:
    return origin.endswith(".test")


async def coroutine(origin: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("origins", "allowed", "refused"),
    [
        (None, ["https://a.test", "null"], []),
        ("*", ["https://a.test", "null"], []),
        (["*"], ["https://a.test"], []),
        ("https://a.test", ["https://a.test"], ["http://a.test", "https://a.test:8443", "https://b.a.test"]),
        (["https://A.test"], ["https://a.test"], ["https://A.test"]),
        (["http://a.test:8080"], ["http://a.test:8080"], ["http://a.test", "http://a.test:80"]),
        (["http://[::1]:3000"], ["http://[::1]:3000"], ["http://[::1]"]),
        (["http://localhost:3000"], ["http://localhost:3000"], ["http://localhost"]),
        (["null"], ["null"], ["https://a.test", ""]),
        (["chrome-extension://abcdef"], ["chrome-extension://abcdef"], ["chrome-extension://abc"]),
        (["https://127.0.0.1:8443"], ["https://127.0.0.1:8443"], ["https://127.0.0.1"]),
        ([], [], ["https://a.test", "null"]),
        (
            ["https://*.a.test"],
            ["https://b.a.test", "https://c.b.a.test"],
            [
                "https://a.test",
                "https://xa.test",
                "https://a.test.evil",
                "https://evil/.a.test",
                "https://.a.test",
            ],
        ),
        (
            ["https://*.a.test:444"],
            ["https://b.a.test:444"],
            ["https://b.a.test", "https://b.a.test:4440"],
        ),
        (
            re.compile(r"https://[a-z]+\.test"),
            ["https://a.test"],
            ["https://a.test.evil", "xhttps://a.test", "https://a.test\n"],
        ),
        (ends_in_test, ["https://a.test"], ["https://a.com"]),
        ([ends_in_test, "https://a.com"], ["https://a.test", "https://a.com"], ["https://b.com"]),
    ],
)
def test_origins(origins: Any, allowed: list[str], refused: list[str]) -> None:
    cors = Cors(origins)
    for _ in range(2):  # the second time they are remembered
        assert [origin for origin in allowed if not cors.allows(origin.encode())] == []
        assert [origin for origin in refused if cors.allows(origin.encode())] == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"origins": ["example.com"]}, "https://example.com"),
        ({"origins": ["https://example.com/"]}, "no slash at the end"),
        ({"origins": ["https://example.com/app"]}, "no path"),
        ({"origins": ["https://example.com:443"]}, "browsers leave https's own, 443, out"),
        ({"origins": ["http://example.com:80"]}, "browsers leave http's own, 80, out"),
        ({"origins": ["https://example.com:port"]}, "'https://example.com:port'"),
        ({"origins": ["https://user@example.com"]}, "'https://user@example.com'"),
        ({"origins": ["https://exam ple.com"]}, "'https://exam ple.com'"),
        ({"origins": ["https://a.*.com"]}, "'https://a.*.com'"),
        ({"origins": ["https://*"]}, "'https://*'"),
        ({"origins": ["https://*.*.com"]}, "'https://*.*.com'"),
        ({"origins": ["https://"]}, "'https://'"),
        ({"origins": [""]}, "origins=''"),
        ({"origins": ["https://example.com:08443"]}, "'https://example.com:08443'"),
        ({"origins": ["https://[0:0::1]:3000"]}, "'https://[0:0::1]:3000'"),
        ({"origins": ["https://127.1:3000"]}, "'https://127.1:3000'"),
        ({"origins": ["-x://a"]}, "'-x://a'"),
        ({"allow_headers": 5}, "allow_headers=5"),
        ({"origins": [1]}, "origins=1"),
        ({"origins": 1}, "origins=1"),
        ({"origins": [re.compile(b"https://a")]}, "re.compile(b'https://a')"),
        ({"origins": coroutine}, "a plain function"),
        ({"methods": "GET"}, "['GET']"),
        ({"methods": ["GET, POST"]}, "'GET, POST' among them"),
        ({"methods": 1}, "methods=1"),
        ({"allow_headers": "X-Token"}, "['X-Token']"),
        ({"allow_headers": ["X Token"]}, "'X Token' among them"),
        ({"allow_headers": ["X-Tök"]}, "'X-Tök' among them"),
        ({"expose_headers": ["X-A", 1]}, "1 among them"),
        ({"expose_headers": ["*"], "allow_credentials": True}, "name the fields"),
        ({"allow_credentials": "yes"}, "allow_credentials='yes'"),
        ({"allow_private_network": 1}, "allow_private_network=1"),
        ({"max_age": -1}, "max_age=-1"),
        ({"max_age": True}, "max_age=True"),
        ({"max_age": 2**31}, "max_age=2147483648"),
        ({"max_age": "600"}, "max_age='600'"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match="enable_cors") as caught:
        Cors(**arguments)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_origin_with_credentials_is_warned_of() -> None:
    with watching_log() as log:
        cors = Cors("*", allow_credentials=True)
        assert "list the origins that are trusted" in log.text
    assert cors.is_selective
    assert cors.fields_for(b"https://a.test") == [
        (b"access-control-allow-origin", b"https://a.test"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def test_a_function_that_fails_lets_nobody_in() -> None:
    def fails(origin: str) -> bool:
        raise ValueError(origin)

    cors = Cors(fails)
    with watching_log() as log:
        assert cors.fields_for(b"https://a.test") == [(b"vary", b"Origin")]
        assert "fails" in log.text
        assert "https://a.test" in log.text


def test_a_function_is_asked_each_time() -> None:
    trusted: set[str] = set()
    cors = Cors(trusted.__contains__)
    assert len(cors.fields_for(b"https://a.test")) == 1
    trusted.add("https://a.test")
    assert len(cors.fields_for(b"https://a.test")) == 2


def test_no_flood_of_origins_is_remembered() -> None:
    cors = Cors("https://*.a.test")
    for number in range(3000):
        assert len(cors.fields_for(b"https://n%d.a.test" % number)) == 2
    assert len(cors._remembered) <= 1024


@pytest.mark.parametrize("answer", ["yes", 1, re.match("a", "a"), [], object()])
def test_only_true_lets_in(answer: Any) -> None:
    with watching_log() as log:
        assert Cors(lambda origin: answer).fields_for(b"https://a.test") == [(b"vary", b"Origin")]
        assert "must return True or False" in log.text


def test_a_coroutine_lets_nobody_in() -> None:
    with watching_log() as log:
        assert not Cors(lambda origin: coroutine(origin)).allows(b"https://a.test")
        assert "not coroutine: nobody is let in" in log.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_nothing_that_a_function_raises_ends_the_server(kind: type[BaseException]) -> None:
    def ends(origin: str) -> bool:
        raise kind

    with watching_log() as log:
        assert not Cors(ends).allows(b"https://a.test")
        assert kind.__name__ in log.text


def preflight_of(**fields: bytes) -> Any:
    raw = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    return make_request("OPTIONS", b"/x", b"", raw, b"", 0, 0, b"a", "http", "1.1", None)


def test_names_may_come_in_any_iterable() -> None:
    cors = Cors(
        iter(["https://a.test"]),
        methods=iter(["GET"]),
        allow_headers=map(str.strip, ["X-A ", " X-B"]),  # type: ignore[arg-type]
    )
    asked = preflight_of(
        origin=b"https://a.test", access_control_request_method=b"GET", access_control_request_headers=b"x-b"
    )
    assert (b"access-control-allow-headers", b"x-a, x-b") in (cors.preflight(asked) or [])


def test_a_star_is_any_method() -> None:
    cors = Cors(methods=["*"])
    for method, expected in ((b"PURGE", b"PURGE"), (b"a b", None)):
        asked = preflight_of(origin=b"https://a.test", access_control_request_method=method)
        assert dict(cors.preflight(asked) or []).get(b"access-control-allow-methods") == expected


def test_the_log_of_refusals_cannot_be_flooded_or_forged() -> None:
    cors = Cors(["https://a.test"])
    with watching_log() as log:
        for number in range(300):
            origin = b"https://n%d.test\x9b31m\x85FORGED" % (number // 2) + b"x" * 60_000
            assert (
                cors.preflight(preflight_of(origin=origin, access_control_request_method=b"GET")) is not None
            )
        lines = log.text.splitlines()
    assert len(lines) == 100
    assert max(map(len, lines)) < 1000
    assert "\\x9b31m\\x85FORGED" in lines[0]
    assert cors._remembered == {}
