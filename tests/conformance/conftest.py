"""Every test that asks for ``serve`` runs once on each adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.kit.adapters import ADAPTERS, Client, serving
from tests.kit.log_watch import LogWatch, watching_log


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    """The name of the adapter that serves this test's applications."""
    return str(request.param)


@pytest.fixture
def serve(adapter: str) -> Iterator[Callable[..., Client]]:
    """Serve an application until the test ends: ``serve(app, **options of run())`` gives its client."""
    with ExitStack() as stack:

        def start(app: Any, **options: Any) -> Client:
            client: Client = stack.enter_context(serving(adapter, app, **options))
            return client

        yield start


@pytest.fixture
def log() -> Iterator[LogWatch]:
    """What Cello logs during the test."""
    with watching_log() as watch:
        yield watch
