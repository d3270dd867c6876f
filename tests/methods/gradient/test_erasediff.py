"""EraseDiff: the fixed weight, the computed one, and two gradients apart."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.threads import Member, as_team
from support.tiny import Toy, ToyDenoiser, assert_same_bits, copied, some_mask, toy_batches
from torch import Tensor

from erasure.errors import ConfigError
from erasure.methods import EraseDiff, SalUn
from erasure.methods.gradient.erasediff import Balanced, balance
from erasure.team import ALONE, Team
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.split import Combine, Gradients

CONFIG = TrainConfig(steps=3, batch_size=4, learning_rate=0.05, optimizer="sgd", momentum=0.0)


def trained(objective: Any, combine: Combine | None = None, **settings: Any) -> dict[str, Tensor]:  # noqa: ANN401
    network = settings.pop("network", None) or Toy()
    team: Team = settings.pop("team", ALONE)
    trainer = MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(),
        some_mask(network),
        objective=objective,
        config=replace(CONFIG, **settings),
        combine=combine,
        team=team,
    )
    list(trainer.steps())
    return copied(network)


def summed(forget: Gradients, retain: Gradients) -> dict[str, Tensor]:
    return {name: forget[name] + retain[name] for name in forget}


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weight", [0.5, 1.0, 4.0])
def test_a_fixed_weight_is_salun_with_its_inverse_as_alpha(weight: float) -> None:
    fixed = trained(EraseDiff(weight=weight), steps=1)
    salun = trained(SalUn(alpha=1 / weight), steps=1, learning_rate=0.05 * weight)
    close(fixed, salun)


def test_the_sum_of_both_gradients_is_the_gradient_of_the_sum() -> None:
    close(trained(SalUn(alpha=2.0), summed), trained(SalUn(alpha=2.0)))
    assert_same_bits(trained(SalUn(alpha=2.0)), trained(SalUn(alpha=2.0), None))


@pytest.mark.parametrize("combine", [summed, Balanced(0.5)], ids=["sum", "balance"])
def test_two_gradients_are_the_same_in_passes_of_one_and_on_a_team(combine: Combine) -> None:
    whole = trained(EraseDiff(rule="computed"), combine)
    close(trained(EraseDiff(rule="computed"), combine, micro_batch=1), whole)
    networks = [Toy(), Toy()]  # made here, as threads share the stream that seeds them

    def member(team: Member) -> dict[str, Tensor]:
        network = networks[team.rank]
        return trained(EraseDiff(rule="computed"), combine, team=team, network=network)

    for own in as_team(member):
        close(own, whole)


def test_the_weight_is_its_formula() -> None:
    # q = (2, 0), F = (-1, 3): (0.5 * 4 + 2) / 4 = 1; turned round it is max(0, 2 - 2) / 4 = 0.
    forget = {"a": torch.tensor([2.0, 0.0])}
    assert balance(forget, {"a": torch.tensor([-1.0, 3.0])}, 0.5) == pytest.approx(1.0)
    assert balance(forget, {"a": torch.tensor([1.0, 3.0])}, 0.5) == 0.0
    assert balance({"a": torch.zeros(2)}, forget, 0.5) == 0.0


def test_the_computed_rule_leaves_the_weight_of_the_fixed_one_out() -> None:
    network = Toy()
    denoise = ToyDenoiser(network)
    batch = toy_batches().at(0, 4, denoise, None)  # type: ignore[arg-type]

    def loss(**settings: Any) -> list[float]:  # noqa: ANN401
        made = EraseDiff(**settings)(denoise, denoise, batch)
        return [float(made.forget.detach()), float(made.retain.detach())]

    plain = loss()
    assert loss(rule="computed", weight=4.0) == plain
    assert loss(weight=4.0) == pytest.approx([4 * plain[0], plain[1]])


# To six places, so that no square vanishes in float32.
numbers = st.lists(st.floats(-3, 3).map(lambda x: round(x, 6)), min_size=4, max_size=4).map(
    torch.tensor
)


@given(forget=numbers, retain=numbers, eta=st.floats(0.01, 2.0))
def test_the_forget_loss_always_falls_by_its_share_and_no_more_weight_than_that_is_taken(
    forget: Tensor, retain: Tensor, eta: float
) -> None:
    weight = balance({"a": forget}, {"a": retain}, eta)
    square, inner = float(forget.square().sum()), float((forget * retain).sum())
    made = Balanced(eta)({"a": forget}, {"a": retain})["a"]
    assert float((made * forget).sum()) >= eta * square - 1e-3
    if inner >= eta * square:
        assert weight == 0.0
        assert torch.equal(made, retain)


def test_the_computed_rule_takes_other_steps_than_the_fixed_one() -> None:
    one = trained(EraseDiff(rule="computed"), Balanced(2.0))
    other = trained(EraseDiff())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rule": "none"}, "give 'fixed' or 'computed'"),
        ({"weight": 0.0}, r"weight is 0\.0; give more than 0"),
        ({"eta": -1.0}, r"eta is -1\.0; give more than 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EraseDiff(**settings)  # type: ignore[arg-type]
