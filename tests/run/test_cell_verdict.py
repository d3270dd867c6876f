"""The last words of a run: in how many cells of its grid the concept is still recognised."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.console import erasure

from erasure import read_checkpoint
from eval.judges.judge import Guess, Judgement
from pipelines.run import cell_verdict
from pipelines.run.cell_verdict import CellVerdict, judge_cells
from pipelines.run.comparing import Comparison
from pipelines.run.models import DEMO_FOLDER
from prompts.concepts.concepts import plan_concept


@dataclass
class Eye:
    """Sees a church in what is red."""

    name: str = "canvas"

    def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
        seen = ["church" if image.getpixel((0, 0)) == (255, 0, 0) else "castle" for image in images]
        return [Judgement(guesses={"object": (Guess(label, 0.9),)}) for label in seen]


def drawn(colours: str) -> tuple[Image.Image, ...]:
    return tuple(Image.new("RGB", (8, 8), {"r": "red", "b": "blue"}[c]) for c in colours)


def compared(before: str, after: str) -> Comparison:
    """Two prompts by two seeds, the first of the concept."""
    grid: Any = None
    return Comparison(grid, ("a", "b"), (0, 1), drawn(before), drawn(after), (True, False))


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ("rrbb", "church is still recognised in 2 of 2 cells (before in 2, judge: canvas)"),
        ("brbb", "church is still recognised in 1 of 2 cells (before in 2, judge: canvas)"),
        ("bbrr", "church is not recognised in 2 of 2 cells (before in 2, judge: canvas)"),
    ],
)
def test_the_cells_that_ask_for_the_concept_are_counted(
    after: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_verdict, "open_canvas", Eye)
    plan = plan_concept("church", family="canvas")
    found = judge_cells(compared("rrbb", after), plan, read_checkpoint(DEMO_FOLDER))
    assert found.said() == wanted
    assert found.to_dict()["recognised_after"] == found.after == after[:2].count("r")


def test_where_nothing_can_judge_it_says_so() -> None:
    plan = plan_concept("church", family="canvas")
    demo = read_checkpoint(DEMO_FOLDER)
    other = replace(demo, description=replace(demo.description, model_index={}))
    found = judge_cells(compared("rrbb", "rrbb"), plan, other)
    assert "was not judged, as no judge was at hand; `erasure evaluate`" in found.said()
    assert found.to_dict()["recognised_after"] is None
    assert "no cell of the grid asks for it" in CellVerdict(concept="x", judge="canvas").said()


def test_a_run_says_what_is_still_recognised_and_not_that_it_erased(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    line = ("erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all")
    said = erasure(*line, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert "erased" not in told
    assert told["concept"] == "church"
    record = json.loads((tmp_path / "run" / "erasure.json").read_text(encoding="utf-8"))
    assert record["verdict"] == told["verdict"]
    assert "recognised" in told["verdict"]["sentence"]
