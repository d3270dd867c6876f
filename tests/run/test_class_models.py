"""The commands' own halves on models that are told classes: recipes, judges, grids, refusals."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.console import erasure
from support.models.tiny_labels import CLASSES, write_ddpm
from support.tiny import CPU

from erasure.architectures.labels.classes import Classes
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import ConfigError
from eval.judges.clothes import open_clothes
from pipelines.configs.resolving import resolve
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.data.class_names import with_class_names
from pipelines.data.prompt_checks import check_plan, warn_of_prompts
from pipelines.drawing.generation import draw_all
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.comparing import compare
from pipelines.run.judging.cell_judge import cell_judge
from pipelines.run.models import open_model, own_judge
from pipelines.run.run_result import grid_prompts
from prompts.clothes import CLOTHES
from prompts.concepts.concepts import plan_concept

NAMES = Classes(CLASSES, len(CLASSES))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_ddpm(tmp_path_factory.mktemp("classes") / "model"))


def test_a_recipe_may_name_classes_by_number_and_in_any_case() -> None:
    recipe = EraseRecipe(concept="3", concepts=("Ankle Boot",), instead="t-shirt")
    made = with_class_names(recipe, NAMES)
    assert (made.names, made.instead) == (("sneaker", "ankle boot"), "T-shirt")
    assert with_class_names(EraseRecipe(concept="1", instead="any"), NAMES).instead == "any"
    assert with_class_names(recipe, None) is recipe
    with pytest.raises(ConfigError, match="the label '4' is out of range"):
        with_class_names(EraseRecipe(concept="4"), NAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "the guided saliency loss cannot be measured; give --saliency-loss plain"),
        (("--saliency-loss", "plain"), ""),
        (("--method", "esd"), "choose a method that learns from pictures"),
        (("--saliency-loss", "plain", "--set", "data.drawing.guidance=3"), "leave it out"),
    ],
)
def test_a_model_without_a_label_for_no_class_is_erased_without_guidance(
    options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    model = write_ddpm(tmp_path / "model", num_class_embeds=len(CLASSES))
    said = erasure(
        *("erase", model, "--concept", "sneaker", "--steps", 1, "--batch-size", 2, "--seeds", 0),
        *("--set", "grid.drawing.steps=1", "--device", "cpu", "--cache", tmp_path / "cache"),
        *("--set", "warmup=0", "--out", tmp_path / "run", *options),
        *(() if "esd" in options else ("--forget-drawn", 2, "--retain-drawn", 2)),
        *(() if "esd" in options else ("--set", "data.drawing.steps=1")),
    )
    assert said.code == (2 if words else 0), said.err
    assert words in said.err
    assert (tmp_path / "run").exists() is not bool(words)


def test_a_recipe_of_a_model_of_labels_has_defaults_of_its_own() -> None:
    made = resolve({"concept": "sneaker"}, canvas=False, labels=True, guidance=3.0)
    assert made.saliency.guidance_scale == made.data.drawing.guidance == 3.0
    assert made.training is not None
    assert made.training.steps == 150


def test_the_grid_shows_classes_from_all_of_the_list_and_not_the_first_ones() -> None:
    plan = plan_concept("sneaker", family="general", labels=CLOTHES)
    assert grid_prompts(plan) == ("sneaker", "T-shirt", "trouser", "dress", "sandal", "bag")
    # A long list keeps whole steps, so that a grid of text prompts is the one that it was.
    many = replace(plan, retain=tuple(map(str, range(14))))
    assert grid_prompts(many)[1:] == ("0", "2", "4", "6", "8")


def test_a_prompt_that_is_no_class_is_refused_before_anything_is_drawn(model: Checkpoint) -> None:
    check_plan(plan_concept("shirt", family="general", labels=CLASSES), model)
    with pytest.raises(ConfigError, match="reads no text such as 'an image of a church'"):
        check_plan(plan_concept("church", family="general"), model)
    with pytest.raises(ConfigError, match="reads no text such as 'a photo'"):
        warn_of_prompts("prompts", ["shirt", "a photo"], model)


def test_a_class_whose_name_holds_another_is_not_marked_as_erased(model: Checkpoint) -> None:
    made = compare(
        model,
        model,
        ["shirt", "T-shirt"],
        [0],
        erased=["shirt"],
        drawing=DrawingConfig(steps=2, guidance=1.0),
        device=CPU,
        reporter=Reporter(quiet=True),
    )
    assert made.marked == (True, False)


def test_the_embedded_model_draws_what_its_own_judge_sees() -> None:
    checkpoint = open_model("ddpm-demo")
    assert checkpoint.classes == Classes(CLOTHES, len(CLOTHES))
    assert own_judge(checkpoint) == "clothes"
    requests = [Request(name, 0) for name in ("bag", "trouser", "ankle boot")]
    images = draw_all(checkpoint, requests, DrawingConfig(steps=25, guidance=3.0), CPU)
    seen = [judgement.guesses["class"][0].label for judgement in open_clothes()(images)]
    assert seen == ["bag", "trouser", "ankle boot"]
    plan = plan_concept("bag", family="general", labels=CLOTHES)
    judge = cell_judge(EraseRecipe(concept="bag"), plan, own="clothes")
    assert judge is not None
    assert [judge.recognises(one) for one in judge.judge(images)] == [True, False, False]


def test_the_embedded_weights_are_of_half_precision_and_below_five_megabytes() -> None:
    checkpoint = open_model("ddpm-demo")
    assert {weight.dtype for weight in checkpoint.network.values()} == {torch.float16}
    file = checkpoint.path / "unet" / "diffusion_pytorch_model.safetensors"
    assert file.stat().st_size <= 5_000_000
    assert Path(checkpoint.path, "README.md").is_file()
