"""A server process of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.process import Process, running_script
from tests.kit.script import PRODUCTION


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Process]:
    """The script of tests/kit/script.py as in production, serving."""
    with running_script(tmp_path, PRODUCTION) as server:
        assert server.port
        yield server
