"""How many CPUs a process may use: control groups as files in a folder of the test's own."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from cello import cpus
from cello.cpus import count_cpus, count_usable_cpus, quotas


def group(tmp_path: Path, line: str, **files: str) -> list[float]:
    """Return the quotas of a process in a group; names of files have "__" for "/"."""
    (tmp_path / "cgroup").write_text(line)
    for name, text in files.items():
        path = tmp_path / "mount" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(quotas(tmp_path / "cgroup", tmp_path / "mount"))


def test_the_second_version_also_along_the_path(tmp_path: Path) -> None:
    found = group(
        tmp_path,
        "0::/user/app\n",
        user__app__cpu_max="150000 100000\n",
        user__cpu_max="max 100000\n",
        cpu_max="400000 100000\n",
    )
    assert found == [1.5, math.inf, 4.0]


def test_the_first_version(tmp_path: Path) -> None:
    found = group(
        tmp_path,
        "12:memory:/x\n4:cpu,cpuacct:/app\n",
        **{
            "cpu,cpuacct__app__cpu_cfs_quota_us": "50000",
            "cpu,cpuacct__app__cpu_cfs_period_us": "100000",
            "cpu,cpuacct__cpu_cfs_quota_us": "-1",
        },
    )
    assert found == [0.5, math.inf]


@pytest.mark.parametrize("text", ["", "max\n", "x y\n", "1 0\n"])
def test_what_cannot_be_read_is_no_quota(tmp_path: Path, text: str) -> None:
    assert group(tmp_path, "0::/\n", cpu_max=text) == []


def test_a_group_of_another_namespace_has_the_mounts_quota(tmp_path: Path) -> None:
    assert group(tmp_path, "0::/../../other\n", cpu_max="200000 100000\n")[-1:] == [2.0]


@pytest.mark.parametrize(
    ("found", "expected"),
    [([], 8), ([math.inf], 8), ([2.0, 4.0], 2), ([1.5], 2), ([0.1], 1), ([100.0], 8)],
)
def test_the_smallest_quota_counts_rounded_up(
    found: list[float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "count_cpus", lambda: 8)
    monkeypatch.setattr(cpus, "quotas", lambda: iter(found))
    assert count_usable_cpus() == expected


def test_this_process_has_some() -> None:
    assert 1 <= count_usable_cpus() <= count_cpus()
    if hasattr(os, "sched_getaffinity"):
        assert count_cpus() == len(os.sched_getaffinity(0))


class TestCountCpus:
    def test_the_process_count_of_newer_pythons_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
        assert count_cpus() == 7

    def test_then_the_affinity(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(os, "process_cpu_count", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5}, raising=False)
        assert count_cpus() == 3

    @pytest.mark.parametrize(("count", "expected"), [(None, 1), (6, 6), (5000, 5000)])
    def test_then_the_machine(
        self, monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
    ) -> None:
        monkeypatch.delattr(os, "process_cpu_count", raising=False)
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: count)
        assert count_cpus() == expected
