"""ANT: what it keeps early, what it turns round late."""

from typing import Any

import pytest
import torch
from support.rolled import answers, batches_of, rollout
from support.tiny import CPU, Toy, ToyDenoiser, some_mask, toy_data, toy_schedule

from erasure.diffusion.batches import RolloutBatches
from erasure.diffusion.data.concept_data import PromptRows
from erasure.diffusion.sample import ddim_times
from erasure.errors import ConfigError
from erasure.methods import Ant
from erasure.methods.gradient.ant import EarlyAndLate, SplitRollouts
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


def pair() -> EarlyAndLate:
    return EarlyAndLate(rollout(3), rollout(2))


@pytest.mark.parametrize("settings", [{}, {"strength": 2.0, "keep_weight": 3.0}])
def test_the_loss_is_its_formula(settings: dict[str, Any]) -> None:
    student, base, batch, method = Toy(1), Toy(), pair(), Ant(**settings)
    loss = method(ToyDenoiser(student), ToyDenoiser(base), batch)
    n = method.strength
    parts = {}
    for name, sign in (("early", 1.0), ("late", -1.0)):
        point = getattr(batch, name)
        empty, concept = (answers(base, point, c) for c in (point.empty, point.concept))
        wanted = empty + sign * n * (concept - empty)
        parts[name] = (answers(student, point, point.concept) - wanted).square().mean()
        steady = (answers(student, point, point.empty) - empty).square().mean()
        parts[f"{name} empty"] = 0.5 * steady
    torch.testing.assert_close(loss.forget, parts["late"])
    retained = method.keep_weight * (parts["early"] + parts["early empty"]) + parts["late empty"]
    torch.testing.assert_close(loss.retain, retained)


def test_at_the_base_nothing_is_asked_of_what_is_kept() -> None:
    network, batch = Toy(), pair()
    loss = Ant()(ToyDenoiser(network), ToyDenoiser(network), batch)
    late = batch.late
    way = answers(network, late, late.concept) - answers(network, late, late.empty)
    assert float(loss.retain.detach()) < 1e-12
    torch.testing.assert_close(loss.forget, (2 * way).square().mean())


def test_the_early_part_ends_one_step_before_the_late_one_begins() -> None:
    split = batches_of(Ant(keep_steps=3, rollout_steps=8))
    assert (split.early.least, split.early.most, split.early.by) == (0, 2, "student")
    assert (split.late.least, split.late.most, split.late.by) == (3, None, "student")


def test_early_points_lie_before_the_split_and_late_ones_behind_it_on_one_way() -> None:
    texts = PromptRows(
        torch.tensor([1, 2]), torch.tensor([[3], [4]]), torch.tensor([3]), torch.ones(6).long()
    )
    base = toy_data()
    data = type(base)(base.forget, base.replacements, base.retain, base.prompts, texts)
    network = Toy()
    denoise = ToyDenoiser(network)
    frozen = FrozenDenoiser(denoise, SelectedWeights(network, some_mask(network)), needed=True)
    early = RolloutBatches(data, toy_schedule(), 7, CPU, steps=8, most=2)
    late = RolloutBatches(data, toy_schedule(), 7, CPU, steps=8, least=3)
    batch = SplitRollouts(early, late).at(0, 40, denoise, frozen)
    times = ddim_times(toy_schedule(), 8).tolist()
    assert set(batch.early.t.tolist()) == set(times[:3])
    assert set(batch.late.t.tolist()) == set(times[3:])
    assert torch.equal(batch.early.concept.tokens, batch.late.concept.tokens)


def test_a_range_of_steps_outside_the_sampling_is_refused() -> None:
    for settings in ({"least": 5, "most": 4}, {"most": 8}, {"least": -1}):
        with pytest.raises(ConfigError, match="give a range within 0 to 7"):
            RolloutBatches(toy_data(), toy_schedule(), 7, CPU, steps=8, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep_steps": 0}, "keep_steps is 0; give 1 to 49"),
        ({"keep_steps": 50}, "keep_steps is 50; give 1 to 49"),
        (
            {"rollout_steps": 1},
            "rollout_steps is 1, and one step has no point before another; give",
        ),
        ({"keep_weight": -1.0}, r"keep_weight is -1\.0"),
        ({"empty_weight": float("nan")}, "empty_weight is nan"),
    ],
)
def test_settings_of_ant_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Ant(**settings)
