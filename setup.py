"""The extension list alone; all else about the package stands in pyproject.toml.

Two kinds of compiled modules (docs/architecture.md, "Twins"):

* *same source*: ``x_py.py`` is compiled a second time as ``x_c`` under the types of ``x_c.pxd``;
* *written twice*: ``x_c.pyx`` beside its pure twin ``x_py.py``.

Sources are laid out in ``build/cython`` first, so that no ``.so`` ever stands beside a ``.py`` of the same
name. ``CELLO_NO_EXTENSIONS=1`` builds without any of them.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SAME_SOURCE = (
    "states",
    "headers",
    "query",
    "request",
    "request_log",
    "stream",
    "evidence",
    "filters",
    "dispatch",
    "h1_rules",
    "h1_chunks",
    "h1_reader",
    "h1_send",
    "h1",
)
WRITTEN_TWICE = ("octets", "wire", "heads", "calls", "router", "log_lines")

SOURCE = Path("cello/_speedups")
STAGE = Path("build/cython/cello/_speedups")

WAY_OUT = """
cello: compiling the extension modules failed (the compiler's own message stands above).
Either install a C compiler and the Python headers (Debian: apt-get install gcc python3-dev),
or build without them: CELLO_NO_EXTENSIONS=1 pip install ...
The pure-Python implementation behaves the same and is slower.
"""


class BuildExtensions(build_ext):
    """build_ext that says the way out when a compile fails, and still fails."""

    def run(self):
        try:
            super().run()
        except Exception:
            print(WAY_OUT, flush=True)
            raise


def write_if_changed(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def stage_sources():
    STAGE.mkdir(parents=True, exist_ok=True)
    for package in (STAGE, STAGE.parent):
        write_if_changed(package / "__init__.py", "")
    sources = {path.name: path for path in [*SOURCE.glob("*.pxd"), *SOURCE.glob("*.pyx")]}
    compiled_twice = {f"{name}_c.py": SOURCE / f"{name}_py.py" for name in SAME_SOURCE}
    for path in STAGE.iterdir():
        # What an earlier version staged would be found before what this one has.
        is_wanted = path.name in {*sources, *compiled_twice, "__init__.py"}
        if path.suffix in (".py", ".pyx", ".pxd") and not is_wanted:
            path.unlink()
    for name, path in compiled_twice.items():
        # A compiled module binds to its compiled siblings.
        text = re.sub(r"^from \.(\w+)_py import", r"from .\1_c import", path.read_text(), flags=re.M)
        write_if_changed(STAGE / name, text)
    for name, path in sources.items():
        if not (STAGE / name).exists() or (STAGE / name).read_bytes() != path.read_bytes():
            shutil.copyfile(path, STAGE / name)


def extensions():
    if os.environ.get("CELLO_NO_EXTENSIONS", "") not in ("", "0"):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError as exc:
        raise SystemExit(
            f"cello: Cython is needed to compile the extension modules ({exc}).{WAY_OUT}"
        ) from exc

    stage_sources()
    gnu = ["-O3", "-g0", "-fno-semantic-interposition", "-fno-plt", "-Wno-unused-function"]
    flags = ["/O2"] if os.name == "nt" else gnu
    modules = [(name, f"{name}_c.py") for name in SAME_SOURCE]
    modules += [(name, f"{name}_c.pyx") for name in WRITTEN_TWICE]
    return cythonize(
        [
            Extension(f"cello._speedups.{name}_c", [str(STAGE / file)], extra_compile_args=flags)
            for name, file in modules
        ],
        include_path=["build/cython"],
        compiler_directives={
            "language_level": 3,
            "binding": False,  # bound C methods: a call from httptools or the loop costs a third
            "annotation_typing": False,  # types come from the .pxd alone
            "auto_pickle": False,
            "freethreading_compatible": False,
        },
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
