"""How many CPUs this process may use: by its affinity, and by the quota of its control group.

A container that may use two CPUs' time on a machine of 64 sees all 64; 64 processes in it would take turns at
being stopped by the kernel.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def count_cpus() -> int:
    """Count the CPUs that this process may run on."""
    process_cpu_count = getattr(os, "process_cpu_count", None)  # Python 3.13
    if process_cpu_count is not None:
        count = process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count()
    return count or 1


def count_usable_cpus() -> int:
    """Count the CPUs whose time this process may use: no more than its control group's quota, rounded up."""
    quota = min(quotas(), default=math.inf)
    return count_cpus() if quota == math.inf else max(1, min(count_cpus(), math.ceil(quota)))


def quotas(groups: Path = _GROUPS, mount: Path = _MOUNT) -> Iterator[float]:
    """Yield the CPU quotas, in CPUs, of this process's control group and of those above it (cgroups(7)).

    The path in ``groups`` is seen from the process's own namespace: a container's group is the mount itself.
    """
    try:
        lines = groups.read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield from _along(mount, path, _quota_of_v2)
        elif "cpu" in controllers.split(","):
            yield from _along(mount / controllers, path, _quota_of_v1)


def _along(mount: Path, path: str, quota_of: Callable[[Path], float]) -> Iterator[float]:
    folder = mount / path.lstrip("/")
    for each in (folder, *folder.parents):
        with suppress(OSError, ValueError, ZeroDivisionError):
            yield quota_of(each)
        if each == mount:
            return


def _quota_of_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text("ascii").split()
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_of_v1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
    return math.inf if quota < 0 else quota / int((folder / "cpu.cfs_period_us").read_text("ascii"))
