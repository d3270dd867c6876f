"""An audit of a model that is told a class: what is asked, what is left out, what is refused."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models.tiny_labels import write_ddpm, write_index

from erasure.errors import CheckpointError, ConfigError
from eval.judges.clothes import open_clothes
from eval.judges.judge import Guess, Judgement
from pipelines.audit import workshop
from pipelines.audit.asking.asking import asking_of, concept_of, plan_of
from pipelines.audit.damage.looks import measure_of
from pipelines.audit.lines import open_lines
from pipelines.audit.outcome.results import Audit
from pipelines.audit.planning import Plan, tell_plan
from pipelines.audit.run import run_audit
from pipelines.audit.settings import AuditRecipe, recipe_for
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.models import open_model

ATTACKS = ("words", "rounding", "completion", "add-back", "soft-token", "relearning")
SETTINGS = (
    *("rounding.bits=[8]", "completion.levels=[0.9]"),
    *("add-back.shares=[0.0,1.0]", "relearning.marks=[1]", "relearning.learning_rate=1e-9"),
    *("soft-token.marks=[1]", "soft-token.batch_size=1"),
)


@dataclass
class Shades:
    """Calls a picture sneaker where it is as dark as the base's, and else shirt."""

    border: float
    darker: bool
    name: str = "shades"
    protocol: ClassVar[dict[str, float]] = {}
    labels: tuple[str, ...] = ("Shirt", "T-shirt", "sneaker", "lamp")

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        dark = [bool(np.asarray(one).mean() < self.border) == self.darker for one in images]
        order = {True: ("sneaker", "Shirt"), False: ("Shirt", "sneaker")}
        return [
            Judgement(guesses={"class": tuple(Guess(x, 0.5) for x in order[one])}) for one in dark
        ]


def lighter(folder: Path, by: float = 3.0) -> Path:
    """Write the same model with another last layer, so that all its pictures differ."""
    weights = write_ddpm(folder) / "unet" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["conv_out.bias"] = values["conv_out.bias"] + by
    save_file(values, weights, metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return write_ddpm(folder / "base"), lighter(folder / "audited")


def brightness(model: Path) -> float:
    painter = Painter(
        open_model(str(model)), DrawingConfig(steps=2, guidance=2.0), torch.device("cpu")
    )
    return float(np.mean([np.asarray(p) for p in painter.draw([Request("sneaker", 1)])]))


@pytest.fixture
def judge(models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Shades:
    base, audited = (brightness(model) for model in models)
    shades = Shades((base + audited) / 2, base < audited)
    monkeypatch.setattr(
        workshop,
        "cell_judge",
        lambda *_, **__: CellJudge(
            shades, "shades", lambda j: any(g[0].label == "sneaker" for g in j.guesses.values())
        ),
    )
    return shades


@pytest.fixture
def recipe(models: tuple[Path, Path]) -> AuditRecipe:
    return AuditRecipe(
        model=str(models[1]),
        concept="3",
        against=str(models[0]),
        kept=("Ankle Boot",),
        attacks=ATTACKS,
        settings=SETTINGS,
        budget=4,
        cases=2,
        confirm=3,
        shown=2,
        without=3,
        damage="small",
        steps=2,
        guidance=2.0,
        device="cpu",
    )


def run(recipe: AuditRecipe, out: Path, **more: Any) -> Audit | Plan | None:  # noqa: ANN401
    return run_audit(recipe, out, force=False, reporter=Reporter(quiet=True), **more)


def test_it_asks_by_the_class_and_leaves_out_what_puts_words_in(
    recipe: AuditRecipe, judge: Shades, tmp_path: Path
) -> None:
    audit = run(recipe, tmp_path / "out")
    assert isinstance(audit, Audit)
    assert audit.concept == "sneaker"
    assert "kept-ankle boot" in audit.models
    records = {record.name: record for record in audit.attacks}
    assert records["words"].verdict.state == "no test"
    assert "told a class and reads no text" in records["words"].verdict.why
    for name in set(ATTACKS) - {"words"}:
        hits = records[name].lines["base"].found
        assert hits is not None, name
        assert hits.share == 1, name
        assert "kept-ankle boot" in records[name].lines
    assert records["rounding"].lines["audited"].found.count == 0  # type: ignore[union-attr]
    assert records["add-back"].strongest == "share 1"
    assert {find["prompt"] for record in audit.attacks for find in record.finds} <= {"sneaker", ""}
    texts = audit.traces["audited"]["losses"]["concept"]
    assert set(texts) == {"null", "own prompt", "replacement"}
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "told a class" in page
    assert "add-back" in (tmp_path / "out" / "attacks.csv").read_text(encoding="utf-8")


def test_what_else_was_lost_is_asked_of_other_classes_and_the_rest_is_named(
    recipe: AuditRecipe, judge: Shades, tmp_path: Path
) -> None:
    audit = run(replace(recipe, attacks=("seeds",), settings=()), tmp_path / "out")
    assert isinstance(audit, Audit)
    drops = audit.damage["neighbours"]["text"]["drops"]
    assert {one["group"] for one in drops} == {"Shirt", "T-shirt"}  # a lamp is no class of it
    assert audit.damage["instead"]["audited"]["shares"]["Shirt"]["share"] == 1
    assert audit.damage["companions"] is None
    left = [text for text in audit.not_tested if text.startswith("what else was lost")]
    assert any("companions: the model is told one class a picture" in text for text in left)
    assert any("attributes: the judge tells none" in text for text in left)


def test_a_second_run_reads_everything_by_name_or_number(
    recipe: AuditRecipe, judge: Shades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = replace(recipe, attacks=("seeds", "completion"), settings=("seeds.draws=2",))

    def result() -> Any:  # noqa: ANN401
        values = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
        return [one["arms"] for one in values["attacks"]], values["damage"]

    run(some, tmp_path / "out")
    first = result()

    def never(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        raise AssertionError("everything is there already")

    monkeypatch.setattr(Painter, "paint", never)
    run_audit(
        replace(some, concept="sneaker", kept=("2",)),
        tmp_path / "out",
        force=True,
        reporter=Reporter(quiet=True),
    )
    assert result() == first


def test_a_plan_prices_nothing_that_cannot_be_run(
    recipe: AuditRecipe, judge: Shades, tmp_path: Path
) -> None:
    plan = run(recipe, tmp_path / "out", dry=True)
    assert isinstance(plan, Plan)
    assert plan.estimate("words").draws == 0
    assert plan.estimate("rounding").draws > 0
    said = next(text for text in tell_plan(plan) if text.startswith("words"))
    assert said.startswith("words: left out, as class-conditional DDPM is told a class")
    assert not (tmp_path / "out").exists()


def test_options_that_are_of_words_are_refused_before_anything_is_drawn(
    recipe: AuditRecipe, judge: Shades, tmp_path: Path
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("prompt\na shoe\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="a table of prompts, and this model is told a class"):
        run(replace(recipe, wordings=(str(table),)), tmp_path / "out")
    with pytest.raises(ConfigError, match="reads prompts, and this model is told a class"):
        run(replace(recipe, guard="prompt-filter"), tmp_path / "out")
    with pytest.raises(ConfigError, match="reads no text such as 'church'"):
        run(replace(recipe, concept="church"), tmp_path / "out")
    with pytest.raises(ConfigError, match="the label '4' is out of range"):
        run(replace(recipe, kept=("4",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_base_that_calls_its_classes_otherwise_is_refused(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = lighter(tmp_path / "other", by=1.0)
    names = ["T-shirt", "shirt", "sneaker", "ankle boot"]
    write_index(other, id2label={str(n): name for n, name in enumerate(names)})
    with pytest.raises(CheckpointError, match="calls class 2 'sneaker', and the audited model 'an"):
        open_lines(replace(recipe, against=str(other)))


def test_a_class_whose_name_holds_another_is_asked_for_all_the_same(
    models: tuple[Path, Path], recipe: AuditRecipe
) -> None:
    plan = plan_of(open_model(str(models[0])), "shirt")
    made = concept_of(recipe, plan, trained_on=())
    assert made.prompts == ("shirt",)
    assert made.others == ("T-shirt", "ankle boot", "sneaker")
    assert made.replacement == "ankle boot"  # the next
    assert asking_of(plan).instead("SNEAKER") == ["sneaker"]
    assert asking_of(plan).instead("shirt") == []


def test_it_is_drawn_as_a_comparison_draws_it() -> None:
    made = recipe_for({"model": "ddpm-demo", "concept": "sneaker"})
    assert (made.steps, made.guidance, made.batch_size) == (25, 3.0, 48)
    other = recipe_for({"model": "ddpm-demo", "concept": "sneaker", "steps": 9, "guidance": 2.0})
    assert (other.steps, other.guidance) == (9, 2.0)


def test_pictures_of_clothes_are_measured_by_their_own_classifier() -> None:
    extractor = measure_of(open_clothes()).extractor
    assert extractor is not None
    images = [Image.new("RGB", (32, 32), (n, n, n)) for n in (0, 90, 255)]
    rows = extractor(images)
    assert rows.shape == (3, 96)
    torch.testing.assert_close(extractor(images[1:2]), rows[1:2])
