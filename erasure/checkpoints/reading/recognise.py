"""Which family some weights belong to, told by names; and what else they may be."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from erasure.architectures.architecture import Architecture
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import has_component
from erasure.checkpoints.wording import listed
from erasure.errors import CONFIG, CheckpointError

SUPPORTED: Final = listed(family.title for family in ARCHITECTURES.values())

_CHROMA: Final = re.compile(r"(model\.diffusion_model\.)?distilled_guidance_layer\.")
"""Weights of Chroma, which has besides them the blocks of FLUX.1, but no modulations in these."""
_OTHERS: Final = (
    (_CHROMA.pattern, "Chroma, a kin of FLUX.1 that is not among the families here"),
    (r"conditioner\.embedders\.0\.model\.", "the refiner of Stable Diffusion XL"),
    (r"conditioner\.embedders\.", "only a part of a Stable Diffusion XL checkpoint"),
    (r"(model\.diffusion_model\.)?joint_blocks\.", "only a part of Stable Diffusion 3"),
    (r"(model\.diffusion_model\.)?double_blocks\.", "only a part of FLUX.1"),
    (r".*(lora_unet|lora_te|lora_down|lora_A|\.lora\.)", "a LoRA"),
    (r"control_model\.|controlnet", "a ControlNet"),
    (r"down_blocks\.|mid_block\.", "the UNet of a diffusers folder"),
    (r"(encoder|decoder)\.(conv_in|mid_block|mid)\.", "a VAE"),
    (r"(text_model\.)?(embeddings|encoder\.layers)\.", "a text encoder"),
    (r"emb_params|string_to_param", "a textual inversion"),
)
_PIPELINES: Final = {
    "StableDiffusion3": "a Stable Diffusion 3 pipeline of another kind",
    "Flux2": "a FLUX.2 pipeline of another kind",
    "Flux": "a Flux pipeline",
}


def family_of_file(
    names: Collection[str],
    path: Path,
    supposed: Architecture | None = None,
    *,
    alone: bool = False,
) -> Architecture:
    """The family of a single file.

    Args:
        names: of its weights.
        path: for the message.
        supposed: the family of a folder that has what the file may lack; a main component alone
            is of it.
        alone: whether a main component suffices, whatever else is missing.

    Raises:
        CheckpointError: it is something else; the message says what, as far as names tell.
    """
    main = [family for family in ARCHITECTURES.values() if _first(family) in names]
    if any(_CHROMA.match(name) for name in names):
        main = []
    for family in main:
        texts = [p.prefixes for p in family.parts if p.is_text and not p.optional]
        if all(any(name.startswith(prefixes) for name in names) for prefixes in texts):
            return family
    if main and supposed is not None:
        same = any(family.main == supposed.main for family in main)
        return supposed if supposed in main or (same and not main[0].file_parts) else main[0]
    if main and (alone or main[0].file_parts):
        return main[0]
    other = content_of(names)
    if main and other is None:
        other = f"a {main[0].main_part.title} without the text encoder of {main[0].title}"
    if main and (other or "").startswith((f"a {main[0].main_part.title}", "only a part")):
        raise CheckpointError(
            f"{path} holds {other}; give ",
            CONFIG,
            f", a diffusers folder of the same model ({SUPPORTED}), to take what is missing from",
        )
    if other == "a LoRA":
        raise CheckpointError(
            f"{path} holds a LoRA and no model; give the model that it is made for, or the one "
            "that `erasure export BASE --lora FILE` writes with it"
        )
    raise CheckpointError(
        f"{path} holds {other or 'no network of a known family'}; {SUPPORTED} checkpoints are "
        "supported: the parts of a published file in one, or a diffusers folder"
    )


def content_of(names: Collection[str]) -> str | None:
    """What weights are that are no model of a known family, as a noun; None where names do not
    tell."""
    return next((t for p, t in _OTHERS if any(re.match(p, name) for name in names)), None)


def _first(family: Architecture) -> str:
    return f"{family.main_part.prefix}{family.first_weight}"


def telling_components(model_index: Mapping[str, Any]) -> list[str]:
    """List the components whose configs tell families of one pipeline class apart."""
    kind = str(model_index.get("_class_name"))
    main = {family.main for family in ARCHITECTURES.values() if family.pipeline == kind}
    return sorted({"text_encoder", *main})


def family_of_folder(
    model_index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]], path: Path
) -> Architecture:
    """Find the family of a diffusers folder by the class of its pipeline, and where several have
    that class, by the configs of `telling_components`.

    Raises:
        CheckpointError: no family has that class, or the folder lacks one of several text encoders.
    """
    kind = str(model_index.get("_class_name"))
    same = [family for family in ARCHITECTURES.values() if family.pipeline == kind]
    saying = {**configs, "model_index": model_index}
    family = next((one for one in same if one.suits(saying)), None)
    if family is None:
        title = next((t for start, t in _PIPELINES.items() if kind.startswith(start)), None)
        known = " or ".join(dict.fromkeys(one.pipeline for one in ARCHITECTURES.values()))
        raise CheckpointError(
            f"{path} is {title or 'a ' + kind}, and model_index.json of {SUPPORTED} names "
            f"{known}; only these are supported"
        )
    # A pipeline of several text encoders may name none for one of them: then it is another model.
    needed = [part for part in family.parts if not part.optional]
    missing = [p.title for p in needed if not has_component(model_index, p.component)]
    if missing and sum(part.is_text for part in family.parts) > 1:
        raise CheckpointError(
            f"{path} is a {family.title} pipeline without its {' and '.join(missing)}; the "
            "complete base model is needed"
        )
    return family
