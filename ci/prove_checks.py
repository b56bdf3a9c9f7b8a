"""Proves that the corpus holds every check of the HTTP/1.1 wire: without any one of them, a case fails.

    python ci/prove_checks.py [--only NAME]... [--jobs N] [--list]

wire_checks.toml is the table: each mutation takes one check out of the code, or turns it round, by an exact
text that stands once in one file. For each, the tree is copied to a temporary folder and changed there, and
the corpus is asked of the pure implementation (corpus_verdict.py) until a case fails. A mutation that no case
notices has SURVIVED: either the check is not tested, or it checks nothing.

The exit status is 1 when one survives, when a text does not stand exactly once, so that the table cannot go
stale, and when the unchanged tree fails.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("wire_checks.toml")
RUNNER = Path(__file__).with_name("corpus_verdict.py")
PARTS = ("cello", "tests/kit", "tests/corpus", "tests/conformance/test_h1_corpus.py", "pyproject.toml")
KEYS = {"name", "file", "rule", "old", "new"}
RUN_SECONDS = 60.0
# What a slip of the table's own would raise: a name that is not there is no missing check.
SLIPS = ("NameError", "UnboundLocalError", "AttributeError")


@dataclass(frozen=True)
class Mutation:
    """One check, and the text that is the same code without it; ``file`` is relative to cello/."""

    name: str
    file: str
    rule: str
    old: str
    new: str


@dataclass(frozen=True)
class Verdict:
    """What came of one mutation: the case that noticed it, or the fault for which it proves nothing."""

    mutation: Mutation
    case: str = ""
    fault: str = ""
    seconds: float = 0.0

    @property
    def line(self) -> str:
        """What the table at the end says of it."""
        outcome = f"FAILED: {self.fault}" if self.fault else f"killed by {self.case}"
        return f"{self.mutation.name:54} {self.mutation.rule:19} {self.seconds:4.1f} s  {outcome}"


def load_table(path: Path = TABLE) -> list[Mutation]:
    """Read the table; raises ValueError for an entry that makes no sense."""
    entries = tomllib.loads(path.read_text("utf-8"))["check"]
    for entry in entries:
        if set(entry) != KEYS or not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"a check has the texts {sorted(KEYS)}, got {entry}")
    names = Counter(entry["name"] for entry in entries)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"names used twice: {', '.join(twice)}")
    return [Mutation(**entry) for entry in entries]


def changed(source: str, mutation: Mutation) -> str:
    """Return the source without the check; raises ValueError where the mutation does not fit it."""
    count = source.count(mutation.old) if mutation.old else 0
    if count != 1:
        raise ValueError(f"the old text stands {count} times in cello/{mutation.file}, expected once")
    if mutation.old == mutation.new:
        raise ValueError("the new text is the old one")
    result = source.replace(mutation.old, mutation.new)
    try:
        ast.parse(result)
    except SyntaxError as exc:
        raise ValueError(f"the new text makes no Python of it: line {exc.lineno}: {exc.msg}") from None
    return result


def copy_parts(root: Path, folder: Path) -> None:
    """Copy what the corpus needs, and nothing that is compiled."""
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / part).is_dir():
            shutil.copytree(root / part, target, ignore=ignored)
        else:
            shutil.copy2(root / part, target)


def ask_corpus(folder: Path) -> dict[str, Any]:
    """Ask the corpus of the tree in a folder; returns what corpus_verdict.py says, or ``{"fault": ...}``."""
    environment = {**os.environ, "CELLO_NO_EXTENSIONS": "1", "PYTHONPATH": str(folder)}
    try:
        done = subprocess.run(
            [sys.executable, str(RUNNER)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"no verdict in {RUN_SECONDS:g} seconds"}
    if done.returncode != 0:
        return {"fault": f"no verdict: {(done.stderr.splitlines() or ['nothing was said'])[-1]}"}
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def prove(base: Path, mutation: Mutation) -> Verdict:
    """Take one check out of a copy of the tree and ask the corpus."""
    started = time.monotonic()
    copy = base.parent / mutation.name
    source = copy / "cello" / mutation.file
    try:
        text = changed((base / "cello" / mutation.file).read_text("utf-8"), mutation)
    except (OSError, ValueError) as exc:
        return Verdict(mutation, fault=str(exc))
    shutil.copytree(base, copy)
    source.write_text(text, "utf-8")
    for compiled in source.parent.glob(f"__pycache__/{source.stem}.*"):
        compiled.unlink()  # Python would compare size and second alone
    found = ask_corpus(copy)
    shutil.rmtree(copy)
    return Verdict(mutation, found.get("case", ""), _fault_in(found), time.monotonic() - started)


def _fault_in(found: dict[str, Any]) -> str:
    if "fault" in found:
        return str(found["fault"])
    if found["raised"].startswith(SLIPS):
        return f"it raises {found['raised']}"
    return "" if "case" in found else f"SURVIVED all {found['count']}"


def run(mutations: Sequence[Mutation], jobs: int) -> list[Verdict]:
    """Prove the unchanged tree good and every mutation bad; raises ValueError when the first fails."""
    with tempfile.TemporaryDirectory(prefix="prove-checks-") as folder, ThreadPoolExecutor(jobs) as pool:
        base = Path(folder) / "unchanged"
        copy_parts(ROOT, base)
        found = ask_corpus(base)
        if "count" not in found:
            raise ValueError(f"the unchanged tree fails: {found}")
        verdicts = []
        for verdict in pool.map(partial(prove, base), mutations):
            verdicts.append(verdict)
            print(f"{len(verdicts)} of {len(mutations)}: {verdict.mutation.name}", file=sys.stderr)
        return verdicts


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="prove_checks.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="try this check alone; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many at a time, by default 2")
    parser.add_argument(
        "--list", action="store_true", help="name the checks and their rules, and run nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse_arguments(arguments)
    try:
        mutations = load_table()
        unknown = set(options.only or ()) - {mutation.name for mutation in mutations}
        if unknown:
            raise ValueError(f"no such check: {', '.join(sorted(unknown))}")
        if options.only:
            mutations = [mutation for mutation in mutations if mutation.name in options.only]
        if options.list:
            for mutation in mutations:
                print(f"{mutation.name:54} {mutation.rule:19} cello/{mutation.file}")
            return 0
        verdicts = run(mutations, options.jobs)
    except ValueError as exc:
        print(f"prove_checks: {exc}", file=sys.stderr)
        return 1
    failed = sum(bool(verdict.fault) for verdict in verdicts)
    for verdict in verdicts:
        print(verdict.line)
    print(f"{len(verdicts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
