"""Who imports whom in a package, read from its sources without importing anything.

Imports inside functions and under ``TYPE_CHECKING`` count like all others: an arrow is an arrow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CYTHON_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+c?import\b|c?import[ \t]+([\w.]+))", re.M)


@dataclass
class Imports:
    """What one module imports: modules of its own package, and the top names of foreign ones."""

    own: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)


def read_package(root: Path) -> dict[str, Imports]:
    """Return the imports of every module of a package.

    The keys are the modules' names without the package's own.
    """
    package = root.name
    paths = [*root.rglob("*.py"), *root.rglob("*.pyx"), *root.rglob("*.pxd")]
    modules = {name_of(path, root) for path in paths}
    found: dict[str, Imports] = {}
    for path in sorted(paths):
        name = name_of(path, root)
        is_package = path.name == "__init__.py"
        imports = found.setdefault(name, Imports())
        for target in _targets(path, package, name, is_package):
            _note(imports, target, package, modules)
        imports.own.discard(name)
    return found


def name_of(path: Path, root: Path) -> str:
    """Return a module's dotted name below its package.

    "server.h1" for a file, "server" for a folder, "" for the package itself.
    """
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _note(imports: Imports, target: str, package: str, modules: set[str]) -> None:
    """Sort an absolute dotted target, which may end in the name of something inside a module."""
    if target != package and not target.startswith(f"{package}."):
        top = target.partition(".")[0]
        if top not in sys.stdlib_module_names:
            imports.foreign.add(top)
        return
    name = target[len(package) + 1 :]
    while name and name not in modules:
        name = name.rpartition(".")[0]
    imports.own.add(name)


def _targets(path: Path, package: str, name: str, is_package: bool) -> Iterator[str]:
    """Yield the absolute names that a source imports."""
    if path.suffix in (".pyx", ".pxd"):
        yield from _cython_targets(path.read_text(), package, name)
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level, package, name, is_package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _cython_targets(text: str, package: str, name: str) -> Iterator[str]:
    for match in _CYTHON_IMPORT.finditer(text):
        target = match[1] or match[2]
        level = len(target) - len(target.lstrip("."))
        if target.partition(".")[0] in ("cython", "libc", "cpython"):
            continue  # Cython's own
        yield absolute(target.lstrip("."), level, package, name, is_package=False)


def absolute(target: str, level: int, package: str, name: str, is_package: bool) -> str:
    """Resolve a relative import of a module."""
    if not level:
        return target
    parts = [package, *(name.split(".") if name else [])]
    kept = parts[: len(parts) - level + (1 if is_package else 0)]
    return ".".join([*kept, *([target] if target else [])])


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one cycle, the first again at its end; an empty list where there is none."""
    done: set[str] = set()

    def search(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            cycle = search(target, [*trail, name])
            if cycle:
                return cycle
        done.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := search(name, []))), [])
