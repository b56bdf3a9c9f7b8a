"""Every case of the HTTP/1.1 corpus, against a real server on a real socket.

Each case is sent whole, octet by octet, and cut at random places that follow from its name, so that a
failure can be repeated. What must come back never depends on how the octets arrived. The timeouts' cases
need a server with short ones and spend their time waiting, so they run whole and all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cello import LimitsConfig, TimeoutConfig
from tests.kit.corpus import Case, corpus_app, load_corpus, run_case
from tests.kit.corpus_client import Outcome, Split, bytewise, split_at_random, whole
from tests.kit.corpus_judge import compare
from tests.kit.server import running_server

LIMITS = LimitsConfig(max_headers=100, max_request_size=1024 * 1024)
SHORT = TimeoutConfig(request_timeout=1, keep_alive_timeout=1)
TOPICS = load_corpus()
CASES = [case for topic in TOPICS if topic.name != "timeouts" for case in topic.cases]
TIMED_CASES = [case for topic in TOPICS if topic.name == "timeouts" for case in topic.cases]
RANDOM_SPLITS = 3


def name_of(case: Case) -> str:
    return f"{case.topic}:{case.name}"


def splits_of(case: Case, manner: str) -> list[Split]:
    """Return the ways in which a case is cut; what was cut before is cut in the same places again."""
    if manner == "whole":
        return [whole]
    if manner == "bytewise":
        return [bytewise]
    return [split_at_random(f"{case.name}/{number}") for number in range(RANDOM_SPLITS)]


@pytest.fixture(scope="module")
def h1_server() -> Iterator[Any]:
    with running_server(corpus_app(), limits=LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def timed_outcomes() -> dict[str, Outcome]:
    with (
        running_server(corpus_app(), limits=LIMITS, timeout=SHORT) as server,
        ThreadPoolExecutor(len(TIMED_CASES)) as pool,
    ):
        address = (server.host, server.port)
        outcomes = pool.map(lambda case: run_case(case, address), TIMED_CASES)
        return {case.name: outcome for case, outcome in zip(TIMED_CASES, outcomes, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("manner", ["whole", "bytewise", "random"])
def test_h1_case(case: Case, manner: str, h1_server: Any) -> None:
    for number, split in enumerate(splits_of(case, manner)):
        outcome = run_case(case, (h1_server.host, h1_server.port), split)
        complaints = compare(case, outcome)
        assert not complaints, f"{case.rule}, {manner} split {number}: {complaints}"


@pytest.mark.parametrize("case", TIMED_CASES, ids=name_of)
def test_h1_timed_case(case: Case, timed_outcomes: dict[str, Outcome]) -> None:
    complaints = compare(case, timed_outcomes[case.name])
    assert not complaints, f"{case.rule}: {complaints}"
