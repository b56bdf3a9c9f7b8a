"""The plan of the house, asserted: who may import whom, who is at home where, what is compiled.

docs/architecture.md has the picture; LEVELS is the same in names, lowest first. A module imports only from
lower levels, or from lower files of its own level, so that no two modules need each other.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cello
from tests.kit.imports import Imports, find_cycle, read_package

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(cello.__file__).resolve().parent
SPEEDUPS = PACKAGE / "_speedups"

LEVELS: list[set[str]] = [
    {"errors", "checks", "places", "status", "types", "_version"},
    {"_speedups"},
    {
        *("headers", "json_codec", "negotiation", "cookies", "forms", "problems", "request", "response"),
        "pages",
        *("returns", "logs"),
    },
    {
        "paths",
        "routing",
        "signatures",
        "hints",
        "threads",
        "lanes",
        "pieces",
        "debug_page",
        "health",
        "middleware",
        "middlewares",
        "lifespan",
        "dispatch",
    },
    {"settings", "config", "cpus", "options"},
    {"sources"},
    {"server"},
    {"testing"},
    {"cluster"},
    {"cli", "serving"},
    {"app", ""},
    {"command", "__main__"},
]

HOMES: dict[str, set[str]] = {
    "httptools": {"server.h1"},
    "h2": {"server.h2"},
    "aioquic": {"server.h3", "server.quic"},
    "uvloop": {"server.worker"},
    "winloop": {"server.worker"},
    "watchfiles": {"cluster.reload"},
    "msgspec": {"json_codec"},
    "multidict": {"forms"},
    "brotli": {"middlewares.codings"},
    "compression": {"middlewares.codings"},  # the standard library's, from Python 3.14 on
    "isal": {"middlewares.codings"},
    "zstandard": {"middlewares.codings"},
}

IMPORTS = read_package(PACKAGE)
IS_PURE_RUN = os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0")
HAS_COMPILED = any(SPEEDUPS.glob("*_c.*.so")) or any(SPEEDUPS.glob("*_c.*.pyd"))


def level_of(name: str) -> int:
    """Return the level of a module; the modules of a package share its level."""
    top = name.partition(".")[0]
    found = [number for number, names in enumerate(LEVELS) if top in names]
    assert len(found) == 1, f"cello.{name} stands in {len(found)} levels: give it its place in LEVELS"
    return found[0]


# --- arrows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(IMPORTS), ids=lambda name: name or "cello")
def test_imports_point_downwards(name: str) -> None:
    upwards = {target for target in IMPORTS[name].own if level_of(target) > level_of(name)}
    assert not upwards, f"cello.{name} (level {level_of(name)}) imports from above: {sorted(upwards)}"


def test_no_cycle() -> None:
    assert find_cycle({name: imports.own for name, imports in IMPORTS.items()}) == []


def test_every_named_module_is_there_or_yet_to_come() -> None:
    known = {name.partition(".")[0] for name in IMPORTS}
    assert set().union(*LEVELS) - known <= {"__main__"}


def test_the_server_knows_no_application() -> None:
    for name in IMPORTS:
        if name.startswith("server"):
            assert not IMPORTS[name].own & {"app", "", "cli", "testing"}


@pytest.mark.parametrize("name", sorted(IMPORTS), ids=lambda name: name or "cello")
def test_third_party_libraries_have_one_home(name: str) -> None:
    for library in IMPORTS[name].foreign:
        assert name in HOMES.get(library, set()), f"cello.{name} imports {library}: {HOMES.get(library)}"


def test_the_homes_are_lived_in() -> None:
    for library in ("httptools", "msgspec", "multidict", "uvloop"):
        assert any(library in imports.foreign for imports in IMPORTS.values()), library


def test_reader_of_imports(tmp_path: Path) -> None:
    """The reader itself sees imports of every form, or all of the above could not fail."""
    package = tmp_path / "house"
    (package / "inner").mkdir(parents=True)
    sources = {
        "__init__.py": "from .top import x",
        "top.py": "def f():\n    from . import low\n    import numpy.linalg, os.path",
        "low.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.inner.deep import Y",
        "inner/__init__.py": "from .deep import Y",
        "inner/deep.py": "from ..low import Z\nfrom .. import _x",
        "inner/fast.pyx": "from libc.math cimport e\nfrom ..top import x\nfrom .deep cimport Y\nimport yaml",
        "inner/words.pxd": "cimport cython\nfrom house.low cimport z",
    }
    for name, text in sources.items():
        (package / name).write_text(text)
    assert read_package(package) == {
        "": Imports({"top"}),
        "top": Imports({"low"}, {"numpy"}),
        "low": Imports({"inner.deep"}),
        "inner": Imports({"inner.deep"}),
        "inner.deep": Imports({"low", ""}),
        "inner.fast": Imports({"top", "inner.deep"}, {"yaml"}),
        "inner.words": Imports({"low"}),
    }
    graph = {name: imports.own for name, imports in read_package(package).items()}
    assert find_cycle(graph) == ["", "top", "low", "inner.deep", ""]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


# --- twins -------------------------------------------------------------------------------------------------


def listed(name: str) -> tuple[str, ...]:
    """Return a tuple of names that setup.py assigns."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == name
        ):
            return tuple(ast.literal_eval(node.value))
    raise AssertionError(f"setup.py assigns no {name}")


SAME_SOURCE, WRITTEN_TWICE = listed("SAME_SOURCE"), listed("WRITTEN_TWICE")


def holds_constants_alone(path: Path) -> bool:
    """Tell whether a module has no code to which a .pxd could give types."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return not any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


def test_every_pure_module_has_its_twin_in_setup() -> None:
    pure = {path.name.removesuffix("_py.py") for path in SPEEDUPS.glob("*_py.py")}
    assert pure == {*SAME_SOURCE, *WRITTEN_TWICE}
    assert len(pure) == len(SAME_SOURCE) + len(WRITTEN_TWICE)
    assert {path.name for path in SPEEDUPS.glob("*.py")} == {f"{name}_py.py" for name in pure} | {
        "__init__.py"
    }


def test_each_kind_of_twin_has_its_sources() -> None:
    written_twice = {path.name.removesuffix("_c.pyx") for path in SPEEDUPS.glob("*.pyx")}
    assert written_twice == set(WRITTEN_TWICE)
    for name in SAME_SOURCE:
        is_typed = (SPEEDUPS / f"{name}_c.pxd").exists()
        assert is_typed or holds_constants_alone(SPEEDUPS / f"{name}_py.py"), name
    typed = {path.name.removesuffix("_c.pxd") for path in SPEEDUPS.glob("*_c.pxd")}
    assert typed <= {*SAME_SOURCE, *WRITTEN_TWICE}


def test_no_compiled_module_is_left_over_or_beside_its_source() -> None:
    compiled = {path.name.partition(".")[0] for path in PACKAGE.rglob("*") if path.suffix in (".so", ".pyd")}
    assert compiled <= {f"{name}_c" for name in (*SAME_SOURCE, *WRITTEN_TWICE)}
    assert not compiled & {path.stem for path in PACKAGE.rglob("*.py")}
    assert not list(PACKAGE.rglob("*.pyi"))


def test_selector_takes_the_same_names_from_either_twin() -> None:
    """All of one implementation or all of the other, never a mixture."""
    names: dict[str, dict[str, set[str]]] = {"py": {}, "c": {}}
    for node in ast.walk(ast.parse((SPEEDUPS / "__init__.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            stem, _, kind = (node.module or "").rpartition("_")
            names[kind][stem] = {alias.name for alias in node.names}
    assert names["py"] == names["c"]
    exported = set().union(*names["py"].values()) | {"IMPLEMENTATION", "WHY_PURE"}
    assert set(cello._speedups.__all__) == exported


def test_pure_modules_import_their_pure_siblings_alone() -> None:
    for name, imports in IMPORTS.items():
        if name.startswith("_speedups.") and name.endswith("_py"):
            assert all(not target.endswith("_c") for target in imports.own), name
        if name.startswith("_speedups.") and name.endswith("_c"):
            assert all(not target.endswith("_py") for target in imports.own), name


def test_only_the_selector_chooses_and_reads_the_variable() -> None:
    chooser = re.compile(r"_speedups\.\w+_(py|c)\b|from \._speedups\.|environ.*CELLO_NO_EXTENSIONS")
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.parent != SPEEDUPS and chooser.search(path.read_text())
    }
    assert found == set()
    readers = [path.name for path in SPEEDUPS.glob("*.py") if "CELLO_NO_EXTENSIONS" in path.read_text()]
    assert readers == ["__init__.py"]


# --- what a process loads ----------------------------------------------------------------------------------

SERVE_ONE_REQUEST = """
import urllib.request
from cello import App
from cello.testing import live_server

app = App()

@app.get("/{name}")
def index(request):
    return {"name": request.params["name"], "q": request.query.get("q")}

with live_server(app, env="production") as server:
    with urllib.request.urlopen(server.url + "/ada?q=1") as answer:
        assert answer.read() == b'{"name":"ada","q":"1"}'
"""

SHOW_LOADED = """
import sys, cello
print(cello.IMPLEMENTATION)
for name, module in sorted(sys.modules.items()):
    print(name, getattr(module, "__file__", None) or "-")
"""


def loaded_by(script: str, no_extensions: str | None = None) -> tuple[str, dict[str, str]]:
    """Run a script in a fresh interpreter.

    Returns the implementation that it used, and the modules that it loaded with their files.
    """
    environment = {name: value for name, value in os.environ.items() if name != "CELLO_NO_EXTENSIONS"}
    if no_extensions is not None:
        environment["CELLO_NO_EXTENSIONS"] = no_extensions
    environment["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + SHOW_LOADED],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    implementation, *lines = done.stdout.splitlines()
    modules = dict(line.split(" ", 1) for line in lines)
    assert modules["cello"] == str(PACKAGE / "__init__.py")
    return implementation, modules


def compiled_among(modules: dict[str, str]) -> set[str]:
    return {
        name
        for name, file in modules.items()
        if name.startswith("cello") and (file.endswith((".so", ".pyd")) or name.endswith("_c"))
    }


@pytest.mark.parametrize("script", ["", SERVE_ONE_REQUEST], ids=["import", "serve"])
def test_a_plain_server_loads_no_other_protocol(script: str) -> None:
    _, modules = loaded_by(script, "1" if IS_PURE_RUN else None)
    loaded = {name.partition(".")[0] for name in modules}
    assert not loaded & {
        "h2",
        "hpack",
        "hyperframe",
        "aioquic",
        "cryptography",
        "watchfiles",
        "httpx",
        "pydantic",
    }
    assert ("httptools" in loaded) == bool(script)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_no_extensions_means_no_compiled_module(value: str) -> None:
    implementation, modules = loaded_by(SERVE_ONE_REQUEST, value)
    assert implementation == "pure"
    assert compiled_among(modules) == set()
    assert {f"cello._speedups.{name}_py" for name in (*SAME_SOURCE, *WRITTEN_TWICE)} <= set(modules)


@pytest.mark.skipif(IS_PURE_RUN and not HAS_COMPILED, reason="installed without extensions")
@pytest.mark.parametrize("value", [None, "", "0"])
def test_compiled_modules_are_taken_whole(value: str | None) -> None:
    implementation, modules = loaded_by(SERVE_ONE_REQUEST, value)
    assert implementation == "compiled"
    assert compiled_among(modules) == {f"cello._speedups.{name}_c" for name in (*SAME_SOURCE, *WRITTEN_TWICE)}
    assert not [name for name in modules if name.startswith("cello._speedups.") and name.endswith("_py")]


def test_this_run_tests_what_it_says() -> None:
    expected = "pure" if IS_PURE_RUN else "compiled"
    assert expected == cello.IMPLEMENTATION
