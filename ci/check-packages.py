"""Checks what is in an sdist and a wheel: python ci/check-packages.py FILE...

The sdist has to hold all that a build needs and nothing that a build makes; a compiled wheel its extension
modules and no source of theirs; a pure wheel no extension module at all. One line per fault on stderr, exit
status 1.
"""

from __future__ import annotations

import ast
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
PROJECT_FILES = {"pyproject.toml", "setup.py", "README.md", "LICENSE"}
MODULE_LISTS = ("SAME_SOURCE", "WRITTEN_TWICE")
BUILT = (".so", ".pyd", ".o", ".c", ".pyc")
SOURCES = (".pyx", ".pxd", ".c")


def in_tree(*patterns: str) -> set[str]:
    """Return the package's files that match, as paths from the project's root."""
    found = {path for pattern in patterns for path in (ROOT / "cello").rglob(pattern)}
    return {path.relative_to(ROOT).as_posix() for path in found}


def extension_modules(names: Iterable[str]) -> set[str]:
    """Return the names of the extension modules among files."""
    return {PurePosixPath(name).name.partition(".")[0] for name in names if name.endswith((".so", ".pyd"))}


def expected_modules() -> set[str]:
    """Return the extension modules that setup.py lists."""
    found: set[str] = set()
    for statement in ast.parse((ROOT / "setup.py").read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in MODULE_LISTS:
            found.update(f"{name}_c" for name in ast.literal_eval(statement.value))
    return found


def faults_of_sdist(names: set[str]) -> Iterator[str]:
    """Yield what is wrong with the files of an sdist."""
    needed = in_tree("*.py", "*.pyx", "*.pxd", "py.typed") | PROJECT_FILES
    yield from (f"{name} is missing" for name in sorted(needed - names))
    yield from (f"{name} does not belong there" for name in sorted(names) if name.endswith(BUILT))


def faults_of_wheel(names: set[str], is_pure: bool) -> Iterator[str]:
    """Yield what is wrong with the files of a wheel."""
    yield from (f"{name} is missing" for name in sorted(in_tree("*.py", "py.typed") - names))
    yield from (f"{name} does not belong there" for name in sorted(names) if name.endswith(SOURCES))
    strangers = [name for name in names if not name.startswith("cello/") and ".dist-info/" not in name]
    yield from (f"{name} does not belong there" for name in sorted(strangers))
    expected = set() if is_pure else expected_modules()
    found = extension_modules(names)
    yield from (f"the extension module {name} is missing" for name in sorted(expected - found))
    yield from (f"the extension module {name} does not belong there" for name in sorted(found - expected))


def faults_of(path: Path) -> list[str]:
    """Return what is wrong with a package file."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as sdist:
            names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
        return list(faults_of_sdist(names))
    with zipfile.ZipFile(path) as wheel:
        return list(faults_of_wheel(set(wheel.namelist()), path.name.endswith("-py3-none-any.whl")))


def main(arguments: list[str]) -> int:
    """Check each file; returns the exit status."""
    if not arguments:
        print("check-packages: no package was given", file=sys.stderr)
        return 2
    faults = [f"{Path(name).name}: {fault}" for name in arguments for fault in faults_of(Path(name))]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    if not faults:
        print(f"check-packages: {len(arguments)} in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
