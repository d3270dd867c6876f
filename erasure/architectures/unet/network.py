"""The UNet of diffusers as a main component: built, and called as objectives call it."""

# B samples, C x h x w latents.

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from erasure.architectures.loading import copied, maker_of
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.diffusion.denoiser import TOKENS, Condition


@dataclass(frozen=True, slots=True)
class UNetDenoiser:
    """A UNet as the objectives call it."""

    network: nn.Module
    added: tuple[str, ...] = ()
    """Names in a condition, besides the tokens, of what the UNet is told as
    `added_cond_kwargs`; it calls them so too."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples -> (B, C, h, w)."""
        output: Tensor = self.network(
            x_t,
            t,
            encoder_hidden_states=condition.tokens,
            added_cond_kwargs={name: condition.named(name) for name in self.added} or None,
        ).sample
        return output


def sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what a UNet takes of one sample that is told tokens alone, without values.

    Args:
        config: of the UNet.
        size: h and w of the latents.
        tokens: L.
    """
    context = torch.empty(1, tokens, whole_number(config, "cross_attention_dim", "the UNet", 1280))
    x_t = torch.empty(1, whole_number(config, "in_channels", "the UNet", 4), *size)
    return x_t, torch.empty(1, dtype=torch.int64), Condition({TOKENS: context})


unet_of = maker_of("UNet2DConditionModel")
build_unet = partial(copied, build=unet_of, component="unet")
