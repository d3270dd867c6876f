"""Passes in bf16, of a network in float32 or in bf16, against those in float32."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny import CPU, assert_same_bits, outside, salun
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.precision import InPrecision, Precision, attention_of, rounded
from erasure.errors import ConfigError
from erasure.masks.masks import SaliencyMask
from erasure.training.step import Step
from erasure.training.train_config import TrainConfig

EXACT = TrainConfig(steps=2, batch_size=2, learning_rate=0.05, optimizer="sgd")
REDUCED: list[Precision] = ["bf16", "bf16-weights"]


@pytest.fixture(scope="module")
def mask(tiny_checkpoint: Checkpoint, tiny_data: ConceptData) -> SaliencyMask:
    return find_mask(tiny_checkpoint, tiny_data, "random", density=0.3)


def update(checkpoint: Checkpoint, unet: Mapping[str, Tensor]) -> Tensor:
    """Put the changes of all weights into one vector."""
    return torch.cat([(unet[name] - base).flatten() for name, base in checkpoint.network.items()])


@pytest.mark.crossed
@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("target", ["moving", "frozen"])
def test_the_update_is_close_to_that_of_fp32_and_unselected_bits_stay(
    tiny_checkpoint: Checkpoint,
    tiny_data: ConceptData,
    mask: SaliencyMask,
    precision: Precision,
    target: str,
) -> None:
    run = tiny_checkpoint, tiny_data, mask
    exact = update(tiny_checkpoint, erase(*run, salun(EXACT, target=target)).network)
    result = erase(*run, salun(replace(EXACT, precision=precision), target=target))
    # bf16 has 8 bits: rounding of 0.4 % a product adds up to a few percent of the gradient.
    error = (update(tiny_checkpoint, result.network) - exact).norm() / exact.norm()
    assert 0 < error < 0.1
    assert_same_bits(result.network, dict(tiny_checkpoint.network), outside(mask.entries))
    assert result.unselected_identical is True


def test_moves_too_small_for_bf16_weights_are_kept(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask
) -> None:
    config = TrainConfig(steps=3, batch_size=2, learning_rate=1e-6, precision="bf16-weights")
    result = erase(tiny_checkpoint, tiny_data, mask, salun(config))
    moved = update(tiny_checkpoint, result.network)
    # Adam's first steps are as long as the rate, far below the 0.4 % that bf16 can tell apart.
    assert 0 < moved.abs().max() < 1e-5
    assert int((moved != 0).sum()) > 0.5 * mask.selected


@pytest.mark.slow
def test_a_run_with_bf16_weights_goes_on_where_it_was(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask, tmp_path: Path
) -> None:
    config = replace(EXACT, precision="bf16-weights")
    run = tiny_checkpoint, tiny_data, mask, salun(config)

    def stop(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erase(*run, state=tmp_path / "state", on_step=stop)
    resumed = erase(*run, state=tmp_path / "state")
    assert_same_bits(resumed.network, erase(*run).network)


@pytest.mark.default("bf16-weights")
@pytest.mark.parametrize("precision", REDUCED)
def test_recomputed_passes_are_the_same_passes(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, mask: SaliencyMask, precision: Precision
) -> None:
    run = tiny_checkpoint, tiny_data, mask, salun(replace(EXACT, precision=precision))
    assert_same_bits(erase(*run, checkpointing=True).network, erase(*run).network)


def kernel(precision: Precision, side: int) -> str:
    """Which attention runs in a pass with a graph, at a latent of that side."""
    with attention_of(precision, (4, side, side), CPU):
        query = torch.ones(1, 1, 2, 8, requires_grad=True)
        made = torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert made.grad_fn is not None
    return made.grad_fn.name()


def test_attention_is_plain_for_few_places_in_bf16_alone() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        plain = kernel("fp32", 8)
    fused = kernel("fp32", 8)
    assert plain != fused
    assert kernel("bf16", 8) == kernel("bf16", 16) == kernel("bf16-weights", 8) == plain
    assert kernel("bf16", 17) == kernel("bf16-weights", 64) == fused


def test_a_pass_without_graph_keeps_the_fused_attention() -> None:
    chosen = []

    def denoise(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        chosen.append(torch.backends.cuda.flash_sdp_enabled())
        return x_t

    x_t, t = torch.zeros(1, 4, 8, 8), torch.zeros(1)
    words = Condition({"tokens": torch.zeros(1, 2, 3)})
    with torch.no_grad():
        InPrecision(denoise, "bf16")(x_t, t, words)
    InPrecision(denoise, "bf16")(x_t, t, words)
    assert chosen == [True, False]
    assert torch.backends.cuda.flash_sdp_enabled()


def test_sizes_beside_the_tokens_stay_whole() -> None:
    def denoise(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        assert x_t.dtype == condition.tokens.dtype == torch.bfloat16
        assert condition.added["time_ids"].tolist() == [515.0]  # bf16 has 514 and 516
        return x_t

    words = Condition({"tokens": torch.zeros(1, 2, 3), "time_ids": torch.tensor([515.0])})
    InPrecision(denoise, "bf16-weights")(torch.zeros(1, 4, 8, 8), torch.zeros(1), words)


def test_rounded_weights_are_those_a_network_holds() -> None:
    weights = {"w": torch.tensor([1 / 3, 1.0], dtype=torch.float16)}
    assert torch.equal(rounded(weights, "bf16")["w"], weights["w"].float())
    third = rounded(weights, "bf16-weights")["w"][0]
    assert math.isclose(third, 1 / 3, rel_tol=2**-8)
    assert third != weights["w"][0]


def test_an_unknown_precision_is_answered_with_the_known() -> None:
    with pytest.raises(ConfigError, match=r"give one of \('fp32', 'bf16', 'bf16-weights'\)"):
        TrainConfig(precision="fp8")  # type: ignore[arg-type]
