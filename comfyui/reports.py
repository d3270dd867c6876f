"""What the nodes say of patches: which concepts, of which weights, how many, and how exactly."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import edits_of
from erasure.errors import PatchError
from erasure.patches.patch import Patch

_MOST_PIXELS = 64_000_000


def about(name: str, patches: Mapping[str, Patch]) -> str:
    """A patch in some lines."""
    lines = [f"{name} is an edit against {concepts(patches)}."]
    for component, patch in patches.items():
        lines += [
            f"{component}: {patch.moved:,} weights of {len(patch.entries)} tensors move.",
            f"made for {patch.info.base}",
            f"leads to {patch.info.result}",
        ]
    first = next(iter(patches.values()))
    lines += [_edit(edit) for edit in edits_of(first.info.provenance, name)]
    return "\n".join(lines)


def concepts(patches: Mapping[str, Patch]) -> str:
    """What the patch erases, in words."""
    named = [word for patch in patches.values() for word in patch.info.concepts]
    return ", ".join(dict.fromkeys(named)) or "what it does not name"


def loaded(wanted: Sequence[tuple[str, Mapping[str, Patch], float]]) -> str:
    """What was done to the weights of a file before a model was built of them."""
    lines = [
        f"{_line(name, patches, much)}; the base is the right one" for name, patches, much in wanted
    ]
    if all(much in (0, 1) for _, _, much in wanted) and len(wanted) == 1:
        result = ", ".join(patch.info.result[:12] for patch in wanted[0][1].values())
        state = f"the edited ones ({result})" if wanted[0][2] else "those of the base"
        lines.append(f"The weights are {state} to the bit.")
    elif all(much in (0, 1) for _, _, much in wanted):
        lines.append("Changes of a weight that several patches move are added up and rounded once.")
    else:
        lines.append(
            "At strengths other than 0 and 1 no hash says what must come out: a weight is base + "
            "strength * (edited - base), rounded to its type."
        )
    return "\n".join(lines)


def applied(name: str, patches: Mapping[str, Patch], strength: float) -> str:
    """What was put on top of a model that ComfyUI holds."""
    return (
        f"{_line(name, patches, strength)}; the base is the right one. ComfyUI computes patched "
        "weights in a type of its own choice, so they are right to rounding; Load Model with "
        "Erasure is right to the bit."
    )


def picture(patch: Path) -> Tensor | None:
    """The picture beside a patch, of the same name with .png: (1, H, W, 3) in [0, 1].

    Raises:
        PatchError: it cannot be read, or has too many pixels.
    """
    beside = patch.with_suffix(".png")
    if not beside.is_file():
        return None
    try:
        with Image.open(beside, formats=["PNG"]) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise PatchError(
                    f"{beside} has {opened.width} x {opened.height} pixels, and at most "
                    f"{_MOST_PIXELS:,} are shown; make it smaller"
                )
            pixels = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:
        raise PatchError(f"{beside} is no picture that can be read ({err}); replace it") from err
    return torch.from_numpy(pixels)[None]


def _line(name: str, patches: Mapping[str, Patch], strength: float) -> str:
    moved = sum(patch.moved for patch in patches.values())
    return f"{name} at strength {strength:g}: {moved:,} weights move against {concepts(patches)}"


def _edit(edit: EditRecord) -> str:
    base = edit.base or "a model without a name"
    return (
        f"{edit.concept}, from {base}, by {edit.objective}, density {edit.density:g}, with erasure "
        f"{edit.version} {edit.created}".rstrip()
    )
