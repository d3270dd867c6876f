"""A patch in a model that ComfyUI holds: which adapters go to which of its weights."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from erasure.errors import PatchError
from erasure.patches.applying import moved_values, require_applies
from erasure.patches.patch import Patch, PatchEntry
from erasure.patches.placing import Piece, places
from erasure.patches.single_file_patch import Placed, place
from erasure.patches.strength import require_strength

from .adapter import ErasureAdapter

PREFIX: Final = "diffusion_model."
"""What the names of the network begin with in a model of ComfyUI; after it they are those of the
original single file."""
Key = str | tuple[str, tuple[int, int, int]]
"""Name of a weight of ComfyUI, or with (axis, first, rows) some rows of it."""


def apply_to_model(model: Any, patches: Mapping[str, Patch], strength: float) -> Any:  # noqa: ANN401
    """A clone of the model, a `ModelPatcher`, with the patch on top of what it has already.

    Raises:
        ConfigError: the strength is no number from -10 to 10.
        PatchError: the model is not the one the patch was made for, is quantised, or the patch
            changes more than the network.
    """
    require_strength(strength)
    weights = _base_weights(model)
    if len(patches) > 1:
        raise PatchError(
            f"the patch changes {' and '.join(patches)}, and a MODEL holds one of them; use Load "
            "Model with Erasure, which patches all"
        )
    component, patch = next(iter(patches.items()))
    here = place(weights, component)
    require_applies(here.weights, patch)
    adapters = dict(_adapters(here, weights, patch))
    clone = model.clone()
    taken = set(clone.add_patches(adapters, strength))
    if missing := [key for key in adapters if key not in taken]:
        raise PatchError(
            f"this ComfyUI did not take the change of {missing[0]}; use Load Model with Erasure"
        )
    return clone


def _base_weights(model: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Name without prefix -> weight as it was loaded, whatever is patched on top of it now."""
    weights = {
        name.removeprefix(PREFIX): held[0][0]
        for name, held in model.get_key_patches(PREFIX).items()
    }
    for name, weight in weights.items():
        if type(weight) not in (Tensor, nn.Parameter) or weight.element_size() < 2:
            raise PatchError(
                f"{name} of this model is quantised ({weight.dtype}), and a patch needs the "
                "weights it was made for; load the model in float16, bfloat16 or float32"
            )
        if weight.is_meta:
            raise PatchError(f"{name} is not in memory yet; use Load Model with Erasure")
    return weights


def _adapters(
    here: Placed, weights: Mapping[str, Tensor], patch: Patch
) -> Iterator[tuple[Key, ErasureAdapter]]:
    shapes = {name: weights[full].shape for name, full in here.names.items()}
    pieces = places(shapes, here.part.to_diffusers)
    for name, entry in patch.entries.items():
        for piece in pieces[name]:
            held = _within(here.weights[name], entry, piece)
            if not len(held[0]):
                continue
            full = f"{PREFIX}{here.names[piece.name]}"
            key: Key = full if piece.whole else (full, (0, piece.first, piece.rows))
            yield key, ErasureAdapter({name}, held)


def _within(weight: Tensor, entry: PatchEntry, piece: Piece) -> tuple[Tensor, Tensor, Tensor]:
    """What an adapter holds of the weights that move in one piece, counted from its first row."""
    at = entry.positions(torch.device("cpu"))
    at = at.nonzero().squeeze(1) if at.dtype == torch.bool else at
    width = weight.numel() // max(1, weight.shape[0] if weight.dim() else 1)
    here = (at >= piece.start * width) & (at < (piece.start + piece.rows) * width)
    base, edited = (moved_values(weight, entry, strength)[here] for strength in (0, 1))
    return (at[here] - piece.start * width).to(torch.int32), base, edited
