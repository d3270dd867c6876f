"""Weights stored as codes that mean nothing without scales: recognised and refused by name.

Quantised files hold a weight as 4 or 8 bits and, under a name beside it, the scale that gives back
its value. Read without that scale they load, and draw noise. Plain 8-bit floats have no scale: they
are numbers like any others, and are widened without loss.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.wording import counted, few
from erasure.errors import CheckpointError

_REMEDY: Final = (
    "give the same model in float32, float16 or bfloat16, erase there, and quantise what comes "
    "out, as a weight that is stored as a code shares its scale with its neighbours"
)
_GGUF: Final = b"GGUF"
"""How such a file begins."""
_SCHEMES: Final = (
    # What ends a name, or is all of it -> who writes it.
    (r"scaled_fp8|scale_(weight|input|output)|comfy_quant", "ComfyUI's scaled 8-bit weights"),
    (r"SCB|weight_format", "bitsandbytes in 8 bits"),
    (r"(nested_)?(absmax|quant_map)|quant_state(\..*)?", "bitsandbytes in 4 bits"),
    (r"qweight|qzeros|g_idx", "GPTQ or AWQ"),
    (r"(weight|input|output|pre_quant|k|v)_scale(_\w+)?|scales", "weights with scales"),
    (r"_(data|scale|shift|zero_point)|(weight_)?zero_points?", "weights with scales"),
)
_ANY: Final = re.compile(rf"(^|\.)({'|'.join(ending for ending, _ in _SCHEMES)})$")
_HEADER: Final = "_quantization_metadata"
_CONFIG: Final = "quantization_config"
_PLAIN: Final = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_COUNTER: Final = ".num_batches_tracked"
"""End of the name of a whole number that layers of statistics have beside them."""
_EIGHT_BITS: Final = (torch.float8_e4m3fn, torch.float8_e5m2)
"""Both have fewer digits and no more range than float16."""


def refuse_quantised(
    names: Collection[str],
    metadata: Mapping[str, str],
    where: str,
    component: str = "",
    *,
    family: Architecture | None = None,
) -> None:
    """Raise CheckpointError where names or header tell of scales.

    Args:
        names: as stored, in a single file or in a component's folder.
        metadata: the file's header.
        where: the file or folder.
        component: whose weights they are; empty where the names' prefixes tell.
        family: that of the file, where it is known; several share their prefixes.

    Raises:
        CheckpointError: see above.
    """
    suspects = sorted(name for name in names if _ANY.search(name))
    for ending, scheme in _SCHEMES if suspects else ():
        scales = [name for name in suspects if re.search(rf"(^|\.)({ending})$", name)]
        if scales:
            raise CheckpointError(
                f"{where} holds a quantised {_title(scales[0], component, family)} "
                f"({scheme}: {few(scales)}), which cannot be edited; {_REMEDY}"
            )
    if _HEADER in metadata:
        raise CheckpointError(
            f"{where} has quantised weights, as its header entry {_HEADER} says; they cannot be "
            f"edited; {_REMEDY}"
        )


def refuse_gguf(path: Path) -> None:
    """Raise CheckpointError where a file is GGUF, whose weights are blocks of codes."""
    with path.open("rb") as file:
        if file.read(len(_GGUF)) == _GGUF:
            raise CheckpointError(
                f"{path} is a GGUF file, whose weights are quantised in blocks and cannot be "
                f"edited; {_REMEDY}"
            )


def refuse_quantised_config(config: Mapping[str, object], where: str) -> None:
    """Raise CheckpointError where a component's config says that its weights are quantised."""
    if config.get(_CONFIG):
        entry = config[_CONFIG]
        method = entry.get("quant_method") if isinstance(entry, Mapping) else None
        raise CheckpointError(
            f"{where} has a {_CONFIG} ({method or 'of an unknown method'}): its weights are "
            f"quantised and cannot be edited; {_REMEDY}"
        )


def plain_weights(
    weights: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The weights in a type that can hold an edit, and a note if that is not the stored one.

    Plain 8-bit floats become float16, which holds each of their values exactly.

    Raises:
        CheckpointError: a weight is stored in integers, or in a float that needs a scale.
    """
    known = (*_PLAIN, *_EIGHT_BITS)
    odd = [n for n, w in weights.items() if w.dtype not in known and not n.endswith(_COUNTER)]
    if odd:
        kind = _type(weights[odd[0]])
        raise CheckpointError(
            f"{where} has {counted(len(odd))} stored as {kind} ({few(odd)}), which are "
            f"codes of quantised weights; {_REMEDY}"
        )
    small = [n for n, w in weights.items() if w.dtype in _EIGHT_BITS]
    if not small:
        return dict(weights), ()
    kind = _type(weights[small[0]])
    widened = {n: w.half() if w.dtype in _EIGHT_BITS else w for n, w in weights.items()}
    return widened, (
        f"{where} has {counted(len(small))} in {kind}, without scales; they are read as "
        "float16, which holds the same values",
    )


def _title(name: str, component: str, family: Architecture | None) -> str:
    families = ARCHITECTURES.values() if family is None else (family,)
    parts = [part for one in families for part in one.parts]
    for part in parts:
        if part.component == component if component else name.startswith(part.prefixes):
            return part.title
    return "component"


def _type(weight: Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")
