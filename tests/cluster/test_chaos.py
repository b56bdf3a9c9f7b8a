"""What must hold while processes are hurt: two workers, 200 requests a second, nothing lost but what must be.

The load never retries, and counts; each test is one blow. Times are not asserted beyond what tells success
from failure: ``python -m tests.cluster.worst`` deals the blows many times over and says how long each took.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cello import IMPLEMENTATION
from tests.cluster import blows

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="watches processes through /proc"
)

# The supervisor is the same Python in both implementations, and a blow takes seconds: with the pure twins,
# whose workers are slower and no different, one strategy will do.
STRATEGIES = ("fork", "spawn") if IMPLEMENTATION == "compiled" else ("fork",)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("blow", blows.ALL, ids=lambda blow: blow.__name__)
def test_blow(blow: Callable[..., dict[str, float]], strategy: str, tmp_path: Path) -> None:
    if strategy == "spawn" and blow in blows.FORK_ONLY:
        pytest.skip("this blow is dealt to what only the fork strategy has")
    blow(tmp_path, strategy)
