"""The table of checks fits the sources; that each of them is held is for ci/prove_checks.py to prove."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ci.prove_checks import PARTS, ROOT, Mutation, Verdict, changed, copy_parts, load_table, main, prove

TABLE = load_table()
COVERED = ("octets_py", "heads_py", "h1_rules_py", "h1_reader_py", "h1_chunks_py", "h1_send_py", "h1_py")
RULE = re.compile(r"(RFC \d{4} ([A-Z]\.)?\d+(\.\d+)*( \(\d+\))?|Cello (limits|timeouts))")
MUTATION = Mutation("a-check", "house.py", "RFC 9112 3", "if not ok:", "if False:")
SOURCE = "def check(ok: bool) -> bool:\n    if not ok:\n        return False\n    return True\n"


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.name)
def test_mutation_fits_the_source(mutation: Mutation) -> None:
    source = (ROOT / "cello" / mutation.file).read_text("utf-8")
    assert changed(source, mutation) != source
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", mutation.name)
    assert RULE.fullmatch(mutation.rule), mutation.rule


def test_no_check_is_taken_out_twice() -> None:
    assert len({(mutation.file, mutation.old, mutation.new) for mutation in TABLE}) == len(TABLE)


def test_every_module_of_the_wire_is_covered() -> None:
    files = {mutation.file for mutation in TABLE}
    assert {f"_speedups/{name}.py" for name in COVERED} <= files


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"old": "if ok:"}, "stands 0 times"),
        ({"old": "return"}, "stands 2 times"),
        ({"old": ""}, "stands 0 times"),
        ({"new": "if not ok:"}, "the new text is the old one"),
        ({"new": "if not ok"}, "makes no Python of it: line 2"),
    ],
)
def test_mutation_that_does_not_fit(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        changed(SOURCE, dataclasses.replace(MUTATION, **change))


def test_changed_source() -> None:
    assert changed(SOURCE, MUTATION) == SOURCE.replace("not ok:", "False:")


ENTRY = '[[check]]\nname = "a"\nfile = "b"\nrule = "c"\nold = "d"\nnew = "e"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ENTRY * 2, "names used twice: a"),
        (ENTRY + 'why = "f"\n', "a check has the texts"),
        (ENTRY.replace('new = "e"\n', ""), "a check has the texts"),
        (ENTRY.replace('"e"', "1"), "a check has the texts"),
    ],
)
def test_table_that_makes_no_sense(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=complaint):
        load_table(path)


def test_copy_holds_the_parts_and_nothing_compiled(tmp_path: Path) -> None:
    copy_parts(ROOT, tmp_path)
    assert all((tmp_path / part).exists() for part in PARTS)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".so", ".pyd", ".pyc")]


def test_mutation_that_does_not_fit_fails_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "unchanged" / "cello").mkdir(parents=True)
    missing = prove(tmp_path / "unchanged", MUTATION)
    (tmp_path / "unchanged" / "cello" / "house.py").write_text("")
    stale = prove(tmp_path / "unchanged", MUTATION)
    assert "house.py" in missing.fault
    assert "stands 0 times" in stale.fault
    assert stale.line.endswith(stale.fault)


def test_verdict_of_a_check_that_is_held() -> None:
    line = Verdict(MUTATION, case="host:host-missing (whole)", seconds=1.25).line
    assert line.split() == [
        "a-check",
        "RFC",
        "9112",
        "3",
        "1.2",
        "s",
        "killed",
        "by",
        "host:host-missing",
        "(whole)",
    ]


def test_list_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [mutation.name for mutation in TABLE]


def test_unknown_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no-such-check"]) == 1
    assert "no such check: no-such-check" in capsys.readouterr().err
