"""CLIP-L text encoder (SD 1.x, first of SD XL): transformers names, `text_model.` in front.

transformers drops that prefix from `CLIPTextModel` from about 5.6 on, in memory and in saved files,
while every published file and every loader of single files has it.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

PREFIX: Final = "text_model."
_OUTSIDE: Final = (PREFIX, "text_projection.", "logit_scale", "vision_model.", "visual_projection.")


def with_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add `text_model.` where it is missing; the buffer `position_ids` is left out."""
    return {
        name if name.startswith(_OUTSIDE) else f"{PREFIX}{name}": weight
        for name, weight in weights.items()
        if not name.endswith("position_ids")
    }


to_original = with_prefix
"""transformers names -> names after `cond_stage_model.transformer.` or its place in SD XL."""

to_diffusers = with_prefix
"""The same backwards: transformers names with `text_model.`."""
