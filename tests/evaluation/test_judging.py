"""What judges said of pictures is kept, and taken again where it is the same question."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.judges.canvas import open_canvas
from eval.judges.judge import Guess, Judgement
from eval.judges.transformers_judge import TransformersJudge
from pipelines.evaluation.judging import judge_drawn
from pipelines.evaluation.manifest import Drawn
from pipelines.evaluation.opening import RenamedJudge, known_labels, require_named
from pipelines.evaluation.scoring import Seen, prompt_rates
from pipelines.process.progress import Reporter
from prompts.suites.case import PromptCase, PromptSet

QUIET = Reporter(quiet=True)


@pytest.fixture
def drawn(tmp_path: Path) -> list[Drawn]:
    """One picture in a folder of an evaluation."""
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    return [Drawn(PromptCase(case="a", prompt="x", seed=0), "a.png", digest, "ok")]


def sure(images: Sequence[Image.Image]) -> Tensor:
    return torch.tensor([[1.0, 0.0]] * len(images))


def said(judge: TransformersJudge | RenamedJudge, drawn: list[Drawn], folder: Path) -> Judgement:
    (judgement,) = judge_drawn(drawn, judge, folder, name="after", reporter=QUIET)
    assert judgement is not None
    return judgement


def test_a_model_asked_for_another_kind_of_label_judges_again(
    drawn: list[Drawn], tmp_path: Path
) -> None:
    model = TransformersJudge("clip", {"model": "clip"}, ("church", "dog"), sure)
    assert said(model, drawn, tmp_path).guesses.keys() == {"class"}
    for head in ("object", "style"):
        assert said(replace(model, head=head), drawn, tmp_path).guesses.keys() == {head}

    def none(images: Sequence[Image.Image]) -> Tensor:
        raise AssertionError("it looked again")

    for head in ("class", "object", "style"):  # each has its own file
        again = replace(model, head=head, probabilities=none)
        assert said(again, drawn, tmp_path).guesses.keys() == {head}


def test_labels_by_other_names_are_judged_again(drawn: list[Drawn], tmp_path: Path) -> None:
    model = TransformersJudge("net", {"model": "net"}, ("chainsaw", "dog"), sure)
    assert said(model, drawn, tmp_path).guesses["class"][0].label == "chainsaw"
    renamed = RenamedJudge(model, {"chainsaw": "chain saw"})
    assert said(renamed, drawn, tmp_path).guesses["class"][0] == Guess("chain saw", 1.0)


def test_a_picture_that_the_base_could_not_draw_is_no_miss_of_its_prompt() -> None:
    cases = [
        PromptCase(case=str(seed), prompt="a church", seed=seed, labels={"object": "church"})
        for seed in range(3)
    ]
    church = {"object": "church"}
    (rate,) = prompt_rates(cases, Seen([church] * 3, [church, None, church], {"object": "canvas"}))
    assert (rate.total, rate.heads["object"].after, rate.heads["object"].before) == (2, 2, 2)


def shown(*labels: str, head: str = "object") -> PromptSet:
    """Prompts with a label each."""
    cases = [
        PromptCase(case=str(n), prompt="x", seed=n, labels={head: label})
        for n, label in enumerate(labels)
    ]
    return PromptSet(name="csv", source="a.csv", cases=cases, heads=(head,))


def test_labels_that_the_judge_does_not_know_are_refused_or_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    judges = {"canvas": open_canvas()}
    require_named(judges, shown("church", "dog"), ["church"])
    require_named(judges, shown("Fire", head="class"), [])  # the canvas says nothing of classes
    assert not caplog.records
    with pytest.raises(EvalError, match=r"no object 'Church' and .*the nearest is church"):
        require_named(judges, shown("Church", "dog"), ["Church"])
    with pytest.raises(EvalError, match="has no object 'Dog'"):
        require_named(judges, shown("Dog", "Cat"), [])
    require_named(judges, shown("church", "Dog"), ["church"])
    assert "has no object 'Dog'" in caplog.text
    assert "1 of 2" in caplog.text


def test_the_labels_of_a_renamed_judge_are_those_of_the_suite() -> None:
    model = TransformersJudge("net", {"model": "net"}, ("chainsaw", "dog"), sure)
    known = known_labels(RenamedJudge(model, {"chainsaw": "chain saw"}))
    assert known == {"class": ("chain saw", "dog")}
