"""Which family some weights belong to, told by names; and what else they may be."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.checkpoints.family import FAMILIES, SD1, SD2, Family
from erasure.errors import CheckpointError

SUPPORTED: Final = " and ".join(family.title for family in FAMILIES.values())

_UNET: Final = "model.diffusion_model.input_blocks.0.0.weight"
_TEXT_OF: Final = (
    ("cond_stage_model.transformer.", SD1),
    ("cond_stage_model.model.", SD2),
)
_OTHERS: Final = (
    (r"conditioner\.embedders\.", "a Stable Diffusion XL checkpoint"),
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
    "StableDiffusionXL": "a Stable Diffusion XL pipeline",
    "StableDiffusion3": "a Stable Diffusion 3 pipeline",
    "Flux": "a Flux pipeline",
}
_V_BIAS: Final = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"


def family_of_file(names: Collection[str], path: Path) -> Family:
    """The family of a single file.

    Raises:
        CheckpointError: it is something else; the message says what, as far as names tell.
    """
    other = next((t for p, t in _OTHERS if any(re.match(p, name) for name in names)), None)
    if other is None or _UNET in names:
        for prefix, family in _TEXT_OF:
            if _UNET in names and any(name.startswith(prefix) for name in names):
                return family
    if other is None and _UNET in names:
        other = "a UNet without the text encoder of Stable Diffusion 1.x or 2.x"
    raise CheckpointError(
        f"{path} holds {other or 'no Stable Diffusion UNet'}; {SUPPORTED} checkpoints are "
        "supported: UNet, VAE and text encoder in one file, or a diffusers folder"
    )


def family_of_folder(
    model_index: Mapping[str, Any], text_encoder: Mapping[str, Any], path: Path
) -> Family:
    """The family of a diffusers folder: both have the same classes, but another text tower.

    CLIP-L (SD 1.x) has the activation `quick_gelu`, which is also the default of transformers;
    OpenCLIP (SD 2.x) has `gelu`. A single file in the other's naming would run with the wrong one.
    """
    kind = str(model_index.get("_class_name"))
    if kind != "StableDiffusionPipeline":
        title = next((t for start, t in _PIPELINES.items() if kind.startswith(start)), None)
        raise CheckpointError(
            f"{path} is {title or 'a ' + kind}, and model_index.json of {SUPPORTED} names "
            "StableDiffusionPipeline; only these are supported"
        )
    return SD1 if text_encoder.get("hidden_act", "quick_gelu") == "quick_gelu" else SD2


def prediction_type_of(
    family: Family, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> str:
    """What the UNet of a single file predicts: `epsilon` or `v_prediction`.

    The header tells it in files of ours and of newer tools. Without it SD 1.x is epsilon; SD 2.x
    is v-prediction where one bias spreads by more than 0.09, the rule ComfyUI uses.
    """
    told = metadata.get("modelspec.prediction_type") or metadata.get("modelspec.predict_key")
    if told:
        return "v_prediction" if told.startswith("v") else "epsilon"
    if family is not SD2 or _V_BIAS not in weights:
        return "epsilon"
    return "v_prediction" if float(weights[_V_BIAS].float().std()) > 0.09 else "epsilon"
