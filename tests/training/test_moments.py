"""8-bit moments: close to those of 32 bits in a quarter of the memory, and nothing else moves."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.console import erasure
from support.tiny import (
    assert_same_bits,
    copied,
    outside,
    seeded,
    some_mask,
    toy_batches,
)
from torch import Tensor, nn

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError
from erasure.methods import SalUn
from erasure.training import moments
from erasure.training.moments import eight_bit_optimizer
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import load_state, save_state

STEPS = 6
CONFIG = TrainConfig(steps=STEPS, batch_size=4, learning_rate=1e-3, moments="8bit")
KINDS = {
    "adam": CONFIG,
    "adamw": replace(CONFIG, optimizer="adamw", weight_decay=0.1),
    "sgd": replace(CONFIG, optimizer="sgd", weight_decay=1e-3, learning_rate=1e-1),
}
SMALL = 4096
"""Vectors of fewer weights keep moments of 32 bits."""


@pytest.fixture(scope="module")
def library() -> Any:  # noqa: ANN401
    return pytest.importorskip("bitsandbytes")


class Wide(nn.Module):
    """A denoiser with a parameter that is large enough for moments of 8 bits, and one that is not.

    Half of the former are 10,050 weights: not a whole number of blocks of 256.
    """

    def __init__(self) -> None:
        super().__init__()
        self.large = nn.Parameter(torch.randn(201, 100, generator=seeded(1)) / 10)
        self.small = nn.Parameter(torch.randn(100, generator=seeded(2)) / 10)

    def forward(self, x_t: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        seen = torch.cat([x_t.flatten(1), tokens.flatten(1)], dim=1)  # (B, 47)
        hidden = torch.tanh(seen @ self.large[:47] + self.small)  # (B, 100)
        return (hidden @ self.large[47:79].T + self.large[79:].mean()).view(x_t.shape)


@dataclass(frozen=True)
class WideDenoiser:
    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        return self.network(x_t, t, condition.tokens)


def trainer_of(network: nn.Module, config: TrainConfig) -> MaskedTrainer[PictureBatch]:
    return MaskedTrainer(
        network,
        WideDenoiser,
        toy_batches(),
        some_mask(network),
        objective=SalUn(),
        config=config,
    )


def state_of(trainer: MaskedTrainer[PictureBatch]) -> Iterator[tuple[str, str, Tensor]]:
    for name, vector in trainer.selected.vectors.items():
        for key, value in trainer.optimizer.state[vector].items():
            if isinstance(value, Tensor):
                yield name, key, value


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_quadratic_it_ends_where_32_bits_end(kind: str) -> None:
    # 0.5 sum c (w - 1)^2, curvatures c over four decades; the minimum is where all w are 1.
    config, n = KINDS[kind], 3 * SMALL
    curvature = torch.logspace(-2, 2, n)
    start = torch.randn(n, generator=seeded())
    settings = {"lr": 2e-2 if kind != "sgd" else 1e-3, "weight_decay": 0.0}
    if kind == "sgd":
        settings["momentum"] = config.momentum
    exact = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    ends = []
    for make in (
        exact[kind],
        lambda vectors, **more: eight_bit_optimizer(kind, vectors, **more),
    ):
        weight = nn.Parameter(start.clone())
        optimizer = make([weight], **settings)
        for _ in range(100):
            weight.grad = curvature * (weight.detach() - 1)
            optimizer.step()
        ends.append(weight.detach() - start)
    apart = float((ends[0] - ends[1]).norm() / ends[0].norm())
    assert 0 < apart < 0.05  # they differ, so the moments were quantised; a few percent
    loss = [float((curvature * (start + end - 1).square()).sum()) for end in (0 * ends[0], *ends)]
    assert loss[2] < loss[0] / 10
    assert loss[2] < 1.2 * loss[1] + 0.01 * loss[0]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_close_to_that_of_32_bits_and_unselected_weights_keep_their_bits(
    kind: str,
) -> None:
    ours, exact = Wide(), Wide()
    start, mask = copied(ours), some_mask(ours)
    eight = trainer_of(ours, KINDS[kind])
    history = list(eight.steps())
    assert len(list(trainer_of(exact, replace(KINDS[kind], moments="fp32")).steps())) == STEPS
    assert_same_bits(copied(ours), start, outside(mask))
    moved = torch.cat([(copied(exact)[name] - start[name]).flatten() for name in start])
    apart = torch.cat([(copied(exact)[name] - copied(ours)[name]).flatten() for name in start])
    assert float(moved.norm()) > 0.01
    assert 0 < float(apart.norm() / moved.norm()) < 0.1
    assert history[-1].loss < history[0].loss * 1.5


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", KINDS)
def test_its_moments_take_a_byte_each(kind: str) -> None:
    trainer = trainer_of(Wide(), KINDS[kind])
    next(trainer.steps())
    count, moments = trainer.selected.vectors["large"].numel(), 1 if kind == "sgd" else 2
    assert count % 256
    state = {(name, key): value for name, key, value in state_of(trainer)}
    large = [value for (name, key), value in state.items() if name == "large" and key[:4] != "qmap"]
    size = sum(value.numel() * value.element_size() for value in large)
    blocks = -(-count // 256)
    assert size == moments * (count + 4 * blocks)  # 1.016 bytes a moment
    assert size < 0.26 * moments * 4 * count
    assert state["small", "state1"].dtype == torch.float32


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_ends_with_the_bytes_of_an_unbroken_one(kind: str, tmp_path: Path) -> None:
    config, network = KINDS[kind], Wide()
    unbroken = trainer_of(network, config)
    history = list(unbroken.steps())
    wanted, path = copied(network), tmp_path / "state.safetensors"
    for done in range(STEPS):
        network = Wide()
        trainer = trainer_of(network, config)
        if done:
            assert load_state(path, trainer, "a run").history == history[:done]
        assert next(trainer.steps()) == history[done]
        save_state(path, trainer, history[: done + 1], "a run")
    assert_same_bits(copied(network), wanted)
    ends = [list(state_of(trainer)), list(state_of(unbroken))]
    assert len(ends[0]) == len(ends[1])
    for one, other in zip(*map(sorted_by_name, ends), strict=True):
        assert one[:2] == other[:2]
        assert torch.equal(one[2], other[2])


def sorted_by_name(state: list[tuple[str, str, Tensor]]) -> list[tuple[str, str, Tensor]]:
    return sorted(state, key=lambda row: row[:2])


@pytest.mark.usefixtures("library")
def test_its_state_takes_half_the_room_on_disk(tmp_path: Path) -> None:
    sizes = []
    for config in (CONFIG, replace(CONFIG, moments="fp32")):
        trainer = trainer_of(Wide(), config)
        next(trainer.steps())
        save_state(tmp_path / config.moments, trainer, [], "a run")
        state = load_file(tmp_path / config.moments)
        large = [v for k, v in state.items() if k.endswith("large") and "qmap" not in k]
        sizes.append(sum(value.numel() * value.element_size() for value in large))
    assert sizes[0] / sizes[1] == pytest.approx(6.03 / 12, rel=0.01)


def test_without_the_library_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError) as info:
        trainer_of(Wide(), CONFIG)
    assert "needs bitsandbytes; install it with `pip install 'diffusion-erasure[8bit]'`" in str(
        info.value
    )
    assert 'or give moments = "fp32"' in str(info.value)
    trainer_of(Wide(), replace(CONFIG, moments="fp32"))


def test_the_command_says_so_before_it_draws_a_picture(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    line = ("erase", "--recipe", tiny_recipe, "--moments", "8bit", "--out", tmp_path / "run")
    said = erasure(*line)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith(
        "erasure: moments is '8bit', which needs bitsandbytes"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("library")
def test_the_command_erases_with_it(tiny_recipe: Path, tmp_path: Path) -> None:
    line = ("erase", "--recipe", tiny_recipe, "--moments", "8bit", "--steps", 2)
    said = erasure(*line, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert "bit-identical" in said.out
    assert 'moments = "8bit"' in (tmp_path / "run" / "recipe.toml").read_text()


def test_a_device_that_it_cannot_serve_is_told_at_once(
    library: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unserved(*_: object, **__: object) -> None:
        raise NotImplementedError("Could not run 'bitsandbytes::optimizer_update'\nand much more")

    monkeypatch.setattr(library.optim.Adam8bit, "step", unserved)
    with pytest.raises(ConfigError) as info:
        trainer_of(Wide(), CONFIG)
    assert "which bitsandbytes cannot do on cpu here (Could not run" in str(info.value)
    assert "much more" not in str(info.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"moments": "4bit"}, r"moments is '4bit'; give one of \('fp32', '8bit'\)"),
        ({"optimizer": "sgd", "momentum": 0.0}, "SGD without momentum has none"),
        ({"weight_decay": 0.1}, "so give optimizer 'adamw', or moments 'fp32'"),
    ],
)
def test_settings_that_it_has_not_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.usefixtures("library")
def test_a_gpu_takes_the_steps_of_the_cpu(tmp_path: Path) -> None:
    here, there = Wide(), Wide().cuda()
    start = copied(here)
    list(trainer_of(here, CONFIG).steps())
    trainer = trainer_of(there, CONFIG)
    list(trainer.steps())
    save_state(tmp_path / "state", trainer, [], "a run")
    for name, value in copied(there).items():
        moved = (copied(here)[name] - start[name]).norm()
        assert float((value.cpu() - copied(here)[name]).norm()) < 0.1 * float(moved), name
    assert load_state(tmp_path / "state", trainer_of(Wide(), CONFIG), "a run").history == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a torch without CUDA")
def test_a_device_that_torch_was_not_built_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_class_of", lambda name: torch.optim.Adam)
    with pytest.raises(ConfigError, match="'8bit', which bitsandbytes cannot do on cuda here"):
        moments.require_eight_bit("adam", torch.device("cuda"))
