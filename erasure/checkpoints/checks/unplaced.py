"""What a checkpoint holds beside the weights of its models: kept, left out, and said."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.wording import counted, few
from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

_AVERAGED: Final = "model_ema."
_BUFFERS: Final = re.compile(
    # The original training code stores these; it derives them from the noise schedule.
    r"(log_|sqrt_)?(one_minus_|recip_|recipm1_)?(alphas_cumprod|betas)(_prev)?"
    r"|posterior_(variance|log_variance_clipped|mean_coef[12])|lvlb_weights|logvar"
    r"|(denoiser\.)?sigmas|model_ema\.(decay|num_updates)"
    r"|v_pred|ztsnr"  # markers, which are written anew
)
_EXPECTED: Final = re.compile(
    # The published text encoders hold these; diffusers leaves out last layer, projection, scale.
    r"(transformer\.resblocks|text_model\.encoder\.layers)\.\d+\..*"
    r"|text_projection(\.weight)?|logit_scale"
)


def unplaced(
    tensors: Mapping[str, Tensor], family: Architecture, path: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """What stands under no component's prefix in a single file.

    Returns:
        What is kept, and a sentence each on that and on an averaged copy. Buffers of the schedule
        are left out: each loader makes them anew. So is the average, the model before erasure.
    """
    prefixes = tuple(prefix for part in family.parts for prefix in part.prefixes)
    outside = [n for n in tensors if not n.startswith(prefixes) and not _BUFFERS.fullmatch(n)]
    averaged = [name for name in outside if name.startswith(_AVERAGED)]
    extras = {name: tensors[name] for name in outside if name not in set(averaged)}
    notes = []
    if averaged:
        notes.append(
            f"{path} holds an averaged copy of the {family.main_part.title} too ({_AVERAGED}*); "
            "it is left out, since it would bring back what is erased"
        )
    if extras:
        notes.append(
            f"{path} has {counted(len(extras))} that are of no part of {family.title} "
            f"({few(sorted(extras))}); they are not used, and kept for a single file"
        )
    return extras, tuple(notes)


def beside_components(
    tensors: Mapping[str, Tensor],
    family: Architecture,
    configs: Mapping[str, Mapping[str, Any]],
    path: Path,
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The same of the file that a folder keeps for a single file.

    Args:
        tensors: of that file, original names.
        configs: of the components that the folder has.
        path: of the file.

    Raises:
        CheckpointError: one would stand in the place of a component's weight in the single file,
            and bring back what an erasure changed.
    """
    extras, notes = unplaced(tensors, family, path)
    for part in family.parts:
        own = {name for name in tensors if name.startswith(part.prefixes)}
        rest = {name for name in own if name.startswith(part.prefix)}
        if own and part.component != family.main and part.component in configs:
            wanted = expected_weights(part, configs[part.component])
            rest -= {f"{part.prefix}{name}" for name in part.to_original(wanted)}
        else:
            rest = set()
        if strange := sorted(own - rest):
            raise CheckpointError(
                f"{path} holds {shown(strange[0])}, which stands for a weight of the {part.title} "
                "in a single file, where that would be in its place; take the weight out, or fetch "
                "the model again from a source you trust"
            )
        extras |= {name: tensors[name] for name in sorted(rest)}
    return extras, notes


def note_on_rest(rest: Collection[str], where: str) -> tuple[str, ...]:
    """A sentence on weights of a component that its model has no place for, but for those that
    every published file has."""
    odd = sorted(name for name in rest if not _EXPECTED.fullmatch(name))
    if not odd:
        return ()
    return (
        f"{where} has {counted(len(odd))} that its model has no place for ({few(odd)}); they are "
        "not used, and kept for a single file",
    )
