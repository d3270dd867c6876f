"""CLIP-L text encoder (SD 1.x, first of SD XL): transformers names, `text_model.` in front.

transformers drops that prefix from `CLIPTextModel` from about 5.6 on, in memory and in saved files,
while every published file and every loader of single files has it.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.layout.renaming import respelled

PREFIX: Final = "text_model."
_PROJECTION: Final = "text_projection.weight"
_SQUARE: Final = f"{PREFIX}encoder.layers.0.self_attn.out_proj.weight"
"""A weight whose sides are the width."""
_OUTSIDE: Final = (PREFIX, "text_projection.", "logit_scale", "vision_model.", "visual_projection.")


def with_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add `text_model.` where it is missing; the buffer `position_ids` is left out.

    Raises:
        CheckpointError: a weight is there with and without it, with two values.
    """
    named = {n: w for n, w in weights.items() if not n.endswith("position_ids")}
    return respelled(named, lambda n: n if n.startswith(_OUTSIDE) else f"{PREFIX}{n}")


to_original = with_prefix
"""transformers names -> names after `cond_stage_model.transformer.` or its place in SD XL."""

to_diffusers = with_prefix
"""The same backwards: transformers names with `text_model.`."""


def with_unit_projection(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, and the unit matrix as projection where there is none.

    SD 3 was trained with what its first text encoder pools as it is. ComfyUI's `clip_l.safetensors`
    and SD 3's files with text encoders leave the projection out; folders of diffusers hold it.

    Source: `create_diffusers_clip_model_from_ldm` of diffusers; `return_projected_pooled=False` in
        Stability AI's reference code of SD 3.
    """
    named = with_prefix(weights)
    square = named.get(_SQUARE)
    if _PROJECTION in named or square is None or square.dim() != 2:
        return named
    return {**named, _PROJECTION: torch.eye(*square.shape).to(square)}
