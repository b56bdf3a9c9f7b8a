"""The documentation against the code: every Python snippet runs, and tables and pictures say what is there.

A snippet that makes no App has one, and Cello's names, at hand. Those of the quickstart go on with one
application. Calls of ``app.run(...)`` are checked as far as they can be without serving: arguments, config
classes, refusals. A ``text`` block of lines such as ``GET /users/7 -> 200 {"id": 7}`` behind a snippet is
asked of its application.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any
from unittest import mock

import pytest

import cello
from cello import App, config
from cello.cli import FLAGS
from cello.config import RunArguments
from cello.settings import Group, settings_of
from cello.sources.names import all_places
from cello.testing import TestClient
from ci import make_reference
from tests.kit.imports import read_package

ROOT = Path(__file__).resolve().parent.parent
CONTINUED = ("quickstart.md",)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = (RunArguments, *(getattr(config, name) for name in make_reference.CLASSES))

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASKED = re.compile(r"([A-Z]+) (/\S*)(?: (\{.*\}))? -> (\d{3})(?: (.+))?")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `([^`|]+)` \| ([^|]+) \|", re.MULTILINE)


@dataclass
class Snippet:
    """A Python block, where it stands, and what is asked of it behind."""

    place: str
    source: str
    asked: list[tuple[str, ...]] = field(default_factory=list)


def blocks_of(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the language, the text and the place of every fenced block."""
    text = page.read_text("utf-8")
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield found[1], found[2], f"{page.name}:{line}"


def snippets() -> Iterator[Snippet]:
    """Yield the snippets of all pages."""
    for page in PAGES:
        last: Snippet | None = None
        for language, text, place in blocks_of(page):
            if language == "python":
                before = ""
                if last is not None:
                    yield last
                    before = last.source if page.name in CONTINUED else ""
                last = Snippet(place, f"{before}{text}")
            elif language == "text" and last is not None:
                questions = [ASKED.fullmatch(line) for line in text.splitlines()]
                last.asked += [question.groups("") for question in questions if question is not None]
        if last is not None:
            yield last


SNIPPETS = list(snippets())


class _Runs(ast.NodeTransformer):
    """Turns ``app.run(...)`` into ``check_run(app, ...)``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.func) != "app.run":
            return node
        check = ast.Name("check_run", ast.Load())
        return ast.Call(check, [ast.Name("app", ast.Load()), *node.args], node.keywords)


def compiled(snippet: Snippet) -> CodeType:
    tree = ast.fix_missing_locations(_Runs().visit(ast.parse(snippet.source)))
    return compile(tree, snippet.place, "exec", dont_inherit=True)


def check_run(app: App, *args: Any, **kwargs: Any) -> None:
    """Do all that ``app.run`` does before it binds a socket."""
    given = inspect.signature(App.run).bind(app, *args, **kwargs).arguments
    app.resolve(
        RunArguments(**{name: value for name, value in given.items() if name not in ("self", "argv")})
    )


def run_snippet(snippet: Snippet) -> dict[str, Any]:
    """Execute a snippet as the module ``app`` that is run; returns its names."""
    module = ModuleType("app")
    names = module.__dict__
    names.update({name: getattr(cello, name) for name in cello.__all__ if not name.startswith("_")})
    names.update(__name__="__main__", check_run=check_run, app=App())
    with mock.patch.dict(sys.modules, app=module):
        exec(compiled(snippet), names)
    return names


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.place)
def test_snippet(snippet: Snippet) -> None:
    names = run_snippet(snippet)
    for name, function in names.items():
        if name.startswith("test_"):
            function()
    with TestClient(names["app"]) as client:
        for method, target, body, status, expected in snippet.asked:
            answer = client.request(method, target, json=json.loads(body) if body else None)
            told = f"{snippet.place}: {method} {target}"
            assert answer.status_code == int(status), told
            if expected.startswith("{"):
                assert answer.json() == json.loads(expected), told
            elif expected:
                assert answer.text == expected, told


def test_every_page_but_the_picture_has_snippets_and_something_is_asked() -> None:
    pages = {snippet.place.partition(":")[0] for snippet in SNIPPETS}
    assert pages >= {"README.md", "api.md", "configuration.md", "quickstart.md"}
    assert sum(len(snippet.asked) for snippet in SNIPPETS) >= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_looks_like_a_question_is_one(page: Path) -> None:
    for language, text, place in blocks_of(page):
        for line in text.splitlines() if language == "text" else ():
            assert (" -> " in line) == bool(ASKED.fullmatch(line)), f"{place}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, target


@pytest.mark.parametrize(
    "page", [make_reference.PAGE, make_reference.COMMAND_PAGE], ids=lambda page: page.name
)
def test_the_reference_is_made_from_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    is_fresh = make_reference.remade(text, page) == text
    assert is_fresh, f"docs/{page.name} and cello/config.py differ: run {make_reference.COMMAND}"


def test_the_table_of_sources_has_every_setting() -> None:
    """What is edited by hand between the marks is found, or the test above could not fail."""
    text = make_reference.COMMAND_PAGE.read_text("utf-8")
    for place in all_places().values():
        assert f"| `{place.variable}` | `{place.dotted}` |" in text
    edited = text.replace("CELLO_PORT` |", "CELLO_EDITED` |")
    assert edited != text
    assert make_reference.remade(edited, make_reference.COMMAND_PAGE) == text


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_field_has_its_row_between_the_marks(kind: type) -> None:
    """What is edited by hand between the marks is found, or the test above could not fail."""
    page = make_reference.remade(make_reference.PAGE.read_text("utf-8"))
    name = "run" if kind is RunArguments else kind.__name__
    opening, closing = make_reference.OPENING.format(name=name), make_reference.CLOSING.format(name=name)
    before, between, after = re.split(f"{re.escape(opening)}|{re.escape(closing)}", page)
    fields = [(each.name, shown(each.default)) for each in dataclasses.fields(kind)]
    assert [(row, default.replace('"', "'")) for row, default in ROW.findall(between)] == fields
    edited = f"{before}{opening}{between.replace(fields[-1][0], 'edited')}{closing}{after}"
    assert edited != page
    assert make_reference.remade(edited) == page
    with pytest.raises(ValueError, match=f"expected '<!-- {name}: made from"):
        make_reference.remade(page.replace(opening, ""))


def shown(default: object) -> str:
    return "required" if default is dataclasses.MISSING else f"`{default!r}`"


@pytest.mark.parametrize("method", [App.run, App.serve], ids=["run", "serve"])
def test_the_table_of_run_has_all_its_parameters(method: Callable[..., Any]) -> None:
    _, *parameters = inspect.signature(method).parameters.values()
    given = {each.name: each.default for each in parameters if each.name != "argv"}
    assert list(given.items()) == [(each.name, each.default) for each in dataclasses.fields(RunArguments)]
    assert "`argv`" in make_reference.PAGE.read_text("utf-8")


def test_every_plain_parameter_of_run_has_a_flag() -> None:
    plain = [each.name for each in settings_of(RunArguments) if not isinstance(each.kind, Group)]
    assert sorted(plain) == sorted(flag.setting.name for flag in FLAGS)


def test_meanings_are_plain_text() -> None:
    """They are shown on a terminal and in cells of tables."""
    for kind in CONFIGS:
        for setting in settings_of(kind):
            for text in filter(None, (setting.meaning, setting.none)):
                assert re.fullmatch(r"[^`|<>\n]+[^.\s]", text), f"{kind.__name__}.{setting.name}: {text}"


def test_classes_of_the_reference_are_those_of_run() -> None:
    groups = [each.kind.config for each in settings_of(RunArguments) if isinstance(each.kind, Group)]
    assert {group.__name__ for group in groups} == set(make_reference.CLASSES)


def modules_of_the_picture() -> list[str]:
    """Return the modules of the table of layers, from the lowest to the highest."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| L\d \| (?:`(\w+)/` )?\| ([^|]+) \|", text, re.MULTILINE)
    names = [f"{folder}.{name}" for folder, listed in rows for name in re.findall(r"`(\w+)`", listed)]
    return [name.removesuffix("__init__").strip(".") for name in names]


def test_the_picture_of_the_layers_is_true() -> None:
    imports = {name: found.own for name, found in read_package(ROOT / "cello").items()}
    compiled_ones = {name for name in imports if name.startswith("_speedups.") and not name.endswith("_py")}
    picture = modules_of_the_picture()
    assert sorted(picture) == sorted(set(imports) - compiled_ones)
    for place, name in enumerate(picture):
        higher = imports[name] & set(picture[place:])
        assert not higher, f"{name or 'cello'} imports {higher}, which do not stand before it"
