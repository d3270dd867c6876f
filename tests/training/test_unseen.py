"""A training that is looked at: when it ends, what it keeps, and that looking changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.tiny import Toy, ToyDenoiser, assert_same_bits, copied, some_mask, toy_batches
from torch import Tensor

from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError, TrainingError
from erasure.methods import SalUn
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import load_state, save_state
from erasure.training.unseen import Curve, InTraining, Look, UntilUnseen, Watching
from erasure.training.weights.low_rank import LowRank, LowRankWeights

CONFIG = TrainConfig(steps=9, batch_size=2, learning_rate=1e-2)
BEFORE = Look(0, 4, 4, 6, 0, 0.0, 0)


@dataclass
class Scripted:
    """Recognises as many pictures at each step as it was told, and remembers what it was shown."""

    recognised: Mapping[int, int]
    changed: Mapping[int, int] = field(default_factory=dict)
    shown: dict[int, dict[str, Tensor]] = field(default_factory=dict)

    def __call__(self, drawing: InTraining, step: int) -> Look:
        self.shown[step] = copied(drawing.network)
        tokens = torch.zeros(1, 3, 5)
        with torch.inference_mode():
            x_t = torch.zeros(1, 2, 4, 4)
            drawing.denoise(x_t, torch.zeros(1), Condition({"tokens": tokens}))
        return Look(step, self.recognised[step], 4, 6, self.changed.get(step, 0), step / 100)


@dataclass(frozen=True)
class Clocked(ToyDenoiser):
    """Told of the time in the network's own type."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return self.network(x_t, t.to(x_t.dtype), condition.tokens)


class Run:
    """A training of a toy network, which an eye may end."""

    def __init__(
        self,
        eye: Scripted | None,
        config: TrainConfig = CONFIG,
        *,
        mask: dict[str, Tensor] | None = None,
        **own: Any,  # noqa: ANN401
    ) -> None:
        self.network = Toy()
        self.trainer = MaskedTrainer(
            self.network,
            Clocked,
            toy_batches(),
            some_mask(self.network) if mask is None else mask,
            objective=SalUn(),
            config=config,
            **own,
        )
        self.watching = None if eye is None else Watching(rule(eye), self.trainer)
        self.history: list[Step] = []

    def advance(self, steps: int | None = None) -> "Run":
        source = self.watching.steps() if self.watching else self.trainer.steps()
        for step in source:
            self.history.append(step)
            if len(self.history) == steps:
                break
        return self

    def finish(self) -> dict[str, Tensor]:
        self.advance()
        return {name: value.clone() for name, value in self.trainer.trained().items()}

    def curve(self) -> Curve:
        assert self.watching is not None
        return self.watching.curve()


def rule(eye: Scripted, **own: Any) -> UntilUnseen:  # noqa: ANN401
    return UntilUnseen(**{"eye": eye, "before": BEFORE, "every": 2, "times": 2, **own})


def test_it_ends_after_so_many_looks_in_a_row_and_the_least_damage_comes_out() -> None:
    eye = Scripted({2: 1, 4: 0, 6: 0}, changed={4: 1, 6: 2})
    run = Run(eye)
    result = run.finish()
    assert len(run.history) == 6
    assert run.curve().stopped == 6
    assert run.curve().result == 4
    assert [look.step for look in run.curve().looks] == [0, 2, 4, 6]
    assert_same_bits(result, Run(None, replace(CONFIG, steps=4)).finish())
    with pytest.raises(AssertionError):
        assert_same_bits(result, eye.shown[6])


def test_what_was_kept_in_a_row_that_broke_is_forgotten() -> None:
    eye = Scripted({2: 0, 4: 1, 6: 0, 8: 0}, changed={2: 0, 6: 3, 8: 2})
    run = Run(eye)
    result = run.finish()
    assert run.curve().result == 8
    assert_same_bits(result, eye.shown[8])


def test_of_equal_damage_by_the_judge_the_pixels_decide() -> None:
    run = Run(Scripted({2: 0, 4: 0}, changed={2: 1, 4: 1}))
    run.finish()
    assert run.curve().result == 2


def test_a_run_in_which_it_never_fires_has_the_bits_of_one_without() -> None:
    for more in ({}, {"needs_frozen": True, "average_decay": 0.8}):
        never = Scripted({2: 0, 4: 3, 6: 0, 8: 1})
        watched, plain = Run(never, **more), Run(None, **more)
        assert_same_bits(watched.finish(), plain.finish())
        assert watched.history == plain.history
        assert watched.curve() == replace(watched.curve(), stopped=None, result=None)


def test_a_look_shows_what_would_come_out_which_may_be_an_average() -> None:
    eye = Scripted({2: 1, 4: 1, 6: 1, 8: 1})
    Run(eye, needs_frozen=True, average_decay=0.8).finish()
    shorter = Run(None, replace(CONFIG, steps=4), needs_frozen=True, average_decay=0.8)
    assert_same_bits(eye.shown[4], shorter.finish())


@pytest.mark.parametrize("more", [{}, {"needs_frozen": True, "average_decay": 0.8}])
def test_a_run_that_was_cut_anywhere_ends_with_the_same_bytes_and_the_same_curve(
    more: dict[str, Any], tmp_path: Path
) -> None:
    def eye() -> Scripted:
        return Scripted({2: 1, 4: 0, 6: 0}, changed={4: 1, 6: 1})

    unbroken = Run(eye(), **more)
    result = unbroken.finish()
    for done in range(1, 7):
        cut = Run(eye(), **more).advance(done)
        assert cut.watching is not None
        path = tmp_path / f"{done}.safetensors"
        # The look after the last step is not in the state, as where a run is cut before it.
        save_state(path, cut.trainer, cut.history, "a run", [cut.watching])
        again = Run(eye(), **more)
        assert again.watching is not None
        again.history = load_state(path, again.trainer, "a run", [again.watching]).history
        assert_same_bits(again.finish(), result)
        assert again.curve() == unbroken.curve()
        assert again.history == unbroken.history


def test_whoever_asks_for_steps_again_after_the_last_gets_no_second_look() -> None:
    run = Run(Scripted({2: 1, 4: 1, 6: 1, 8: 1}), replace(CONFIG, steps=8)).advance()
    curve = run.curve()
    assert len(run.advance().history) == 8
    assert run.curve() == curve
    assert [look.step for look in curve.looks] == [0, 2, 4, 6, 8]


def test_a_state_without_looks_does_not_fit(tmp_path: Path) -> None:
    plain = Run(None).advance(3)
    save_state(tmp_path / "state", plain.trainer, plain.history, "a run")
    assert "unseen.looks" not in load_file(tmp_path / "state")
    run = Run(Scripted({}))
    assert run.watching is not None
    with pytest.raises(TrainingError, match="does not fit the run"):
        load_state(tmp_path / "state", run.trainer, "a run", [run.watching])


def test_a_network_in_bf16_keeps_the_unrounded_values_of_the_state_that_is_kept() -> None:
    config = replace(CONFIG, precision="bf16-weights")
    result = Run(Scripted({2: 0, 4: 0}, changed={4: 5}), config).finish()
    assert_same_bits(result, Run(None, replace(config, steps=2)).finish())


def low_rank_run(eye: Scripted | None, config: TrainConfig = CONFIG, **more: Any) -> Run:  # noqa: ANN401
    network = Toy()
    whole = {
        name: torch.ones_like(weight, dtype=torch.bool)
        for name, weight in network.named_parameters()
        if name in ("mix.weight", "text.weight")
    }
    return Run(eye, config, mask=whole, low_rank=LowRank(rank=2), **more)


def factors_of(run: Run) -> dict[str, Tensor]:
    """What the factors add to each weight, once the run is over."""
    run.finish()
    assert isinstance(run.trainer.selected, LowRankWeights)
    return dict(run.trainer.selected.changes())


@pytest.mark.parametrize("more", [{}, {"needs_frozen": True, "average_decay": 0.8}])
def test_factors_in_place_of_weights_are_watched_alike(
    more: dict[str, Any], tmp_path: Path
) -> None:
    def eye() -> Scripted:
        return Scripted({2: 1, 4: 0, 6: 0}, changed={4: 1, 6: 2})

    shorter = factors_of(low_rank_run(None, replace(CONFIG, steps=4), **more))
    assert any(change.any() for change in shorter.values())
    ended = low_rank_run(eye(), **more)
    result = factors_of(ended)
    assert len(ended.history) == 6
    assert all(torch.equal(result[name], change) for name, change in shorter.items())
    cut = low_rank_run(eye(), **more).advance(5)
    again = low_rank_run(eye(), **more)
    assert cut.watching is not None
    assert again.watching is not None
    save_state(tmp_path / "state", cut.trainer, cut.history, "a run", [cut.watching])
    resumed = load_state(tmp_path / "state", again.trainer, "a run", [again.watching])
    again.history = resumed.history
    other = factors_of(again)
    assert all(torch.equal(other[name], change) for name, change in result.items())
    never = Scripted({2: 1, 4: 1, 6: 0, 8: 1})
    watched, plain = (factors_of(low_rank_run(one, **more)) for one in (never, None))
    assert all(torch.equal(watched[name], change) for name, change in plain.items())


@pytest.mark.parametrize("name", ["every", "times"])
def test_a_rule_that_never_looks_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0; give 1 or more"):
        rule(Scripted({}), **{name: 0})


def test_the_key_of_a_run_holds_what_decides_its_end() -> None:
    eye = Scripted({})
    keys = [rule(eye).key, rule(eye, every=3).key, rule(eye, times=3).key]
    keys.append(rule(eye, about={"judge": "canvas"}).key)
    assert len(set(keys)) == 4
    assert rule(eye).key == rule(eye).key


def test_the_curve_is_plain_json() -> None:
    run = Run(Scripted({2: 0, 4: 0}))
    run.finish()
    curve = run.curve().to_dict()
    assert curve["stopped"] == 4
    assert curve["looks"][1]["recognised"] == 0
    assert curve["looks"][0]["rejected"] == 0
    assert curve["looks"][1]["rejected"] is None
