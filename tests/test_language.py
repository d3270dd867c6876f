"""Docstrings begin as sentences do, and names are nouns."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("erasure", "eval", "pipelines", "prompts", "tests", "benchmarks", "comfyui", "docs")
OF = re.compile(r"\s*of\b", re.IGNORECASE)
PARTICIPLES = frozenset(("found", "given", "kept", "told"))
PUBLISHED = {
    "erasure/methods/gradient/salun.py": {"kept"},
    "pipelines/audit/outcome/results.py": {"found"},
    "pipelines/audit/settings.py": {"kept"},
    "pipelines/audit/outcome/verdicts.py": {"found"},
}
"""Names that recipes and results have on disk: the setting `kept` of SalUn and of an audit, and the
entry `found` of an audit's results."""
MENTIONED = re.compile(rf"\b(?:{'|'.join(sorted(PARTICIPLES))})\b")
OPENED = re.compile(r"""["']\s*of\b""", re.IGNORECASE)
"""What the text of a module has where it can be wrong at all; the other modules are not parsed."""


@cache
def sources() -> dict[str, str]:
    """Path within the repository -> text of each module, those of tests and scripts too."""
    paths = [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def parsed(words: re.Pattern[str]) -> dict[str, ast.AST]:
    """The trees of the modules whose text has such words."""
    return {place: ast.parse(text) for place, text in sources().items() if words.search(text)}


def texts(tree: ast.AST) -> Iterator[str]:
    """The docstrings of modules, classes and functions, and those behind a field or a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                yield node.value.value


def names(tree: ast.AST) -> Iterator[str]:
    """The variables, parameters and attributes that the code binds."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.arg():
                yield node.arg
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.MatchAs(name=str()) | ast.MatchStar(name=str()):
                yield node.name or ""


def test_no_docstring_begins_with_of() -> None:
    begun = {
        place: [t for t in texts(tree) if OF.match(t)] for place, tree in parsed(OPENED).items()
    }
    assert {place: wrong for place, wrong in begun.items() if wrong} == {}


def test_no_variable_or_attribute_is_called_by_a_participle() -> None:
    called = {
        place: PARTICIPLES.intersection(names(tree)) - PUBLISHED.get(place, set())
        for place, tree in parsed(MENTIONED).items()
    }
    assert {place: wrong for place, wrong in called.items() if wrong} == {}


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """Of B prompts."""',
        'class A:\n    x: int = 0\n    """Of the rest."""',
        'X = 1\n"""Of a mask."""',
    ],
)
def test_a_docstring_that_begins_with_of_is_seen(source: str) -> None:
    assert any(OF.match(text) for text in texts(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for told in x: pass",
        "[kept for kept in x]",
        "if given := f(): pass",
        "def f(*, given): pass",
        "lambda told: 1",
        "class A:\n    found: int",
        "self.kept = 1",
        "match x:\n    case found: pass",
    ],
)
def test_a_name_that_is_a_participle_is_seen(source: str) -> None:
    assert PARTICIPLES.intersection(names(ast.parse(source)))
