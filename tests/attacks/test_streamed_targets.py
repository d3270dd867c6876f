"""Attacks on a network whose blocks are streamed: the same attempts to the bit, or the reason."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.attacked import tiny_target
from support.models.tiny_flow import write_sd3
from support.tiny import CPU

from erasure.attacks import Attempt, Target
from erasure.attacks.diagnostics.traces import TraceConfig, trace
from erasure.attacks.protocol import TUNING, lacking
from erasure.attacks.registry import ATTACKS, make_attack
from erasure.checkpoints import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import ConfigError
from erasure.moving.streaming import streamed_network
from erasure.pass_costs import recomputed_blocks
from erasure.storage.tensors.hashing import weights_hash
from pipelines.audit.drawing import draw_jobs
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter

SHORT: dict[str, dict[str, Any]] = {
    "soft-token": {"marks": (2,), "batch_size": 2},
    "concept-vector": {"rounds": 1, "steps": 1, "population": 4},
    "pooled-text": {"rounds": 1, "steps": 1},
    "prefix": {"rounds": 2, "steps": 1, "batch_size": 1, "prompts": 1},
    "prefix-match": {"rounds": 2, "steps": 1, "batch_size": 1, "prompts": 1},
    "inversion": {"steps": 2, "rounds": 1},
}
"""Attack -> settings by which it takes a moment."""


@pytest.fixture(scope="module", params=["sd1", "sd3"])
def checkpoint(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    if request.param == "sd1":
        return read_checkpoint(tiny_folder)
    folder = tmp_path_factory.mktemp("streamed") / "sd3"
    return read_checkpoint(write_sd3(folder, "sd35_medium", t5=False))


@pytest.fixture(scope="module")
def plain(checkpoint: Checkpoint) -> Target:
    return tiny_target(checkpoint)


@pytest.fixture(scope="module")
def streamed(checkpoint: Checkpoint) -> Target:
    network, moving = streamed_network(checkpoint, torch.float32, CPU)
    frozen = network.eval().requires_grad_(False)
    return tiny_target(checkpoint, network=frozen, homes=moving.homes)


def tensors(one: Attempt) -> list[torch.Tensor]:
    """All that a payload holds, but the prompt."""
    payload = one.payload
    rows = [] if payload.rows is None else list(payload.rows.vectors)
    start = [] if payload.start is None else [payload.start.latents]
    weights = payload.weights or {}
    return [*rows, *start, *(weights[name] for name in sorted(weights))]


@pytest.mark.default("sd3")
def test_every_attack_but_those_that_tune_tries_the_same(plain: Target, streamed: Target) -> None:
    before = weights_hash(streamed.weights)
    assert before == weights_hash(plain.weights)
    for name in ATTACKS.keys() - TUNING:
        attack = make_attack(name, **SHORT.get(name, {}))
        assert lacking(attack, streamed) == lacking(attack, plain) == ""
        one, other = (list(attack.run(target)) for target in (plain, streamed))
        assert [a.payload.prompt for a in one] == [b.payload.prompt for b in other], name
        for mine, theirs in zip(one, other, strict=True):
            assert mine.score == theirs.score, name
            for a, b in zip(tensors(mine), tensors(theirs), strict=True):
                assert torch.equal(a, b), name
    assert weights_hash(streamed.weights) == before


@pytest.mark.default("sd3")
def test_no_block_s_weights_are_held_for_a_gradient(
    checkpoint: Checkpoint, streamed: Target
) -> None:
    config = checkpoint.description.components[checkpoint.architecture.main]
    blocks = recomputed_blocks(checkpoint.architecture, config)
    brought: list[weakref.ref[torch.nn.Parameter]] = []

    def note(block: torch.nn.Module, *_: object) -> None:
        brought.extend(weakref.ref(one) for one in block.parameters() if one not in streamed.homes)

    handles = [streamed.network.get_submodule(b).register_forward_pre_hook(note) for b in blocks]
    pictures = streamed.pictures
    assert pictures is not None
    time = torch.full((1,), streamed.time(0.5))

    def alive() -> int:
        """How many weights are held between a forward pass and its backward pass."""
        brought.clear()
        told_one = streamed.told(["a church"])
        leaf = told_one.tokens.clone().requires_grad_()
        answer = streamed.denoise(pictures.mean[:1], time, told_one.having(tokens=leaf))
        count = sum(one() is not None for one in brought)
        (gradient,) = torch.autograd.grad(answer.sum(), leaf)
        assert gradient.isfinite().all()
        return count

    assert alive() == 0
    assert len(brought) > len(blocks)
    network: Any = streamed.network
    network.disable_gradient_checkpointing()
    assert alive() > 0
    network.enable_gradient_checkpointing()
    for handle in handles:
        handle.remove()


@pytest.mark.default("sd3")
def test_attacks_that_tune_a_copy_say_why_they_cannot(streamed: Target) -> None:
    for name in TUNING:
        assert "tunes a copy of all of it" in lacking(ATTACKS[name], streamed)
        assert lacking(ATTACKS[name], replace(streamed, homes={})) == ""
    with pytest.raises(ConfigError, match="a copy to tune would lie on the device as a whole"):
        streamed.copy()


@pytest.mark.default("sd3")
def test_traces_are_the_same_to_the_bit(plain: Target, streamed: Target) -> None:
    config = TraceConfig(bins=2, draws=1, pictures=2)
    assert trace(streamed, config).to_dict() == trace(plain, config).to_dict()


@pytest.mark.default("sd3")
def test_pictures_by_other_weights_are_the_same_and_the_own_come_back(
    checkpoint: Checkpoint, plain: Target
) -> None:
    tries = list(make_attack("rounding", bits=(4,)).run(plain))[:2]
    drawn: list[NDArray[np.uint8]] = []
    for stream in (False, True):
        drawing = DrawingConfig(steps=2, guidance=2.0, batch_size=2, stream=stream)
        painter = Painter(checkpoint, drawing, CPU, 16)
        assert bool(painter.parts.homes) == stream
        own = [(replace(one.payload, weights=None), 5) for one in tries]
        other = [(one.payload, 5) for one in tries]
        pictures = [draw_jobs(painter, jobs) for jobs in (own, other, own)]
        images = [np.asarray(part[0].image) for part in pictures]
        assert np.array_equal(images[0], images[2])
        assert not np.array_equal(images[0], images[1])
        drawn.append(np.stack(images))
    assert np.array_equal(*drawn)
