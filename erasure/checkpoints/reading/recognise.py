"""Which family some weights belong to, told by names; and what else they may be."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.checkpoints.description import has_component
from erasure.checkpoints.family import FAMILIES, SD1, SD2, SDXL, Family
from erasure.checkpoints.wording import listed
from erasure.errors import CheckpointError

SUPPORTED: Final = listed(family.title for family in FAMILIES.values())

_UNET: Final = "model.diffusion_model.input_blocks.0.0.weight"
_OTHERS: Final = (
    (r"conditioner\.embedders\.0\.model\.", "the refiner of Stable Diffusion XL"),
    (r"conditioner\.embedders\.", "only a part of a Stable Diffusion XL checkpoint"),
    (r"(model\.diffusion_model\.)?joint_blocks\.", "a Stable Diffusion 3 checkpoint"),
    (r"(model\.diffusion_model\.)?double_blocks\.", "a Flux checkpoint"),
    (r".*(lora_unet|lora_te|lora_down|lora_A|\.lora\.)", "a LoRA"),
    (r"control_model\.|controlnet", "a ControlNet"),
    (r"down_blocks\.|mid_block\.", "the UNet of a diffusers folder"),
    (r"(encoder|decoder)\.(conv_in|mid_block|mid)\.", "a VAE"),
    (r"(text_model\.)?(embeddings|encoder\.layers)\.", "a text encoder"),
    (r"emb_params|string_to_param", "a textual inversion"),
)
_PIPELINES: Final = {
    "StableDiffusion3": "a Stable Diffusion 3 pipeline",
    "Flux": "a Flux pipeline",
}
VELOCITY_BIAS: Final = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


def family_of_file(names: Collection[str], path: Path, supposed: Family | None = None) -> Family:
    """The family of a single file.

    Args:
        names: of its weights.
        path: for the message.
        supposed: the family of a folder that has what the file may lack; a UNet alone is of it.

    Raises:
        CheckpointError: it is something else; the message says what, as far as names tell.
    """
    if _UNET in names:
        for family in FAMILIES.values():
            prefixes = [part.prefix for part in family.parts if part.is_text]
            if all(any(name.startswith(prefix) for name in names) for prefix in prefixes):
                return family
        if supposed is not None:
            return supposed
    other = next((t for p, t in _OTHERS if any(re.match(p, name) for name in names)), None)
    if other is None and _UNET in names:
        other = "a UNet without the text encoder of Stable Diffusion"
    if _UNET in names and (other or "").startswith(("a UNet", "only a part")):
        raise CheckpointError(
            f"{path} holds {other}; give --config FOLDER, a diffusers folder of the same model "
            f"({SUPPORTED}), to take what is missing from"
        )
    raise CheckpointError(
        f"{path} holds {other or 'no Stable Diffusion UNet'}; {SUPPORTED} checkpoints are "
        "supported: UNet, VAE and all text encoders in one file, or a diffusers folder"
    )


def family_of_folder(
    model_index: Mapping[str, Any], text_encoder: Mapping[str, Any], path: Path
) -> Family:
    """The family of a diffusers folder: SD XL by its class, the others by their text tower.

    CLIP-L (SD 1.x) has the activation `quick_gelu`, which is also the default of transformers;
    OpenCLIP (SD 2.x) has `gelu`. A single file in the other's naming would run with the wrong one.
    """
    kind = str(model_index.get("_class_name"))
    if kind == SDXL.pipeline:
        if all(has_component(model_index, part.component) for part in SDXL.parts):
            return SDXL
        raise CheckpointError(
            f"{path} is a Stable Diffusion XL pipeline without UNet, VAE or one of its two text "
            "encoders; the complete base model is needed"
        )
    if kind != SD1.pipeline:
        title = next((t for start, t in _PIPELINES.items() if kind.startswith(start)), None)
        raise CheckpointError(
            f"{path} is {title or 'a ' + kind}, and model_index.json of {SUPPORTED} names "
            f"{SD1.pipeline} or {SDXL.pipeline}; only these are supported"
        )
    return SD1 if text_encoder.get("hidden_act", "quick_gelu") == "quick_gelu" else SD2


def seems_velocity(weights: Mapping[str, Tensor]) -> bool | None:
    """Whether one bias of an SD 2.x UNet spreads as in one that predicts velocity.

    Args:
        weights: original names, with their prefix.

    Returns:
        None where that bias is not there.

    Source: the detection of ComfyUI, which asks whether its standard deviation exceeds 0.09.
    """
    bias = weights.get(VELOCITY_BIAS)
    return None if bias is None else float(bias.float().std()) > 0.09
