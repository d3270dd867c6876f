"""Factors in place of weights: what they answer, how they learn, and what they leave alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from support.tiny import Toy, ToyDenoiser, assert_same_bits, copied, some_mask, toy_batches
from torch import Tensor, nn
from torch.func import functional_call

from erasure.diffusion.batches import PictureBatch
from erasure.errors import ConfigError, MaskError
from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import load_state, save_state
from erasure.training.weights.low_rank import LowRank, LowRankWeights

STEPS = 5
CONFIG = TrainConfig(steps=STEPS, batch_size=4, learning_rate=1e-2)
LAYERS = ("mix.weight", "text.weight", "out.weight")


class Convolutions(nn.Module):
    """All that a convolution can be set to, and a linear layer over more than two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, (3, 2), stride=2, padding=(2, 1), dilation=(2, 1))
        self.point = nn.Conv2d(4, 5, 1)
        self.last = nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.point(self.wide(x)).flatten(2).transpose(1, 2))


def whole(network: nn.Module, names: tuple[str, ...] = LAYERS) -> dict[str, Tensor]:
    weights = dict(network.named_parameters())
    return {name: torch.ones_like(weights[name], dtype=torch.bool) for name in names}


def trainer_of(
    network: nn.Module,
    config: TrainConfig = CONFIG,
    *,
    mask: dict[str, Tensor] | None = None,
    low_rank: LowRank | None = None,
    origin: dict[str, Tensor] | None = None,
) -> MaskedTrainer[PictureBatch]:
    return MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(),
        mask or whole(network),
        objective=SalUn(kept="base", target="frozen"),
        config=config,
        needs_frozen=True,
        origin=origin,
        low_rank=low_rank or LowRank(rank=2),
    )


def factors_of(trainer: MaskedTrainer[Any]) -> LowRankWeights:
    assert isinstance(trainer.selected, LowRankWeights)
    return trainer.selected


def drawn(factors: LowRankWeights) -> None:
    """Random values in all factors."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for vector in factors.vectors.values():
            vector.copy_(torch.randn(vector.shape, generator=draw))
    factors.write_back()


@pytest.mark.parametrize("masked", ["modules", "dense"])
@pytest.mark.parametrize("alpha", [None, 1.0])
def test_a_layer_answers_as_its_weight_with_the_change_added(
    masked: Literal["modules", "dense"], alpha: float | None
) -> None:
    network = Convolutions().double()
    mask = whole(network, ("wide.weight", "point.weight", "last.weight"))
    if masked == "dense":
        mask = {k: v for k, v in some_mask(network).items() if k.endswith("weight")}
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    how = LowRank(rank=3, alpha=alpha, masked=masked)
    factors = LowRankWeights(network, mask, how, seed=0)
    before = network(x)
    drawn(factors)
    answered = network(x)
    changes = dict(factors.changes())
    merged = {k: v + changes.get(k, 0) for k, v in network.named_parameters()}
    factors.release()
    torch.testing.assert_close(network(x), before, rtol=0, atol=0)
    # Two products in another order, in float64.
    torch.testing.assert_close(
        answered, functional_call(network, merged, x), rtol=1e-12, atol=1e-12
    )
    assert (answered - before).abs().max() > 1e-3
    scale = (alpha or 3) / 3
    for name, change in changes.items():
        up, down = factors.vectors[f"{name}.up"], factors.vectors[f"{name}.down"]
        product = (scale * up @ down).view_as(change)
        torch.testing.assert_close(change, (product * mask[name]).detach(), rtol=1e-12, atol=1e-12)
        if masked == "modules":
            thin = factors.factors()[name].change().view_as(change)
            torch.testing.assert_close(thin, change, rtol=1e-12, atol=1e-12)


def test_untouched_factors_leave_every_answer_as_it_was() -> None:
    plain, network = Toy(), Toy()
    LowRankWeights(network, whole(network), LowRank(rank=2), seed=0)
    inputs = torch.randn(2, 2, 4, 4), torch.tensor([1.0, 900.0]), torch.randn(2, 3, 5)
    assert torch.equal(plain(*inputs), network(*inputs))


def test_steps_are_those_of_an_optimiser_on_factors_of_merged_weights() -> None:
    network, twin = Toy().double(), Toy().double()
    how, rate = LowRank(rank=2, alpha=1.0), 0.1
    factors = LowRankWeights(network, whole(network), how, seed=3)
    own = {name: v.detach().clone().requires_grad_() for name, v in factors.vectors.items()}
    optimizers = [torch.optim.Adam(v.values(), lr=rate) for v in (factors.vectors, own)]
    for step in range(4):
        draw = torch.Generator().manual_seed(step)
        x, tokens = (torch.randn(s, generator=draw).double() for s in ((3, 2, 4, 4), (3, 3, 5)))
        t = torch.tensor([10.0, 500.0, 900.0]).double()
        merged = {
            name: w + 0.5 * (own[f"{name}.up"] @ own[f"{name}.down"]).view_as(w)
            for name, w in twin.named_parameters()
            if name in LAYERS
        }
        losses = (
            (network(x, t, tokens) - x).square().mean(),
            (functional_call(twin, merged, (x, t, tokens)) - x).square().mean(),
        )
        torch.testing.assert_close(*losses, rtol=1e-9, atol=0)
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        factors.write_back()
    for name, vector in factors.vectors.items():
        # Adam divides by the gradient's size, which rounding of 1e-16 decides near zero.
        torch.testing.assert_close(vector.detach(), own[name].detach(), rtol=0, atol=1e-6)


def test_a_training_moves_no_weight_of_the_network_and_the_frozen_one_is_the_base() -> None:
    network, plain = Toy(), Toy()
    start = copied(network)
    trainer = trainer_of(network)
    steps = list(trainer.steps())
    assert steps[-1].loss < steps[0].loss
    assert_same_bits(copied(network), start)
    batch = toy_batches().at(0, 4, trainer._denoise, trainer.frozen).forget
    base = plain(batch.x_t, batch.t, batch.condition.tokens)
    student = trainer._denoise(batch.x_t, batch.t, batch.condition)
    assert (student - base).abs().max() > 1e-3
    assert torch.equal(trainer.frozen(batch.x_t, batch.t, batch.condition), base)
    assert torch.equal(trainer._denoise(batch.x_t, batch.t, batch.condition), student)


def test_an_origin_answers_without_the_factors() -> None:
    network, other = Toy(), Toy(seed=5)
    trainer = trainer_of(network, origin=copied(other))
    list(trainer.steps())
    batch = toy_batches().at(0, 4, trainer._denoise, trainer.frozen).forget
    base = other(batch.x_t, batch.t, batch.condition.tokens)
    torch.testing.assert_close(trainer.frozen(batch.x_t, batch.t, batch.condition), base)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, optimizer="adamw", weight_decay=0.1)])
def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one(
    config: TrainConfig, tmp_path: Path
) -> None:
    unbroken = trainer_of(Toy(), config)
    whole_run = list(unbroken.steps())
    path = tmp_path / "state.safetensors"
    broken = trainer_of(Toy(), config)
    history = [step for _, step in zip(range(2), broken.steps(), strict=False)]
    save_state(path, broken, history, "a run")
    again = trainer_of(Toy(), config)
    history = [*load_state(path, again, "a run").history, *again.steps()]
    assert history == whole_run
    ends = ({k: v.detach() for k, v in t.selected.vectors.items()} for t in (again, unbroken))
    assert_same_bits(*ends)


def test_micro_batches_give_the_full_batch() -> None:
    full, cut = trainer_of(Toy()), trainer_of(Toy(), replace(CONFIG, micro_batch=3))
    for trainer in (full, cut):
        list(trainer.steps())
    for name, vector in full.selected.vectors.items():
        # Sums in another order, five steps of Adam at 1e-2.
        torch.testing.assert_close(cut.selected.vectors[name], vector, rtol=0, atol=1e-5)


def test_bf16_weights_leave_the_factors_in_float32() -> None:
    class Narrow(Toy):
        def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
            return super().forward(x_t, t.to(x_t.dtype), tokens)

    trainer = trainer_of(Narrow(), replace(CONFIG, precision="bf16-weights"))
    steps = list(trainer.steps())
    assert steps[-1].loss < steps[0].loss
    assert {v.dtype for v in trainer.selected.vectors.values()} == {torch.float32}


def test_a_dense_mask_changes_the_selected_weights_alone() -> None:
    network = Toy()
    mask = {name: entry for name, entry in some_mask(network).items() if name in LAYERS}
    trainer = trainer_of(network, mask=mask, low_rank=LowRank(rank=2, masked="dense"))
    list(trainer.steps())
    for name, change in factors_of(trainer).changes():
        assert not change[~mask[name]].any()
        assert (change[mask[name]] != 0).sum() > 0
    assert factors_of(trainer).factors() == {}


def test_the_first_values_of_a_layer_depend_on_the_seed_and_its_name_alone() -> None:
    def first(names: tuple[str, ...], seed: int) -> Tensor:
        network = Toy()
        factors = LowRankWeights(network, whole(network, names), LowRank(rank=2), seed=seed)
        return factors.vectors["text.weight.down"].detach()

    assert torch.equal(first(LAYERS, 0), first(("text.weight",), 0))
    assert not torch.equal(first(LAYERS, 0), first(LAYERS, 1))
    assert first(LAYERS, 0).abs().max() <= 1 / 5**0.5


def test_a_small_layer_has_as_many_directions_as_its_smaller_side() -> None:
    network = Convolutions()
    names = ("wide.weight", "last.weight")
    factors = LowRankWeights(network, whole(network, names), LowRank(rank=5), seed=0)
    assert factors.vectors["wide.weight.up"].shape == (4, 4)
    assert factors.vectors["last.weight.up"].shape == (6, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank is 0; give 1 or more"),
        ({"rank": -3}, "rank is -3; give 1 or more"),
        ({"alpha": 0.0}, "alpha is 0.0; give more than 0"),
        ({"alpha": float("nan")}, "alpha is nan; give more than 0"),
        ({"masked": "half"}, "masked is 'half'; give 'modules' or 'dense'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LowRank(**settings)


def test_a_rank_above_the_size_of_every_layer_is_refused() -> None:
    network = Toy()
    message = "rank is 9, and no layer here has more than the 2 directions of mix.weight; give 2"
    with pytest.raises(ConfigError, match=message):
        LowRankWeights(network, whole(network), LowRank(rank=9), seed=0)


def test_masks_that_factors_cannot_follow_are_refused() -> None:
    network = Toy()
    for mask, error, message in (
        (some_mask(network), ConfigError, "mix.bias is no weight of a linear"),
        ({"other.weight": torch.ones(2, 2, dtype=torch.bool)}, MaskError, "names 'other.weight'"),
        ({"text.weight": torch.ones(2, 4, dtype=torch.bool)}, MaskError, "has shape \\(2, 4\\)"),
        ({"text.weight": torch.zeros(2, 5, dtype=torch.bool)}, MaskError, "selects no weight"),
        ({"text.weight": torch.eye(2, 5).bool()}, MaskError, "selects a part of 'text.weight'"),
    ):
        ordered = dict(sorted(mask.items(), key=lambda item: not item[0].endswith("bias")))
        with pytest.raises(error, match=message):
            LowRankWeights(network, ordered, LowRank(rank=2), seed=0)


@pytest.mark.parametrize(
    ("shape", "rank"), [((16, 3), 3), ((3, 16), 3), ((16, 2, 1, 2), 4), ((16, 2, 3, 3), 8)]
)
def test_a_layer_has_no_more_directions_than_its_smaller_side(
    shape: tuple[int, ...], rank: int
) -> None:
    assert LowRank(rank=8).rank_of(shape) == rank
    width = shape[1] if len(shape) == 2 else shape[1] * shape[2] * shape[3]
    assert LowRank(rank=8).numbers(shape) == rank * (shape[0] + width)


def test_no_weight_of_the_network_asks_for_a_gradient() -> None:
    network = Toy()
    LowRankWeights(network, whole(network), LowRank(rank=2), seed=0)
    assert not any(parameter.requires_grad for parameter in network.parameters())
