"""CPU time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says.

    The times are in ticks, its own and those of the children it has waited for.
    """

    pid: int
    parent: int
    user: int
    system: int


@dataclass(frozen=True)
class CpuTime:
    """Seconds of CPU time, in steps of a tick, mostly 10 ms."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def __sub__(self, other: CpuTime) -> CpuTime:
        return CpuTime(self.user - other.user, self.system - other.system)


def parse_stat(text: str) -> Stat:
    """Read one line of /proc/PID/stat; proc_pid_stat(5).

    The second field is the command in parentheses, which may hold blanks and parentheses itself, so the
    fields are counted from the last one. Children that ended are in their parent's cutime and cstime: with
    those in the sum a process that ends during a measurement takes nothing away.
    """
    pid, _, rest = text.partition(" (")
    fields = rest[rest.rindex(")") + 2 :].split()
    utime, stime, cutime, cstime = map(int, fields[11:15])
    return Stat(int(pid), parent=int(fields[1]), user=utime + cutime, system=stime + cstime)


def tree(stats: Iterable[Stat], root: int) -> list[Stat]:
    """The process ``root`` and its descendants."""
    children: dict[int, list[Stat]] = {}
    found = []
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:  # grows while it is walked
        found.extend(children.get(stat.pid, ()))
    return found


def read_stats() -> list[Stat]:
    stats = []
    for path in PROC.glob("[0-9]*/stat"):
        try:
            stats.append(parse_stat(path.read_text()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return stats


def pids(root: int) -> list[int]:
    return [stat.pid for stat in tree(read_stats(), root)]


def cpu_time(root: int) -> CpuTime:
    """What the tree has used so far."""
    stats = tree(read_stats(), root)
    tick_count = os.sysconf("SC_CLK_TCK")
    user, system = sum(stat.user for stat in stats), sum(stat.system for stat in stats)
    return CpuTime(user / tick_count, system / tick_count)


def parse_core_ticks(text: str, core: int) -> int:
    """The ticks that ``core`` was not idle, in the text of /proc/stat; proc_stat(5).

    Time that the hypervisor took away counts, time in guests stands in the user's already.
    """
    for line in text.splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            return user + nice + system + irq + softirq + steal
    raise ValueError(f"expected a line cpu{core}, got {text[:200]!r}")


def core_seconds(core: int) -> float:
    """The time that ``core`` has been busy with anything at all."""
    return parse_core_ticks((PROC / "stat").read_text(), core) / os.sysconf("SC_CLK_TCK")


def parse_kib(text: str, name: str) -> int:
    """The bytes of a line such as ``Rss:  1234 kB``."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise ValueError(f"expected a line {name!r}, got {text[:200]!r}")


def process_rss_bytes(pid: int) -> int:
    """Resident memory of one process.

    smaps_rollup is exact; VmRSS lags behind by some pages per thread, and stands in where the kernel has no
    rollup.
    """
    try:
        return parse_kib((PROC / str(pid) / "smaps_rollup").read_text(), "Rss")
    except (FileNotFoundError, PermissionError):
        return parse_kib((PROC / str(pid) / "status").read_text(), "VmRSS")


def rss_bytes(root: int) -> int:
    """Resident memory of the tree; a page that two processes share counts twice."""
    return sum(process_rss_bytes(pid) for pid in pids(root))
