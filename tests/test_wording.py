"""No string that a user may meet says of a concept what no count of pictures can."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.results.evaluated import evaluation

from eval.judges.judge import NOTHING
from eval.rates.unlearning_rates import unlearning_rates
from pipelines.evaluation.outcome.card import eval_results
from pipelines.evaluation.outcome.results_file import write_results
from pipelines.evaluation.outcome.verdict import verdict
from pipelines.evaluation.report.report import write_report
from pipelines.run.judging.cell_verdict import CellVerdict

ROOT = Path(__file__).parents[1]
PACKAGES = ("erasure", "eval", "pipelines", "prompts")
CLAIM = re.compile(
    r"\b(gone|safe|safely|prov(?:e[sdn]?|en)|proof|robust(?:ly|ness)?)\b", re.IGNORECASE
)
ALLOWED = re.compile(r"processes is gone")
"""Said of a process of a team, which is a fact."""
BOTH = re.compile(r"--[a-z-]+ \([a-z_]+=")
"""An option with its parameter behind it: the one or the other is of no use to who reads it."""


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
    claimed = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        claimed[path.name] = claims(spoken(text, help_too=path.parent.name == "commands"))
    assert {name: texts for name, texts in claimed.items() if texts} == {}


def closed_up(source: str) -> list[int]:
    """The lines that write a share as `51.3%`, where all else writes `51.3 %`."""
    specs = (getattr(node, "format_spec", None) for node in ast.walk(ast.parse(source)))
    return [spec.lineno for spec in specs if spec and ast.unparse(spec).rstrip("'\"").endswith("%")]


def test_a_share_is_written_in_one_form() -> None:
    files = {path.name: lines for path in SOURCES if (lines := closed_up(path.read_text("utf-8")))}
    # Names of arms in `audit.json`, and a value that programs read.
    assert sorted(files) == ["export_job.py", "inpainting.py", "pruning.py"]


def test_no_message_names_a_parameter_behind_its_option() -> None:
    both = {
        path.name: [text for text in spoken(path.read_text(encoding="utf-8")) if BOTH.search(text)]
        for path in SOURCES
    }
    assert {name: texts for name, texts in both.items() if texts} == {}
    assert BOTH.search("give another --out, or --force (force=True) to replace it")


def test_no_page_calls_a_concept_gone_safe_or_proved() -> None:
    assert len(PAGES) >= 5
    for path in PAGES:
        assert claims(iter(path.read_text(encoding="utf-8").splitlines())) == [], path


def written(folder: Path) -> Iterator[str]:
    """What an evaluation and a run say of themselves, in all of their states."""
    asked = [{"object": "church"}] * 30
    for seen in (0, 1, 10, 30):
        for other in ("castle", NOTHING):
            after = [{"object": "church" if n < seen else other} for n in range(30)]
            for before in (None, asked, after):
                rates = unlearning_rates(
                    asked, after, before, erased=("church",), head="object", rejecting=("object",)
                )
                yield verdict(("church",), rates, {}, [])
        yield CellVerdict(
            concept="church", judge="canvas", cells=30, before=30, after=seen, rejected=30 - seen
        ).said()
    results = evaluation(folder)
    write_results(results, folder)
    write_report(results, folder)
    yield from (path.read_text(encoding="utf-8") for path in folder.glob("*.*"))
    yield from (f"{one.metric_name}" for one in eval_results(results))


def test_no_generated_verdict_result_or_page_claims_what_was_not_tried(tmp_path: Path) -> None:
    texts = list(written(tmp_path))
    assert len(texts) > 30
    assert any("<html" in text for text in texts)
    assert claims(iter(texts)) == []
    assert all("not attacked" in text for text in texts if text.startswith("church "))


@pytest.mark.parametrize(
    "line",
    [
        'x = f"{concept} is gone"',
        'raise E("proved safe")',
        'f(help="Proves it.")',
        'x = "robustly erased"',
    ],
)
def test_a_claim_is_seen(line: str) -> None:
    assert claims(spoken(line))


def test_a_docstring_and_a_lost_process_are_no_claims() -> None:
    assert not claims(spoken('def f():\n    """Safe to call."""\n    return "ok"'))
    assert not claims(spoken('x = f"another of the {n} processes is gone"'))
