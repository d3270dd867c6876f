"""A run that is interrupted anywhere and resumed ends with the same bytes."""

import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support.tiny import (
    Toy,
    ToyDenoiser,
    assert_same_bits,
    copied,
    some_mask,
    toy_batches,
)
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatch
from erasure.errors import TrainingError
from erasure.methods import SalUn
from erasure.storage.parts import part_of
from erasure.storage.state_file import before, drop, is_kept, save_run, settle
from erasure.storage.tensors.tensor_file import write_tensors
from erasure.training.objective import Objective
from erasure.training.state_tensors import restore, state_tensors
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import FORMAT, load_state, save_state

STEPS = 7
CONFIG = TrainConfig(steps=STEPS, batch_size=4, learning_rate=1e-2, warmup=2)
CONFIGS = {
    "adam": CONFIG,
    "adamw with decay": replace(CONFIG, optimizer="adamw", weight_decay=0.1),
    "sgd with momentum and decay": replace(CONFIG, optimizer="sgd", weight_decay=5e-4),
    "micro-batches and clipping": replace(CONFIG, micro_batch=3, clip_norm=0.05),
}


@dataclass
class Run:
    network: nn.Module
    trainer: MaskedTrainer
    history: list[Step]

    def advance(self, steps: int) -> "Run":
        for _, step in zip(range(steps), self.trainer.steps(), strict=False):
            self.history.append(step)
        return self

    def state(self) -> dict[str, Tensor]:
        return {k: v.detach() for k, v in self.trainer.selected.vectors.items()}


def fresh(config: TrainConfig, objective: Objective[PictureBatch] | None = None) -> Run:
    network = Toy()
    trainer = MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(),
        some_mask(network),
        objective=objective or SalUn(),
        needs_frozen=True,
        config=config,
    )
    return Run(network, trainer, [])


def resumed(
    path: Path, config: TrainConfig, objective: Objective[PictureBatch] | None = None
) -> Run:
    run = fresh(config, objective)
    run.history = load_state(path, run.trainer, "a run").history
    return run


@pytest.mark.default("adam")
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one(
    config: TrainConfig, tmp_path: Path
) -> None:
    unbroken = fresh(config).advance(STEPS)
    for done in range(1, STEPS + 1):
        path = tmp_path / f"{done}.safetensors"
        broken = fresh(config).advance(done)
        save_state(path, broken.trainer, broken.history, "a run")
        again = resumed(path, config)
        assert again.trainer.done == done
        assert_same_bits(copied(again.network), copied(broken.network))
        again.advance(STEPS)
        assert_same_bits(copied(again.network), copied(unbroken.network))
        assert_same_bits(again.state(), unbroken.state())
        assert again.history == unbroken.history


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_run_may_break_as_often_as_it_likes(config: TrainConfig, tmp_path: Path) -> None:
    unbroken = fresh(config).advance(STEPS)
    path, draw = tmp_path / "state.safetensors", random.Random(1)
    run = fresh(config)
    while run.trainer.done < STEPS:
        run.advance(draw.randint(1, 2))
        save_state(path, run.trainer, run.history, "a run")
        run = resumed(path, config)
    assert_same_bits(copied(run.network), copied(unbroken.network))
    assert run.history == unbroken.history


def test_a_frozen_target_is_that_of_the_first_start_after_a_resumption(tmp_path: Path) -> None:
    objective = SalUn(target="frozen")
    unbroken = fresh(CONFIG, objective).advance(STEPS)
    broken = fresh(CONFIG, objective).advance(4)
    save_state(tmp_path / "state", broken.trainer, broken.history, "a run")
    again = resumed(tmp_path / "state", CONFIG, objective).advance(STEPS)
    assert_same_bits(copied(again.network), copied(unbroken.network))
    assert again.history == unbroken.history


def test_saving_changes_nothing_in_the_run(tmp_path: Path) -> None:
    unbroken, saved = fresh(CONFIG).advance(STEPS), fresh(CONFIG)
    for _ in range(STEPS):
        saved.advance(1)
        save_state(tmp_path / "state", saved.trainer, saved.history, "a run")
    assert_same_bits(copied(saved.network), copied(unbroken.network))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "state.old"]


def test_a_weight_that_never_had_a_gradient_needs_no_state(tmp_path: Path) -> None:
    run = fresh(CONFIG)
    save_state(tmp_path / "state", run.trainer, [], "a run")  # before any step: no moments at all
    again = resumed(tmp_path / "state", CONFIG)
    assert (again.trainer.done, again.history) == (0, [])
    unbroken = run.advance(STEPS)
    assert_same_bits(copied(again.advance(STEPS).network), copied(unbroken.network))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    run = fresh(CONFIG).advance(3)
    save_state(path, run.trainer, run.history, "a run")
    return path


def refused(path: Path, run: str = "a run") -> str:
    """The message; the trainer must be untouched."""
    one = fresh(CONFIG)
    before, moments = copied(one.network), str(one.trainer.optimizer.state_dict())
    with pytest.raises(TrainingError) as info:
        load_state(path, one.trainer, run)
    assert_same_bits(copied(one.network), before)
    assert_same_bits(one.state(), fresh(CONFIG).state())
    assert (str(one.trainer.optimizer.state_dict()), one.trainer.done) == (moments, 0)
    return str(info.value)


def test_a_state_of_another_run_is_refused(saved: Path) -> None:
    message = refused(saved, "another run")
    assert "belongs to a run with another model, mask, data or settings" in message
    assert message.endswith("delete the state to start anew")


@settings(max_examples=60)
@given(data=st.data())
def test_a_state_with_any_changed_byte_is_refused(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(saved.read_bytes())
    # Header and numbers alike; the header is the smaller part, so it is aimed at.
    size = int.from_bytes(content[:8], "little") + 8
    place = data.draw(st.integers(0, size - 1) | st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path_factory.mktemp("damaged") / "state"
    damaged.write_bytes(content)
    refused(damaged)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_state_that_is_cut_short_is_refused(saved: Path, tmp_path: Path, share: float) -> None:
    content = saved.read_bytes()
    cut = tmp_path / "state"
    cut.write_bytes(content[: int(share * len(content))])
    assert "is not a training state" in refused(cut)


def test_other_files_are_refused(saved: Path, tmp_path: Path) -> None:
    assert "is missing" in refused(tmp_path / "missing")
    write_tensors(tmp_path / "weights", {"w": torch.ones(2)}, {})
    assert "has format 'pt', not 'erasure-training-state 1'" in refused(tmp_path / "weights")
    write_tensors(tmp_path / "newer", load_file(saved), {"format": "erasure-training-state 2"})
    assert "has format 'erasure-training-state 2'" in refused(tmp_path / "newer")


def test_a_state_of_a_step_before_the_first_is_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "negative"
    save_run(path, load_file(saved), kind=FORMAT, run="a run", done="-1")
    assert "it is of step -1" in refused(path)


def test_the_work_of_a_state_goes_on_and_is_unknown_in_one_that_did_not_count(
    saved: Path, tmp_path: Path
) -> None:
    run = fresh(CONFIG).advance(3)
    assert run.trainer.work is not None
    assert run.trainer.work.forward > 0
    assert resumed(saved, CONFIG).trainer.work == run.trainer.work
    tensors = load_file(saved)
    del tensors["work"]
    save_run(tmp_path / "older", tensors, kind=FORMAT, run="a run", done="3")
    assert resumed(tmp_path / "older", CONFIG).trainer.work is None


def test_whole_numbers_and_shared_tensors_of_an_optimizer_come_back_as_they_were(
    tmp_path: Path,
) -> None:
    # As optimisers of 8 bits have them: a count of steps, and one table for all vectors.
    vectors = {name: nn.Parameter(torch.ones(2)) for name in ("a", "b")}
    optimizer = torch.optim.SGD(vectors.values(), lr=1.0)
    table = torch.arange(4.0)
    for vector in vectors.values():
        optimizer.state[vector] = {"step": 3, "table": table}
    write_tensors(tmp_path / "state", state_tensors(vectors, optimizer, [], ("index",)), {})
    fresh_optimizer = torch.optim.SGD(vectors.values(), lr=1.0)
    restore(load_file(tmp_path / "state"), vectors, fresh_optimizer, ("index",))
    for vector in vectors.values():
        state = fresh_optimizer.state[vector]
        assert type(state["step"]) is int
        assert state["step"] == 3
        assert torch.equal(state["table"], table)


# The state before the last, where the last is damaged.


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of the numbers": (lambda path: flip(path, 0.9), "is damaged (its checksum differs)"),
    "the length of the header": (lambda path: flip(path, 0.0), "is not a training state"),
    "cut short": (lambda path: cut(path, 0.7), "is not a training state"),
    "empty": (lambda path: cut(path, 0), "is not a training state"),
    "missing": (lambda path: path.unlink(), "is missing"),
}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Save the state of step 3 and then that of step 5, which keeps the older one beside it."""
    path, run = tmp_path / "state.safetensors", fresh(CONFIG)
    for steps in (3, 2):
        run.advance(steps)
        save_state(path, run.trainer, run.history, "a run")
    return path


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_state_gives_way_to_the_one_before_it(
    how: str, two: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage, words = DAMAGE[how]
    damage(two)
    run = fresh(CONFIG)
    with caplog.at_level(logging.WARNING):
        loaded = load_state(two, run.trainer, "a run")
    (warning,) = caplog.messages
    assert warning.startswith(f"{two} {words}")
    assert warning.endswith(", so the one before it, of step 3, is used")
    assert (run.trainer.done, loaded.file) == (3, before(two))
    run.history = loaded.history
    unbroken = fresh(CONFIG).advance(STEPS)
    run.advance(STEPS)
    assert_same_bits(copied(run.network), copied(unbroken.network))
    assert run.history == unbroken.history


@pytest.mark.parametrize("how", DAMAGE)
def test_what_was_used_outlives_the_next_save_and_the_damaged_one_does_not(
    how: str, two: Path
) -> None:
    DAMAGE[how][0](two)
    run = fresh(CONFIG)
    loaded = load_state(two, run.trainer, "a run")
    settle(two, loaded.file)
    assert is_kept(two)
    run.history = loaded.history
    run.advance(1)
    save_state(two, run.trainer, run.history, "a run")
    assert load_state(two, fresh(CONFIG).trainer, "a run").history[-1].index == 4
    assert load_state(before(two), fresh(CONFIG).trainer, "a run").history[-1].index == 3


@pytest.mark.crossed
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("older", DAMAGE)
def test_two_damaged_states_are_told_in_one_sentence(how: str, older: str, two: Path) -> None:
    DAMAGE[how][0](two)
    DAMAGE[older][0](before(two))
    message = refused(two)
    assert message.startswith(f"{two} {DAMAGE[how][1]}")
    if older != "missing":
        assert f"and the one before it, {two.name}.old, {DAMAGE[older][1]}" in message
    both = "it" if older == "missing" else "both"
    assert message.endswith(f"; delete {both} to start anew")


def test_a_state_of_another_run_is_no_damaged_one(two: Path) -> None:
    run = fresh(CONFIG).advance(6)
    save_state(two, run.trainer, run.history, "another run")
    assert "belongs to a run with another model" in refused(two)
    flip(two, 0.9)
    assert load_state(two, fresh(CONFIG).trainer, "a run").history[-1].index == 5
    assert "belongs to a run with another model" in refused(two, "a third run")


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_good_state_is_there_between_any_two_renames(
    stop_at: int, two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left, seen = os.replace, stop_at, []

    def put_or_stop(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if not left:
            # Whole and on the disk before the oldest is dropped.
            seen.append(load_state(source, fresh(CONFIG).trainer, "a run").history[-1].index)
            raise KeyboardInterrupt
        put(source, target)

    run = resumed(two, CONFIG).advance(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", put_or_stop)
        with pytest.raises(KeyboardInterrupt):
            save_state(two, run.trainer, run.history, "a run")
    assert seen == [{1: 5, 2: 6}[stop_at]]  # what is about to be renamed
    assert is_kept(two)
    again = resumed(two, CONFIG)
    assert again.trainer.done == 5
    unbroken = fresh(CONFIG).advance(STEPS)
    assert_same_bits(copied(again.advance(STEPS).network), copied(unbroken.network))


def test_what_is_dropped_leaves_nothing(two: Path) -> None:
    part_of(two).write_bytes(b"half")  # of whichever process: the state is its run's alone
    drop(two)
    assert not list(two.parent.iterdir())
    assert not is_kept(two)
    drop(two)
