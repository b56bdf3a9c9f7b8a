"""Proves that the corpus holds every check of the HTTP/1.1 wire: without any one of them, a case fails.

    python ci/prove_checks.py [--only NAME] [--jobs N] [--list]

wire_checks.toml is the table of mutations. Each takes one check out of the code, or turns it round, by an exact text
that stands once in one file. For each, the tree is copied to a temporary folder and changed there, and the corpus
runs against the pure implementation (corpus_verdict.py) until a case fails. A mutation that no case notices has SURVIVED:
either the check is not tested or it checks nothing. The table follows the sources, or this fails.

The exit status is 1 when one survives, when a text does not stand exactly once, or when the unchanged tree fails.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("wire_checks.toml")
RUNNER = Path(__file__).with_name("corpus_verdict.py")
SOURCES = Path("cello/_speedups")
PARTS = ("cello", "tests/kit", "tests/corpus", "tests/conformance/test_h1_corpus.py", "pyproject.toml")
KEYS = {"name", "file", "rule", "old", "new"}
RUN_SECONDS = 90.0  # for a run whose server hangs
LINE_BYTES = 110


@dataclass(frozen=True)
class Mutation:
    """One check, and the text that is the same code without it; ``file`` is relative to the sources."""

    name: str
    file: str
    rule: str
    old: str
    new: str


@dataclass(frozen=True)
class Verdict:
    """What came of one mutation: ``case`` is the one that noticed it, ``fault`` why it proves nothing."""

    mutation: Mutation
    seconds: float
    case: str = ""
    fault: str = ""

    @property
    def is_passed(self) -> bool:
        """Tell whether the check is held."""
        return bool(self.case) and not self.fault


def load_table(path: Path = TABLE) -> list[Mutation]:
    """Read the table of mutations; raises ValueError for one that makes no sense."""
    mutations = []
    for entry in tomllib.loads(path.read_text("utf-8"))["check"]:
        if set(entry) != KEYS or not all(isinstance(value, str) for value in entry.values()):
            raise ValueError(f"a check has the texts {sorted(KEYS)}, got {entry}")
        mutations.append(Mutation(**entry))
    names = Counter(mutation.name for mutation in mutations)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"names used twice: {twice}")
    return mutations


def fault_of(mutation: Mutation, root: Path = ROOT) -> str:
    """Say why a mutation does not fit the sources, or return nothing."""
    path = root / SOURCES / mutation.file
    if not path.is_file():
        return f"there is no {SOURCES / mutation.file}"
    count = path.read_text("utf-8").count(mutation.old) if mutation.old else 0
    if count != 1:
        return f"the old text stands {count} times in {mutation.file}, expected once"
    if mutation.old == mutation.new:
        return "the new text is the old one"
    try:
        ast.parse(mutated(mutation, root))
    except SyntaxError as exc:
        return f"the changed source is no Python: line {exc.lineno}: {exc.msg}"
    return ""


def mutated(mutation: Mutation, root: Path) -> str:
    """Return the source without the check."""
    return (root / SOURCES / mutation.file).read_text("utf-8").replace(mutation.old, mutation.new)


def copy_parts(root: Path, folder: Path) -> None:
    """Copy what a run of the corpus needs, without anything that is compiled."""
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / part).is_dir():
            shutil.copytree(root / part, target, ignore=ignored)
        else:
            shutil.copy2(root / part, target)


def run_corpus(folder: Path) -> dict[str, Any]:
    """Run the corpus against the tree in a folder; returns corpus_verdict's, or ``{"fault": ...}``."""
    environment = {**os.environ, "CELLO_NO_EXTENSIONS": "1", "PYTHONPATH": str(folder)}
    command = [sys.executable, str(RUNNER)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"no verdict in {RUN_SECONDS:g} seconds"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"fault": f"no verdict: {(done.stderr.strip().splitlines() or ['nothing was said'])[-1]}"}
    verdict: dict[str, Any] = json.loads(lines[-1])
    return verdict


def prove(mutation: Mutation, base: Path, folder: Path) -> Verdict:
    """Take one check out of a copy of the tree and ask the corpus."""
    started = time.monotonic()
    copy = folder / mutation.name
    shutil.copytree(base, copy)
    source = copy / SOURCES / mutation.file
    source.write_text(mutated(mutation, copy), "utf-8")
    for compiled in source.parent.glob(f"__pycache__/{source.stem}.*"):
        compiled.unlink()  # told apart by the second of its source's change
    found = run_corpus(copy)
    shutil.rmtree(copy)
    case = f"{found['case']} ({found['manner']})" if "case" in found else ""
    return Verdict(mutation, time.monotonic() - started, case, found.get("fault", "")), found


def main():
    only = sys.argv[1:]
    ms = load_table()
    if only:
        ms = [m for m in ms if m.name in only]
    with tempfile.TemporaryDirectory() as t:
        t = Path(t)
        base = t / "base"
        copy_parts(ROOT, base)
        started = time.monotonic()
        print(run_corpus(base))
        bad = 0
        good = []
        for m in ms:
            f = fault_of(m)
            if f:
                print("STALE", m.name, f)
            else:
                good.append(m)
        with ThreadPoolExecutor(2) as pool:
            for v, found in pool.map(lambda m: prove(m, base, t), good):
                print(f"{'ok  ' if v.is_passed else 'SURV'} {v.seconds:4.1f} {v.mutation.name:50} {v.case or v.fault} {found.get('raised')} {found.get('complaints', [''])[0][:100] if v.case else ''}", flush=True)
        print(time.monotonic() - started)
if __name__ == "__main__":
    main()
