"""No string that a user may meet says of a concept what no count of pictures can."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("erasure", "eval", "pipelines", "prompts")
CLAIM = re.compile(r"\b(gone|safe|safely|prov(?:e[sdn]?|en)|proof)\b", re.IGNORECASE)
ALLOWED = re.compile(r"processes is gone")
"""Said of a process of a team, which is a fact."""


def spoken(source: str, *, help_too: bool = False) -> Iterator[str]:
    """The strings of a source file that are no docstrings; of a command's file these too, as its
    help is one."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value)
        for inner in ast.walk(tree)
        if isinstance(body := getattr(inner, "body", None), list)  # a lambda's is no list
        for node in body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if help_too or id(node) not in docstrings:
                yield node.value


def claims(texts: Iterator[str]) -> list[str]:
    return [text for text in texts if CLAIM.search(ALLOWED.sub("", text))]


SOURCES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
PAGES = [p for p in sorted((ROOT / "pipelines").rglob("*")) if p.suffix in (".j2", ".js")]


def test_no_message_or_help_calls_a_concept_gone_safe_or_proved() -> None:
    found = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        found[path.name] = claims(spoken(text, help_too=path.parent.name == "commands"))
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_no_page_calls_a_concept_gone_safe_or_proved() -> None:
    assert len(PAGES) >= 5
    for path in PAGES:
        assert claims(iter(path.read_text(encoding="utf-8").splitlines())) == [], path


@pytest.mark.parametrize(
    "line", ['x = f"{concept} is gone"', 'raise E("proved safe")', 'f(help="Proves it.")']
)
def test_a_claim_is_seen(line: str) -> None:
    assert claims(spoken(line))


def test_a_docstring_and_a_lost_process_are_no_claims() -> None:
    assert not claims(spoken('def f():\n    """Safe to call."""\n    return "ok"'))
    assert not claims(spoken('x = f"another of the {n} processes is gone"'))
