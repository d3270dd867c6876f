"""What a run tells of memory before it begins, and settings that fit a card."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from support.console import erasure

from erasure.architectures.building import build_network
from erasure.architectures.unet.sd1 import SD1
from erasure.attention.maps import captured
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.errors import ConfigError
from erasure.memory_bill import PROCESS, Held
from pipelines.configs.resolving import recipe_text, resolve
from pipelines.configs.settings import EraseRecipe
from pipelines.planning import bill_words, fit, room
from pipelines.planning.bill import Bill, Planner
from pipelines.planning.bill_words import BillInWords
from pipelines.planning.fit import Budget, fitted
from pipelines.run.preparing import plan_of, prepare
from prompts.concepts.concepts import plan_concept

CPU = torch.device("cpu")
STAGES = [
    "draw pictures",
    "encode pictures",
    "encode prompts",
    "find the mask",
    "rank the weights",
    "train",
    "check and merge",
    "draw the grid",
]


def planner_of(recipe: EraseRecipe, checkpoint: Checkpoint, *, apart: bool = False) -> Planner:
    return Planner(
        checkpoint=checkpoint,
        plan=plan_of(recipe, checkpoint),
        mask=None,
        apart=apart,
    )


def demo(**more: object) -> tuple[EraseRecipe, Planner]:
    recipe, checkpoint = prepare({"model": "demo", "concept": "church", **more})
    return recipe, planner_of(recipe, checkpoint)


def peak(bill: Bill, *names: str) -> int:
    return max(bill.main(stage) for stage in bill.stages if stage.name in names)


def settle(
    recipe: EraseRecipe, planner: Planner, size: int, explicit: Mapping[str, Any] | None = None
) -> tuple[EraseRecipe, tuple[str, ...]]:
    fitting = fitted(recipe, explicit or {}, planner.bill, Budget("8gb", size), CPU)
    return fitting.recipe, fitting.said


def test_a_dry_run_tells_memory_passes_time_and_disk_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = erasure(
        *("erase", "demo", "--concept", "church", "--dry-run", "--json", "--device", "cpu"),
        *("--cache", tmp_path / "cache"),
    )
    assert said.code == 0, said.err
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(said.out)
    assert [stage["name"] for stage in plan["stages"]] == STAGES
    train = plan["stages"][5]
    assert train["device"] is None
    assert train["main"] == sum(train["held"].values()) + PROCESS
    # 150 steps of 8: a forget and a retain sample with a gradient, and two answers without.
    assert train["passes"] == 150 * 8 * 4
    drawn = plan["stages"][0]
    assert drawn["passes"] == (96 + 288) * 16 * 2
    assert drawn["minutes"] > 0
    assert plan["disk"]["mask"] == pytest.approx(7.2e6 / 8, rel=0.05)


def test_the_bill_has_no_pictures_to_retain_beside_a_mask_alone() -> None:
    recipe, planner = demo(method={"name": "esd"}, mask="salient")
    stages = {stage.name: stage for stage in planner.bill(recipe).stages}
    assert stages["draw pictures"].passes == 96 * 16 * 2
    assert stages["encode pictures"].passes == 96


@pytest.mark.parametrize(
    ("saliency", "main"), [({}, False), ({"offload": True}, True), ({"mapped": True}, None)]
)
def test_the_scores_of_the_concepts_before_are_in_the_bill(
    saliency: dict[str, object], main: bool | None
) -> None:
    def search(**more: object) -> list[Held]:
        recipe, planner = demo(mask="salient", saliency=saliency, **more)
        (stage,) = [s for s in planner.bill(recipe).stages if s.name == "find the mask"]
        return [part for part in stage.held if part.what.startswith("scores")]

    assert search() == []
    _, planner = demo(mask="salient")
    scores = 4 * sum(weight.numel() for weight in planner.checkpoint.network.values())
    what = "scores of the concepts before, fp32"
    assert search(concepts=["dog"]) == ([] if main is None else [Held(what, scores, main)])


def test_what_mace_draws_and_trains_is_in_its_bill() -> None:
    # Of each concept eight pictures in 12 guided steps, then 50 steps of a picture.
    recipe, planner = demo(method={"name": "mace"}, concepts=["dog"])
    (solve,) = [stage for stage in planner.bill(recipe).stages if stage.name == "solve"]
    assert solve.passes == 2 * (8 * 12 * 2 + 50)
    held = {part.what: part.size for part in solve.held}
    network = planner.checkpoint.network.values()
    assert held["weights, fp32"] == 4 * sum(weight.numel() for weight in network)
    assert held["activations"] > 0
    # All maps of a guided pass of eight pictures are there at once, and what makes one of them.
    checkpoint = planner.checkpoint
    family, drawing = checkpoint.architecture, build_network(checkpoint)
    sample = family.sample(checkpoint.description.components["unet"], (8, 8), 32)
    with torch.no_grad(), captured(drawing) as maps:
        family.denoiser(drawing)(*sample)
    together = 16 * sum(one.nbytes for one in maps.values())
    assert together <= held["attention maps"] < 2 * together
    (plain,) = [
        s for s in planner.bill(demo(method={"name": "uce"})[0]).stages if s.name == "solve"
    ]
    assert plain.passes == 0


def test_what_a_method_s_settings_add_to_a_step_is_in_its_bill() -> None:
    def training(**method: object) -> tuple[int, int]:
        recipe, planner = demo(method={"steps": 100, "batch_size": 2, **method})
        (train,) = [stage for stage in planner.bill(recipe).stages if stage.name == "train"]
        return train.passes, train.flops

    plain = training(name="concept-ablation")
    assert plain[0] == 200 * (1 + 1)  # the base's answer
    assert training(name="concept-ablation", prior=1.0)[0] == 200 * (2 + 1)
    fixed = training(name="erasediff")
    computed = training(name="erasediff", rule="computed")
    assert fixed[0] == computed[0] == 200 * (2 + 1)
    assert computed[1] * (2 * 3 + 1) == fixed[1] * (2 * 5 + 1)  # a second way back of both


def test_a_mask_by_a_method_s_own_loss_is_priced_by_its_passes() -> None:
    # SalUn: the forget sample and the retained one, and two answers of the base. ESD: sixteen
    # passes of the rollout, one that learns and two answers, of each prompt.
    for name, passes in (("salun", 2 + 2), ("esd", 16 + 1 + 2)):
        own = {"loss": "own"}
        recipe, planner = demo(method={"name": name}, mask="salient", saliency=own)
        (search,) = [one for one in planner.bill(recipe).stages if one.name == "find the mask"]
        shown = 96 if name == "salun" else len(planner.plan.forget)
        assert search.passes == shown * recipe.saliency.draws * passes


@pytest.mark.default("salun")
@pytest.mark.parametrize(
    ("name", "passes"), [("salun", 3 + 3 + 2 * 3), ("esd", 2 + 16 + 5 + 2 * 3)]
)
def test_an_adversary_s_passes_are_counted(name: str, passes: int) -> None:
    # With an adversary of two steps, of three passes each, forget samples come twice. SalUn: both
    # with the retain sample, and three answers without a gradient. ESD: both, sixteen passes of the
    # rollout, the base's two answers for both, and what must not come back.
    recipe, planner = demo(method={"name": name, "harden": 2})
    (train,) = [stage for stage in planner.bill(recipe).stages if stage.name == "train"]
    assert train.passes == 150 * 8 * passes
    assert "text encoders of the adversary, fp32" in {part.what for part in train.held}


def test_the_looks_at_a_training_are_in_its_bill() -> None:
    recipe, planner = demo(until_unseen=True)
    stages = {stage.name: stage for stage in planner.bill(recipe).stages}
    look, train = stages["look for the concept"], stages["train"]
    # 8 of the concept and 16 neighbours, before and after every 25 of 150 steps; 20 guided steps.
    assert look.passes == (8 + 16) * 7 * 20 * 2
    held, moved = ({part.what: part.size for part in one.held} for one in (look, train))
    assert held["moments, fp32"] == moved["moments, fp32"]
    assert held["VAE and text encoders, fp32"] > 0
    assert "one full gradient and its places" not in held
    plain = planner.bill(replace(recipe, until_unseen=False))
    assert [stage.name for stage in plain.stages] == STAGES


def test_what_the_first_process_draws_alone_is_not_shared_in_the_bill() -> None:
    recipe, planner = demo(until_unseen=True)
    alone, several = (
        {stage.name: stage.passes for stage in replace(planner, processes=n).bill(recipe).stages}
        for n in (1, 4)
    )
    for name in ("draw pictures", "find the mask", "train"):
        assert several[name] * 4 == pytest.approx(alone[name], abs=4)
    for name in ("look for the concept", "draw the grid", "encode pictures"):
        assert several[name] == alone[name] > 0


def test_a_run_tells_its_bill_before_the_first_picture_is_drawn(tmp_path: Path) -> None:
    place = "pipelines.run.erasing.Gatherer.gather"
    with patch(place, side_effect=ConfigError("here it would draw")):
        said = erasure("erase", "demo", "--concept", "church", "--out", tmp_path / "run")
    assert said.code == 2
    before, _, after = said.err.partition("here it would draw")
    assert "find the mask" in before
    assert "disk: about" in before
    assert "memory" not in after


def test_other_work_on_the_machine_makes_no_hours_of_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def clock(step: float) -> Callable[[], float]:
        return (step * tick for tick in count()).__next__

    # A product takes 0.05 s of the processors, and ten times as long where others run meanwhile.
    used = 0.05 * torch.get_num_threads()
    for passed, share in ((0.05, 1.0), (0.5, 0.1)):
        clocks = SimpleNamespace(perf_counter=clock(passed), process_time=clock(used))
        monkeypatch.setattr(room, "time", clocks)
        speed = room.speed_of.__wrapped__(CPU, torch.float32)
        assert speed.products == pytest.approx(2 * 512**3 / 0.05)
        assert speed.share == pytest.approx(share)


def test_a_run_says_how_much_longer_it_takes_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, planner = demo()
    bill = planner.bill(recipe)
    flops = sum(stage.flops for stage in bill.stages)
    rate = flops / 0.6 / 240  # four minutes
    monkeypatch.setattr(bill_words, "speed_of", lambda *_: room.Speed(rate, 0.1))
    memory, time, *_ = BillInWords(bill, CPU, None, 9).lines()
    assert "passes, about 4 min, or 40 min while this machine is as busy as now; disk" in time
    assert memory.startswith("main memory, about, in GB: draw pictures ")
    assert "in all: about 4 min, or 40 min while" in "\n".join(
        BillInWords(bill, CPU, None, 9).page()
    )
    monkeypatch.setattr(bill_words, "speed_of", lambda *_: room.Speed(rate, 0.9))
    assert "passes, about 4 min; disk" in BillInWords(bill, CPU, None, 9).lines()[1]


def test_a_stage_that_needs_more_than_is_free_is_warned_of() -> None:
    recipe, planner = demo()
    bill = planner.bill(recipe)
    most = peak(bill, *STAGES)
    assert BillInWords(bill, CPU, None, most).warnings() == []
    assert len(BillInWords(bill, CPU, None, most - 1).warnings()) == 1
    assert len(BillInWords(bill, CPU, None, 0).warnings()) == len(STAGES)


def test_processes_of_one_machine_share_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  8000 kB\n", encoding="ascii")
    monkeypatch.setattr(room, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert room.free_main() == 8000 * 1024
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert room.free_main() == 2000 * 1024


def test_what_fits_is_left_as_it_is() -> None:
    recipe, planner = demo()
    assert settle(recipe, planner, 10**12) == (recipe, ())


def test_a_smaller_memory_makes_smaller_passes_and_no_more_than_it_must() -> None:
    recipe, planner = demo()
    small, said = settle(recipe, planner, PROCESS + 170_000_000)
    assert peak(planner.bill(small), *STAGES) <= PROCESS + 170_000_000
    training = small.training
    assert training is not None
    assert training.micro_batch is not None
    assert training.micro_batch < training.batch_size
    twice = replace(small, method=replace(small.method, micro_batch=2 * training.micro_batch))
    assert peak(planner.bill(twice), "train") > PROCESS + 170_000_000
    assert (training.precision, training.moments) == ("fp32", "fp32")
    assert small.saliency.batch_size < recipe.saliency.batch_size
    assert f"micro_batch = {training.micro_batch}" in recipe_text(small)
    assert any("method.micro_batch" in line and "needed" in line for line in said)


def test_what_was_given_is_never_changed_and_the_contradiction_names_both() -> None:
    recipe, planner = demo(data={"drawing": {"batch_size": 48}})
    explicit = {"data": {"drawing": {"batch_size": 48}}}
    with pytest.raises(ConfigError, match=r"--fit 8gb allows .* --drawing-batch 48 as given"):
        settle(recipe, planner, PROCESS + 150_000_000, explicit)


def test_what_no_setting_helps_is_refused_by_the_stage_s_name() -> None:
    recipe, planner = demo()
    with pytest.raises(ConfigError, match=r"draw pictures needs .* whatever is set"):
        settle(recipe, planner, PROCESS + 1_000_000)


def test_the_command_refuses_a_contradiction_and_an_unknown_size(tmp_path: Path) -> None:
    line = ["erase", "demo", "--concept", "church", "--device", "cpu", "--out", tmp_path / "run"]
    with patch.dict(fit.CARDS, {"8gb": int((PROCESS + 150_000_000) / 0.92)}):
        said = erasure(*line, "--fit", "8gb", "--drawing-batch", "48")
    assert said.code == 2
    assert "--fit 8gb" in said.err
    assert "--drawing-batch 48" in said.err
    assert erasure(*line, "--fit", "9gb").code == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_tenth_of_stable_diffusion_1_fits_a_card_of_8_gb() -> None:
    description = shipped_description("sd1")
    parts = ("unet", "vae", "text_encoder")
    checkpoint = Checkpoint(
        architecture=SD1,
        path=Path("sd1"),
        components={
            part: expected_weights(SD1.part(part), description.components[part]) for part in parts
        },
        description=description,
    )
    recipe = resolve({"model": "sd1", "concept": "church", "density": 0.1}, canvas=False)
    planner = Planner(
        checkpoint=checkpoint,
        plan=plan_concept("church", family="general"),
        mask=None,
        apart=True,
    )
    budget = fit.budget_of("8gb", CPU)
    before = planner.bill(recipe)
    assert max(before.device(stage) or 0 for stage in before.stages) > budget.size
    fitting = fitted(recipe, {}, planner.bill, budget, CPU)
    after = planner.bill(fitting.recipe)
    assert max(after.device(stage) or 0 for stage in after.stages) <= budget.size
    assert fitting.recipe.saliency.groups > 1  # the scores have the same bits as those of one pass
