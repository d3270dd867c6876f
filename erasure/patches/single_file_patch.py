"""Patches in the weights of an original single file, before a model is built of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from erasure.architectures.architecture import Part
from erasure.architectures.registry import ARCHITECTURES
from erasure.errors import PatchError
from erasure.patches.applying import patched
from erasure.patches.patch import Patch
from erasure.patches.patch_stack import stacked

_LEFT_OUT: Final = ("position_ids", "logit_scale")
"""Buffers and weights of a text encoder's file that its network in diffusers has not."""
_PROJECTION: Final = "text_projection"
_LAYERS: Final = "text_model.encoder.layers."
_LAYER: Final = re.compile(rf"{re.escape(_LAYERS)}(\d+)\.")


@dataclass(frozen=True, slots=True)
class Placed:
    """One component of a single file under the names of diffusers."""

    part: Part
    prefix: str
    """What its names begin with in this file."""
    names: Mapping[str, str]
    """Original name without prefix, in the usual spelling -> name in this file."""
    weights: Mapping[str, Tensor]
    """diffusers name -> weight, sharing memory with the file's where the layout allows it."""


def place(tensors: Mapping[str, Tensor], component: str) -> Placed:
    """Find a component in the weights of a single file, or in those of its network alone.

    Args:
        tensors: name -> weight, as the file has them, or as ComfyUI has its network.
        component: its folder in the diffusers layout, such as `unet`.

    Raises:
        CheckpointError: a weight of it has no place in the layout.
        PatchError: no family that is known has this component here.
    """
    for family in ARCHITECTURES.values():
        main = family.main_part
        bare = next((p for p in (main.prefix, "") if f"{p}{family.first_weight}" in tensors), None)
        part = next((one for one in family.parts if one.component == component), None)
        if bare is None or part is None:
            continue
        prefix = bare if part is main else part.prefix
        own = {n.removeprefix(prefix): n for n in tensors if n.startswith(prefix)}
        if part.is_text:
            own = {n: full for n, full in own.items() if not n.endswith(_LEFT_OUT)}
        if own:
            return _placed(tensors, part, prefix, own)
    known = ", ".join(family.title for family in ARCHITECTURES.values())
    raise PatchError(
        f"the patch changes the {component}, which these weights do not have as any of {known} "
        "has it; give the model it was made for"
    )


def _placed(
    tensors: Mapping[str, Tensor], part: Part, prefix: str, own: Mapping[str, str]
) -> Placed:
    weights = {name: tensors[full] for name, full in own.items()}
    spelled = {id(weight): name for name, weight in weights.items()}
    usual = part.tidy_original(weights)
    names = {
        name: own[spelled[id(weight)]] if id(weight) in spelled else f"{prefix}{name}"
        for name, weight in usual.items()
    }
    return Placed(part, prefix, names, part.to_diffusers(usual))


def _own(here: Placed, patch: Patch) -> Mapping[str, Tensor]:
    """The weights that the network of diffusers has, told by the base of the patch; all of them
    where nothing fits.

    Files of SD 2.x hold a whole OpenCLIP, of which diffusers has neither the projection nor the
    last layer.
    """
    if not here.part.is_text or patch.info.hash(here.weights) == patch.info.base:
        return here.weights
    inner = {n: w for n, w in here.weights.items() if not n.startswith(_PROJECTION)}
    last = max((int(match[1]) for name in inner if (match := _LAYER.match(name))), default=0)
    lower = {n: w for n, w in inner.items() if not n.startswith(f"{_LAYERS}{last}.")}
    fitting = (one for one in (inner, lower) if patch.info.hash(one) == patch.info.base)
    return next(fitting, here.weights)


def patch_single_file(
    tensors: Mapping[str, Tensor], patches: Sequence[tuple[Mapping[str, Patch], float]]
) -> dict[str, Tensor]:
    """The weights of a single file with the edits of patches in them.

    Several patches are put into one base: where they move the same weight their changes add up, as
    in `stack_patches`. Weights that no patch moves keep their bits.

    Args:
        tensors: name -> weight, as the file has them; not changed.
        patches: component -> patch of each file, and how much of it, see `apply_patch`.

    Raises:
        CheckpointError: a weight has no place in the layout of its family.
        ConfigError: a strength is no number from -10 to 10.
        PatchError: these are not the weights that a patch was made for.
    """
    done = dict(tensors)
    for component in dict.fromkeys(name for parts, _ in patches for name in parts):
        here = place(tensors, component)
        wanted = [(parts[component], much) for parts, much in patches if component in parts]
        own = _own(here, wanted[0][0])
        if len(wanted) == 1:
            edited = patched(own, wanted[0][0], strength=wanted[0][1])
        else:
            edited = stacked(own, [one for one, _ in wanted], [much for _, much in wanted])
        done |= {here.names[n]: w for n, w in here.part.to_original(edited).items()}
    return done
