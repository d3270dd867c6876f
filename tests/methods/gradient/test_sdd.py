"""SDD: its target, its teacher, and what comes out."""

from pathlib import Path

import pytest
import torch
from support.rolled import answers, batches_of, rollout
from support.tiny import Toy, ToyDenoiser, some_mask

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.methods import Esd, Sdd
from erasure.training.step import Step
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


def test_the_loss_is_its_formula_with_both_answers_of_the_student() -> None:
    student, teacher, batch = Toy(1), Toy(), rollout()
    loss = Sdd()(ToyDenoiser(student), ToyDenoiser(teacher), batch)
    wanted = answers(student, batch, batch.empty).detach()
    expected = (answers(student, batch, batch.concept) - wanted).square().mean()
    torch.testing.assert_close(loss.forget, expected)
    ours = torch.autograd.grad(loss.total, list(student.parameters()))
    theirs = torch.autograd.grad(expected, list(student.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_its_teacher_draws() -> None:
    assert batches_of(Sdd(rollout_steps=5)).by == "frozen"


def test_its_first_step_is_that_of_esd_without_strength() -> None:
    network, batch = Toy(), rollout()
    both = [
        method(ToyDenoiser(network), ToyDenoiser(network), batch).total
        for method in (Sdd(), Esd(strength=0.0))
    ]
    torch.testing.assert_close(both[0], both[1])
    for one, other in zip(
        *[torch.autograd.grad(loss, list(network.parameters())) for loss in both], strict=True
    ):
        torch.testing.assert_close(one, other)


def test_the_teacher_after_equal_steps_is_where_the_geometric_series_is() -> None:
    # w_k = k, so a_k = 0.9 a_{k-1} + 0.1 k, whose closed form is k - 9 (1 - 0.9^k).
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    frozen = FrozenDenoiser(ToyDenoiser(network), selected, needed=True, decay=0.9)
    start = {name: value.clone() for name, value in frozen.average.items()}
    for _ in range(5):
        with torch.no_grad():
            for vector in selected.vectors.values():
                vector.add_(1.0)
        frozen.follow()
    for name, value in frozen.average.items():
        expected = start[name] + 5 - 9 * (1 - 0.9**5)
        torch.testing.assert_close(value, expected)


def test_the_base_s_own_values_never_follow() -> None:
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    frozen = FrozenDenoiser(ToyDenoiser(network), selected, needed=True)
    assert not frozen.average


def test_the_teacher_comes_out_and_not_the_student(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    data = encode_concept(
        tiny_checkpoint, None, {"a church": ["a castle"]}, prompts=PromptLists(["a church"])
    )
    mask = find_mask(tiny_checkpoint, data, "random", density=0.3)
    # One step of SGD without momentum from the base: the teacher is (1 - d) of the student's way.
    ways = []
    for average in (0.5, 0.9):
        method = Sdd(
            steps=1, learning_rate=1.0, rollout_steps=2, average=average, optimizer="sgd",
            momentum=0.0, weight_decay=0.0, clip_norm=None,
        )  # fmt: skip
        edit = erase(tiny_checkpoint, data, mask, method)
        ways.append({n: edit.network[n] - w for n, w in tiny_checkpoint.network.items()})
    assert any(bool(way.any()) for way in ways[0].values())
    for name, way in ways[0].items():
        chosen = mask.entries.get(name)
        assert chosen is None or not way[~chosen].any()
        torch.testing.assert_close(ways[1][name], way / 5, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_a_training_that_was_cut_goes_on_with_its_teacher(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    data = encode_concept(
        tiny_checkpoint, None, {"a church": ["a castle"]}, prompts=PromptLists(["a church"])
    )
    mask = find_mask(tiny_checkpoint, data, "random", density=0.3)
    # Half of each step of 0.5 is the teacher's, so one that began anew would end far away.
    method = Sdd(
        steps=4, learning_rate=0.5, rollout_steps=2, average=0.5, optimizer="sgd",
        momentum=0.0, weight_decay=0.0, clip_norm=None,
    )  # fmt: skip
    unbroken = erase(tiny_checkpoint, data, mask, method)

    class Stop(Exception):
        pass

    def stop(step: Step) -> None:
        if step.index == 2:
            raise Stop

    state = tmp_path / "state"
    with pytest.raises(Stop):
        erase(tiny_checkpoint, data, mask, method, state=state, save_every=1, on_step=stop)
    assert state.exists()
    resumed = erase(tiny_checkpoint, data, mask, method, state=state)
    for name, weight in unbroken.network.items():
        assert torch.equal(weight, resumed.network[name])
    assert resumed.history == unbroken.history


@pytest.mark.parametrize("average", [0.0, 1.0, -0.5])
def test_an_average_outside_its_range_is_refused(average: float) -> None:
    with pytest.raises(ConfigError, match=r"average is .*; give more than 0 and less than 1"):
        Sdd(average=average)
