"""The optimisers, the clock, the steps and the states that both halves train with."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.threads import as_team
from support.tiny import Toy, ToyDenoiser, some_mask, toy_batches
from support.tiny_classifiers import CASES
from torch import nn

from erasure.classifiers.descent import Descent
from erasure.classifiers.progress import Progress
from erasure.classifiers.weights import MovingWeights
from erasure.errors import ConfigError, TrainingError
from erasure.methods import SalUn
from erasure.team import Team
from erasure.training.clock import cosine, stairs, warming
from erasure.training.loop import Ready, train
from erasure.training.optimizers import OPTIMIZERS
from erasure.training.step import Step, as_rows, of_rows
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import save_state
from erasure.training.update import take_step
from erasure.training.weights.trainables import sum_over
from pipelines.drawing.plots import plot_losses
from pipelines.run.run_result import write_history

BARE = [Step(1, 0.5), Step(2, 0.25)]


@pytest.mark.parametrize("settings", [TrainConfig, Descent])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("rate", 0.0, "is 0.0; give more than 0"),
        ("rate", math.inf, "is inf; give more than 0"),
        ("rate", math.nan, "is nan; give more than 0"),
        ("momentum", -0.1, "momentum is -0.1; give 0 or more"),
        ("weight_decay", math.inf, "weight_decay is inf; give 0 or more"),
        ("optimizer", "lion", f"optimizer is 'lion'; give one of {tuple(OPTIMIZERS)}"),
    ],
)
def test_both_halves_refuse_the_same_settings_of_an_optimiser(
    settings: type[Any], name: str, value: object, said: str
) -> None:
    rate = "lr" if settings is Descent else "learning_rate"
    with pytest.raises(ConfigError) as refused:
        settings(**{rate if name == "rate" else name: value})
    assert str(refused.value) == (f"{rate} {said}" if name == "rate" else said)


def test_the_clock_gives_the_rates_of_its_formulas() -> None:
    assert [warming(1.0, tick, 3) for tick in range(3)] == [0.25, 0.5, 0.75]
    assert cosine(0.5, 0.0) == 0.5
    assert cosine(0.5, math.pi / 2) == pytest.approx(0.25, rel=1e-15)
    assert cosine(0.5, math.pi) == 0.0
    assert [stairs(1.0, tick, 8) for tick in (0, 3, 4, 5, 6, 7)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01], rel=1e-15
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_step_that_is_not_finite_moves_nothing(loss: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with pytest.raises(TrainingError, match=r"^step 7: the loss is .* not taken; try less$"):
        take_step(optimizer, [weight], index=7, loss=loss, rate=1.0, remedy="try less")
    assert torch.equal(weight.detach(), torch.ones(3))


def test_a_step_is_clipped_to_the_norm_of_all_gradients_together() -> None:
    weights = [
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.ones(1)),
    ]
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    optimizer = torch.optim.SGD(weights, lr=9.0)
    take_step(optimizer, weights, index=1, loss=0.0, rate=0.5, remedy="", clip_norm=1.0)
    # The norm is 5, so the gradients become 3/5 and 4/5 and the rate of 0.5 halves them.
    torch.testing.assert_close(
        torch.cat([w.detach() for w in weights]), torch.tensor([-0.3, -0.4, 1])
    )


class Written:
    """A weight beside a network that shows what the loop does, and when."""

    def __init__(self) -> None:
        self.vectors = {"w": nn.Parameter(torch.zeros(1))}
        self.events: list[str] = []

    @property
    def value(self) -> float:
        return float(self.vectors["w"].detach())

    def write_back(self) -> None:
        self.events.append(f"the network has {self.value:g}")

    def batches(self, *losses: float) -> Iterator[Ready]:
        for index, loss in enumerate(losses, 1):
            assert self.vectors["w"].grad is None
            self.vectors["w"].grad = torch.full((1,), loss)
            self.events.append(f"gradient of batch {index}")
            yield Ready(Step(index, loss), rate=0.5, taken=self.taken)
        self.events.append("all batches are over")

    def taken(self) -> None:
        self.events.append(f"the weight is {self.value:g}")
        with torch.no_grad():
            self.vectors["w"].mul_(10)


def test_the_loop_takes_a_batch_moves_by_it_and_waits_to_be_asked() -> None:
    moving = Written()
    optimizer = torch.optim.SGD(moving.vectors.values(), lr=9.0)
    steps = train(moving, optimizer, moving.batches(2.0, 4.0), remedy="")
    assert moving.events == []
    assert next(steps) == Step(1, 2.0)
    first = ["gradient of batch 1", "the weight is -1", "the network has -10"]
    assert moving.events == first
    assert list(steps) == [Step(2, 4.0)]
    second = ["gradient of batch 2", "the weight is -12", "the network has -120"]
    assert moving.events == [*first, *second, "all batches are over"]


def test_a_batch_that_is_not_finite_ends_the_loop_before_anything_is_told() -> None:
    moving = Written()
    optimizer = torch.optim.SGD(moving.vectors.values(), lr=9.0)
    steps = train(moving, optimizer, moving.batches(math.nan), remedy="try less")
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan .* try less"):
        next(steps)
    assert moving.events == ["gradient of batch 1"]
    assert moving.value == 0


def test_the_steps_of_both_halves_survive_a_state_file() -> None:
    both = [Step(1, 0.5, 0.2, 0.3), Step(2, 0.25, 0.0, 0.25)]
    columns = ("index", "loss", "forget", "retain")
    assert of_rows(as_rows(both, columns), columns) == both
    epochs = [Step(1, 0.5, epoch=1), Step(2, 0.25, epoch=2)]
    assert (
        of_rows(as_rows(epochs, ("index", "loss", "epoch")), ("index", "loss", "epoch")) == epochs
    )
    with pytest.raises(ValueError, match=r"shape \(2, 4\), not \(steps, 3\)"):
        of_rows(as_rows(both, columns), ("index", "loss", "epoch"))


def test_states_of_both_halves_hold_their_tensors_under_the_same_names(tmp_path: Path) -> None:
    # These names are those of all older states, which are still read.
    network = Toy()
    trainer = MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(),
        some_mask(network),
        objective=SalUn(),
        needs_frozen=True,
        config=TrainConfig(steps=1, batch_size=2, optimizer="sgd"),
    )
    save_state(tmp_path / "one", trainer, list(trainer.steps()), "run")
    model = CASES["mlp"].model()
    weights = MovingWeights(model)
    optimizer = Descent().optimizer_of(weights)
    for tensor in weights.vectors.values():
        tensor.grad = torch.ones_like(tensor)
    optimizer.step()
    Progress(tmp_path / "two", "run").save(weights, model, optimizer, [Step(1, 0.5, epoch=1)])
    for file, names in (("one", trainer.selected.vectors), ("two", weights.vectors)):
        wanted = {
            f"{what}.{name}" for name in names for what in ("value", "optimizer.momentum_buffer")
        }
        counted = {"work"} if file == "one" else set()
        assert set(load_file(tmp_path / file)) == {*wanted, "history", *counted}


def test_a_loss_without_parts_is_written_and_drawn_as_one_curve(tmp_path: Path) -> None:
    edit: Any = SimpleNamespace(history=BARE)
    write_history(edit, tmp_path / "loss.csv")
    assert (tmp_path / "loss.csv").read_text() == "step,loss,forget,retain\n1,0.5,,\n2,0.25,,\n"
    plot_losses(BARE, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 0


def test_gradients_add_up_where_each_process_has_that_of_another_weight() -> None:
    def summed(team: Team) -> list[list[float] | None]:
        vectors = {name: nn.Parameter(torch.zeros(1)) for name in ("a", "b", "c")}
        vectors["ab"[team.rank]].grad = torch.tensor([3.0 + team.rank])
        sum_over(team, vectors)
        return [None if v.grad is None else v.grad.tolist() for v in vectors.values()]

    assert as_team(summed) == [[[3.0], [4.0], None]] * 2
