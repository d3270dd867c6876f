"""In bfloat16, where diffusers lets 0.5019 become 0.5, networks hear the time that was drawn."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    Flux2Transformer2DModel,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    ZImageTransformer2DModel,
)
from support.models.tiny_chat import (
    FLUX2_CONFIG,
    QWEN_IMAGE_CONFIG,
    WIDTH,
    Z_IMAGE_CONFIG,
    heard,
    write_flux2,
)
from support.models.tiny_flow import FLUX_CONFIG, JOINT, SD3_CONFIG, WIDTHS
from support.tiny import random_pictures, seeded
from torch import Tensor, nn

from erasure import erase, find_mask, read_checkpoint
from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.text.joint_encoders import POOLED
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.denoiser import GUIDANCE, TOKENS, Condition
from erasure.diffusion.precision import InPrecision, Precision, autocast_of
from erasure.methods import SalUn

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "bf16-weights")
NEAR = (0.5019, 0.5)
"""Two times that are one in bfloat16."""


@dataclass(frozen=True)
class Family:
    """A tiny network of diffusers, and what it is called with."""

    kind: Callable[..., nn.Module]
    config: Mapping[str, Any]
    channels: int
    features: Mapping[str, int]
    """Tensor of the condition -> its features; 0 for a number a sample."""
    rounds_in: tuple[Precision, ...]
    """Where diffusers rounds s."""

    def condition(self) -> Condition:
        draw = seeded(1)
        shapes = {n: (1, 3, f) if n == TOKENS else (1, f) for n, f in self.features.items() if f}
        inputs = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        return Condition(
            {**inputs, **{n: torch.ones(1) for n, f in self.features.items() if not f}}
        )


ROUNDING: tuple[Precision, ...] = ("bf16", "bf16-weights")
FLUX = {TOKENS: JOINT, POOLED: WIDTHS[0]}
DEV = {**FLUX_CONFIG, "guidance_embeds": True}
FAMILIES = {
    "sd3": Family(SD3Transformer2DModel, SD3_CONFIG, 4, {TOKENS: JOINT, POOLED: sum(WIDTHS)}, ()),
    "flux_dev": Family(FluxTransformer2DModel, DEV, 4, {**FLUX, GUIDANCE: 0}, ROUNDING),
    "flux_schnell": Family(FluxTransformer2DModel, FLUX_CONFIG, 4, FLUX, ROUNDING),
    "flux2_klein": Family(
        Flux2Transformer2DModel, FLUX2_CONFIG, 16, {TOKENS: 3 * WIDTH}, ROUNDING[1:]
    ),
    "qwen_image": Family(
        QwenImageTransformer2DModel, QWEN_IMAGE_CONFIG, 4, {TOKENS: 2 * WIDTH}, ROUNDING
    ),
    "z_image": Family(ZImageTransformer2DModel, Z_IMAGE_CONFIG, 4, {TOKENS: WIDTH}, ()),
}


def networks(key: str) -> tuple[nn.Module, nn.Module]:
    """That of diffusers, and ours of the same weights."""
    family = FAMILIES[key]
    plain = heard(family.kind(**family.config), 5, ()).eval()
    ours = ARCHITECTURES[key].main_part.build(family.config).eval()
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def answers(key: str, network: nn.Module, precision: Precision) -> list[Tensor]:
    """At each of the near times."""
    family = FAMILIES[key]
    held = network.bfloat16() if precision == "bf16-weights" else network
    denoise = InPrecision(ARCHITECTURES[key].denoiser(held), precision)
    x = torch.randn(1, family.channels, 4, 4, generator=seeded(2))
    with torch.no_grad(), autocast_of(precision, x.device):
        return [denoise(x, torch.tensor([s]), family.condition()) for s in NEAR]


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # of norms under autocast
@pytest.mark.parametrize("key", FAMILIES)
def test_a_time_is_heard_as_it_was_drawn_where_diffusers_rounds_it(key: str) -> None:
    plain, ours = networks(key)
    exact = answers(key, copy.deepcopy(ours), "fp32")
    for precision in PRECISIONS:
        theirs, own = (answers(key, one, precision) for one in (plain, ours))
        assert torch.equal(*theirs) == (precision in FAMILIES[key].rounds_in), precision
        assert not torch.equal(*own), precision
        if precision not in FAMILIES[key].rounds_in:
            assert all(map(torch.equal, own, theirs)), precision
        for made, wanted in zip(own, exact, strict=True):
            apart = (made.float() - wanted).norm() / wanted.norm()
            assert apart < 0.03, precision  # 8 bits a product


def test_a_network_that_has_drawn_keeps_no_time_and_is_copied_whole() -> None:
    _, ours = networks("flux_dev")
    with torch.inference_mode():
        drawn = answers("flux_dev", ours, "bf16-weights")
    other = copy.deepcopy(ours)
    hooks = other.get_submodule("time_text_embed")._forward_pre_hooks.values()
    assert [getattr(hook, "__self__")._time for hook in hooks] == [None]  # noqa: B009
    made = answers("flux_dev", other, "bf16-weights")
    assert all(map(torch.equal, made, (one.clone() for one in drawn)))
    assert not torch.equal(*made)


def test_a_time_that_a_pipeline_rounded_itself_stays_so() -> None:
    plain, ours = (network.bfloat16() for network in networks("flux_schnell"))
    condition = FAMILIES["flux_schnell"].condition()
    call: dict[str, Any] = {
        "hidden_states": torch.randn(1, 4, 16, generator=seeded(2)).bfloat16(),
        "encoder_hidden_states": condition.tokens.bfloat16(),
        "pooled_projections": condition.named(POOLED).bfloat16(),
        "timestep": torch.tensor([0.5019]).bfloat16(),
        "img_ids": torch.zeros(4, 3),
        "txt_ids": torch.zeros(3, 3),
        "return_dict": False,
    }
    with torch.no_grad():
        assert torch.equal(ours(**call)[0], plain(**call)[0])


def test_a_step_in_bfloat16_is_near_that_of_float32(tmp_path: Path) -> None:
    model = read_checkpoint(write_flux2(tmp_path / "klein"))
    church, dog = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    data = encode_concept(model, church, {"a church": ["a castle"]}, dog)
    mask = find_mask(model, data, "random", density=0.3, scope="attn")

    def update(precision: Precision) -> Tensor:
        method = SalUn(
            steps=1, batch_size=2, learning_rate=0.05, optimizer="sgd", precision=precision
        )
        made = erase(model, data, mask, method).network
        return torch.cat([(made[name] - model.network[name]).flatten() for name in mask.entries])

    exact, near = update("fp32"), update("bf16-weights")
    assert float((near - exact).norm() / exact.norm()) < 0.03  # 0.32 with rounded times
