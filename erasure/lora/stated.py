"""What a LoRA file says of itself in its header: its alphas, and the family it was made for."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from erasure.checkpoints.layout.clip import PREFIX
from erasure.errors import CheckpointError
from erasure.lora.keys import other_kind, split_key
from erasure.lora.names import Place
from erasure.storage.tensors.tensor_file import TensorFile

OURS: Final = "erasure."
"""Before the words of a header that are of this package."""
ADAPTER: Final = "lora_adapter_metadata"
"""Where diffusers writes the settings of peft: JSON, keys with the component in front."""
_MOST: Final = 2**24
"""The largest alpha that is read; ranks, which alphas are close to, are far below."""
_PLAIN: Final = re.compile(r"[\w.-]+")
"""A layer's name, or the end of one."""
_FAMILY: Final = ("modelspec.architecture", "ss_base_model_version")
_MARKS: Final = {
    "double_blocks_": "a LoRA of FLUX",
    "single_transformer_blocks": "a LoRA of FLUX",
    "joint_blocks_": "a LoRA of Stable Diffusion 3",
    "lora_te2_": "a LoRA of Stable Diffusion XL",
    "text_encoder_2.": "a LoRA of Stable Diffusion XL",
    "unet_input_blocks_": "a LoRA of Stable Diffusion XL",
    "unet_output_blocks_": "a LoRA of Stable Diffusion XL",
    "lora_te_": "a LoRA of Stable Diffusion 1.x or 2.x",
}
"""Part of a key -> what files with such keys are."""


def stated_family(file: TensorFile) -> str:
    """What a file is by its header or its keys, as a half sentence; empty where neither says."""
    for key in _FAMILY:
        if file.metadata.get(key):
            return f"it states {key} {file.metadata[key]!r:.80}"
    for mark, kind in _MARKS.items():
        if any(mark in key for key in file.tensors):
            return f"by its names it is {kind}"
    return ""


def described_lora(file: TensorFile) -> str:
    """What a LoRA file, or one of another kind of adapter, says of itself; empty of other files."""
    of_adapters = sum(bool(split_key(key) or other_kind(key)) for key in file.tensors)
    if 2 * of_adapters <= len(file.tensors):
        return ""
    concepts, base = (file.metadata.get(f"{OURS}{key}", "") for key in ("concepts", "base"))
    erases = f"that it erases {concepts!r:.80}" if concepts else ""
    if erases and base:
        erases += f" from {base!r:.80}"
    says = " and ".join(filter(None, (stated_family(file), erases)))
    return f"a LoRA and no model{f' ({says})' if says else ''}"


def stated_alpha(metadata: Mapping[str, str], place: Place, source: str) -> float | None:
    """The alpha of a layer in the settings of peft; None where a header has none.

    Raises:
        CheckpointError: the entry is damaged.
    """
    if ADAPTER not in metadata:
        return None
    again = "get it again from its source"
    try:
        settings = json.loads(metadata[ADAPTER])
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"{source} has {ADAPTER} that is no JSON; {again}") from err
    if not isinstance(settings, dict):
        raise CheckpointError(f"{source} has {ADAPTER} that is no table; {again}")
    if settings.get(f"{place.component}.use_rslora"):
        raise CheckpointError(
            f"{source} states use_rslora, whose factors are scaled in another way and are not read "
            "here; merge it with the tool that made it"
        )
    alpha = _patterned(settings.get(f"{place.component}.alpha_pattern"), place.module, source)
    if alpha is None:
        alpha = settings.get(f"{place.component}.lora_alpha")
    if alpha is None:
        return None
    number = not isinstance(alpha, bool) and isinstance(alpha, int | float)
    if not number or not abs(alpha) <= _MOST:
        raise CheckpointError(
            f"{source} states the alpha {alpha!r:.60} for {place.module}, which is no number "
            f"of at most {_MOST:,}; {again}"
        )
    return float(alpha)


def _patterned(patterns: Any, module: str, source: str) -> Any:  # noqa: ANN401
    """The value of the first pattern that a module's name ends with, as peft reads them.

    peft takes the patterns for regular expressions. Those of a file are hostile until checked, so
    only plain names are followed here, with an anchor before them or not. Of a text encoder they
    may be without the prefix, as transformers has its layers in memory.

    Raises:
        CheckpointError: a pattern is more than a name, so that an alpha of it would be passed over.
    """
    if not isinstance(patterns, dict):
        return None
    modules = (module, module.removeprefix(PREFIX))
    for pattern, value in patterns.items():
        plain = re.sub(r"\\([^\w])", r"\1", str(pattern))
        name = plain.removeprefix("^")
        if not _PLAIN.fullmatch(name):
            raise CheckpointError(
                f"{source} states an alpha for the layers {pattern!r:.80}, a regular expression, "
                "which is not read here; merge it with the tool that made it"
            )
        ends = plain == name and module.endswith(f".{name}")
        if name in modules or ends:
            return value
    return None
