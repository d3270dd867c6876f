"""Plans for cards and models that are not here: counted, fitted, and said to be computed."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import shipped_description
from erasure.errors import ConfigError
from erasure.memory_bill import PROCESS
from pipelines.configs.resolving import resolve
from pipelines.configs.settings import EraseRecipe
from pipelines.early import FAMILIES
from pipelines.planning import fit as fitting
from pipelines.planning.bill import Bill, Planner
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import Budget, budget_of, fitted, summed_where_they_fit
from pipelines.planning.shapes import is_not_here, shapes_of
from prompts.concepts.concepts import plan_concept

CARD = torch.device("cuda")
PARAMETERS = {
    "sd1": 859_520_964,
    "sd2": 865_910_724,
    "sdxl": 2_567_463_684,
    "sd3": 2.03e9,
    "sd35_medium": 2.24e9,
    "sd35_large": 8.06e9,
    "flux_dev": 11.90e9,
    "flux_schnell": 11.89e9,
}
"""Weights of the main component, as published; exact where that is known here."""


@cache
def planner_of(family: str, *, apart: bool = True) -> Planner:
    return Planner(
        checkpoint=shapes_of(family, None),
        plan=plan_concept("church", family="general"),
        mask=None,
        apart=apart,
    )


def recipe_of(family: str, **tables: Any) -> EraseRecipe:  # noqa: ANN401
    scopes = ARCHITECTURES[family].scope_defaults
    guided = ARCHITECTURES[family].guidance_kind == "true"
    saliency = {"loss": "guided" if guided else "plain", **tables.pop("saliency", {})}
    settings = {"model": family, "concept": "church", "density": 0.01, "saliency": saliency}
    return resolve({**settings, **tables}, canvas=False, scopes=scopes)


def held(bill: Bill, stage: str) -> Mapping[str, int]:
    (single,) = [one for one in bill.stages if one.name == stage]
    return {part.what: part.size for part in single.held}


def test_the_families_that_can_be_planned_for_are_all_there_are() -> None:
    assert set(FAMILIES) <= set(ARCHITECTURES)
    assert set(PARAMETERS) == set(FAMILIES)


@pytest.mark.default("sd1", "sd2", "sd3")
@pytest.mark.parametrize("family", PARAMETERS)
def test_the_shapes_of_a_plan_are_those_of_the_network_without_contents(family: str) -> None:
    checkpoint = shapes_of(family, None)
    main = checkpoint.architecture.main_part
    config = shipped_description(family).components[main.component]
    with torch.device("meta"):
        network = main.build({k: v for k, v in config.items() if not k.startswith("_")})
    counted = sum(weight.numel() for weight in network.parameters())
    assert counted == pytest.approx(PARAMETERS[family], rel=2e-3)
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert {name: value.shape for name, value in checkpoint.network.items()} == shapes
    # SD 3's table of places is a buffer that is saved, and no mask may select it.
    candidates = checkpoint.architecture.candidates(shapes, "full")
    assert sum(shapes[name].numel() for name in candidates) == counted


@pytest.mark.slow
def test_a_bill_counts_these_weights_once_each() -> None:
    bill = planner_of("flux_dev").bill(recipe_of("flux_dev", data={"size": 512}))
    counted = sum(weight.numel() for weight in shapes_of("flux_dev", None).network.values())
    assert held(bill, "find the mask")["weights, fp32"] == 4 * counted
    assert held(bill, "find the mask")["summed gradients, fp32"] == 4 * counted
    assert held(bill, "rank the weights")["mask"] == -(-counted // 8)


@pytest.mark.slow
@pytest.mark.parametrize("card", ["24gb", "48gb", "80gb"])
def test_flux_is_planned_for_cards_of_three_sizes(card: str) -> None:
    planner, budget = planner_of("flux_dev"), budget_of(card, CARD)
    recipe = recipe_of("flux_dev", data={"size": 512})
    plan = fitted(recipe, {}, planner.bill, budget, CARD).recipe
    bill = planner.bill(plan)
    assert max(bill.device(stage) or 0 for stage in bill.stages) <= budget.size
    numbers = 11_901_408_320
    each = 2 if plan.saliency.precision == "bf16-weights" else 4
    weights = held(bill, "find the mask")
    if card == "24gb":  # the weights alone do not fit, so blocks come from main memory
        assert plan.saliency.stream
        assert plan.stream
        outside = weights[f"weights outside of blocks, {'bf16' if each == 2 else 'fp32'}"]
        inside = weights[f"blocks, {'bf16' if each == 2 else 'fp32'}"]
        assert outside + inside == each * numbers
    else:
        assert not plan.saliency.stream
        assert weights[f"weights, {'bf16' if each == 2 else 'fp32'}"] == each * numbers
    # A third of the sums, as 4 bytes of every weight are 47.6 GB.
    if plan.saliency.groups > 1:
        (part,) = [size for what, size in weights.items() if "groups" in what]
        assert part >= 4 * numbers / plan.saliency.groups
        assert part < 4 * numbers / plan.saliency.groups + 1e9
    trained = held(bill, "train")
    assert trained["masters of the selected, fp32"] == pytest.approx(0.04 * numbers, rel=1e-3)
    assert plan.checkpointing or plan.stream


def test_a_plan_for_a_card_that_is_not_here_says_that_it_is_computed() -> None:
    planner, recipe = planner_of("sd1"), recipe_of("sd1", data={"size": 256})
    plan = BillInWords.planned(planner.bill(recipe), budget_of("80gb", CARD))
    page = "\n".join(plan.page())
    assert "computed, not measured, as no such card is here" in page
    assert "A100" in page
    assert "312 in bf16" in page
    stages = {stage.name: stage for stage in plan.bill.stages}
    train = stages["train"]
    assert plan.minutes(train) == pytest.approx(train.flops / (0.4 * 19.5e12) / 60)
    assert plan.to_dict()["planned_for"] == "A100"


def test_streamed_blocks_cost_their_way_from_main_memory() -> None:
    method = {"precision": "bf16-weights", "micro_batch": 4}
    recipe = recipe_of("sd3", stream=True, data={"size": 512}, method=method)
    bill = planner_of("sd3").bill(recipe)
    (train,) = [one for one in bill.stages if one.name == "train"]
    training = recipe.training
    assert training is not None
    # Two micro-batches a step; forward and again for each of two passes with a gradient, and once
    # for the answer without; nearly all weights, 2 bytes each.
    crossed = training.steps * 2 * 5
    assert train.bus == pytest.approx(crossed * 2 * PARAMETERS["sd3"], rel=0.03)
    plan = BillInWords.planned(bill, budget_of("24gb", CARD))
    assert plan.minutes(train) > train.bus / 25e9 / 60


def test_a_text_encoder_that_moves_is_not_put_into_bfloat16_by_fit() -> None:
    """Its training and its mask refuse weights of bfloat16."""
    recipe = recipe_of("sd1")

    def kinds(*, text: bool) -> set[str]:
        ladders = [ways for _, ways in fitting.ladders_of(recipe, CARD, True, text=text)]
        keys = ("saliency.precision", "method.precision")
        return {str(way[key]) for ways in ladders for way in ways for key in keys if key in way}

    assert kinds(text=False) == {"fp32", "bf16", "bf16-weights"}
    assert kinds(text=True) == {"fp32", "bf16"}


def test_sums_move_where_they_fit_and_no_further() -> None:
    planner, recipe = (
        planner_of("sd1"),
        recipe_of("sd1", saliency={"batch_size": 1}, data={"size": 256}),
    )
    bill = planner.bill(recipe)
    need = max(bill.device(s) or 0 for s in bill.stages if s.name in ("find the mask",))
    budget = Budget("card", need)
    assert fitting.fits(bill, fitting.MASK, budget)
    assert not fitting.fits(bill, fitting.MASK, replace(budget, size=need - 1))
    ways = fitting.sums_ways(recipe.saliency, apart=True)
    needs = []
    for way in ways:
        other = planner.bill(fitting.with_settings(recipe, way))
        needs.append(max(other.device(s) or 0 for s in other.stages if s.name == "find the mask"))
    assert ways[0] == {
        "saliency.groups": 1,
        "saliency.offload": False,
        "saliency.mapped": False,
    }
    assert needs[0] > needs[1] > needs[2] > needs[3] > needs[4]  # two to four groups, main memory


def test_a_run_chooses_the_place_of_its_sums_by_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planner = planner_of("sd1", apart=False)
    recipe = recipe_of("sd1", saliency={"batch_size": 1}, data={"size": 256})
    bill = planner.bill(recipe)
    need = max(bill.main(s) for s in bill.stages if s.name in fitting.MASK)
    cpu = torch.device("cpu")

    def settled(free: int) -> Any:  # noqa: ANN401
        monkeypatch.setattr(fitting, "free_main", lambda: free)
        return summed_where_they_fit(recipe, planner.bill, cpu)

    assert settled(need) == fitting.Fitted(recipe, ())
    moved = settled(need - 1)
    assert moved.recipe.saliency.mapped
    assert "the mask has the same bits" in moved.said[0]
    assert settled(PROCESS) == fitting.Fitted(recipe, ())  # nothing fits: as it was
    own = replace(recipe, saliency=replace(recipe.saliency, groups=2))
    monkeypatch.setattr(fitting, "free_main", lambda: PROCESS)
    assert summed_where_they_fit(own, planner.bill, cpu).recipe is own


def configs_only(folder: Path, out: Path) -> Path:
    """A diffusers folder without its weights."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.safetensors"))
    return out


def test_a_model_that_is_not_here_is_planned_by_a_folder_of_configs(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configs = configs_only(tiny_folder, tmp_path / "configs")
    line = ["away.safetensors", "--config", configs, "--concept", "church", "--dry-run"]
    said = erasure("erase", *line, "--json", "--device", "cpu")
    assert said.code == 0, said.err
    plan = json.loads(said.out)
    assert any("away.safetensors is not here" in note for note in plan["base_read_as"]["notes"])
    whole = erasure(
        *("erase", tiny_folder, "--concept", "church", "--dry-run", "--json", "--device", "cpu")
    )
    there = json.loads(whole.out)
    assert [s["flops"] for s in plan["stages"]] == [s["flops"] for s in there["stages"]]
    for one, other in zip(plan["stages"], there["stages"], strict=True):
        if one["name"] in ("find the mask", "rank the weights", "train"):
            assert one["held"] == other["held"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configs"]
    assert erasure("erase", *line[:-1], "--out", tmp_path / "run").code == 2  # weights are wanted


def test_a_mask_is_planned_without_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = erasure("mask", "demo", "--concept", "church", "--dry-run", "--json", "--device", "cpu")
    assert said.code == 0, said.err
    plan = json.loads(said.out)
    assert [stage["name"] for stage in plan["stages"]] == [
        "draw pictures",
        "encode pictures",
        "encode prompts",
        "find the mask",
        "rank the weights",
    ]
    assert plan["disk"].keys() == {"cache: pictures and latents", "mask"}
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_taken_for_a_dry_run_alone() -> None:
    assert is_not_here("flux_dev", None)
    assert not is_not_here("owner/name", None)
    assert erasure("erase", "flux_dev", "--concept", "church").code == 2
    with pytest.raises(ConfigError, match="nothing says what its shapes are"):
        shapes_of("owner/name", None)


def test_a_mask_of_a_model_that_is_not_here_is_refused(tiny_run: Path) -> None:
    said = erasure(
        *("erase", "sd1", "--concept", "church", "--dry-run"),
        *("--mask", tiny_run / "mask.safetensors"),
    )
    assert said.code == 2
    assert "the model that it is of is not here" in said.err
