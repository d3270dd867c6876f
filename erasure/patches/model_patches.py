"""The patches of a whole model: one for each component that an edit moved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from erasure.checkpoints.provenance import Provenance
from erasure.errors import PatchError
from erasure.patches.applying import patched, unpatched
from erasure.patches.patch import Patch, make_patch
from erasure.patches.patch_edits import Components, edits_of_patches
from erasure.patches.patch_stack import overlap, stack_patches

Patches = Mapping[str, Patch]
"""Component -> its patch; all of one model have the same concepts and provenance."""


def make_patches(
    base: Components, edited: Components, *, editable: Sequence[str]
) -> dict[str, Patch]:
    """What turns the components of `base` into those of `edited`.

    Args:
        editable: the components to look at, the main one first; where none of them differs, the
            main one has an empty patch.

    Raises:
        PatchError: the names, shapes or types of one are not the same in both.
    """
    made = {name: make_patch(base[name], edited[name], component=name) for name in editable}
    moved = {name: patch for name, patch in made.items() if patch.info.base != patch.info.result}
    return moved or {editable[0]: made[editable[0]]}


def described(patches: Patches, concepts: tuple[str, ...], record: Mapping[str, Any]) -> Patches:
    """The same with what is gone once they are applied, and how they were made."""
    return {
        name: replace(patch, info=replace(patch.info, concepts=concepts, provenance=record))
        for name, patch in patches.items()
    }


def apply_all(
    components: Components, patches: Patches, *, strength: float = 1.0
) -> dict[str, dict[str, Tensor]]:
    """The edited weights of every component that has a patch.

    Args:
        components: component -> its weights.
        patches: component -> its patch.
        strength: how much of the edit; see `erasure.patches.applying.apply_patch`.

    Raises:
        ConfigError: the strength is no number from -10 to 10.
        PatchError: the model has no such component, or one is not the base of its patch.
    """
    _require_components(components, patches)
    return {
        name: patched(components[name], patch, strength=strength) for name, patch in patches.items()
    }


def remove_all(components: Components, patches: Patches) -> dict[str, dict[str, Tensor]]:
    """The weights of the base of every component that has a patch; see `apply_all`."""
    _require_components(components, patches)
    return {name: unpatched(components[name], patch) for name, patch in patches.items()}


def stack_all(components: Components, stacked: Sequence[Patches]) -> Patches:
    """One set of patches that does what all of them do, component by component.

    Raises:
        CheckpointError: the record of an edit in one of them is damaged.
        PatchError: as `stack_patches`, or the model has no such component.
    """
    if not stacked:
        raise PatchError("there is no patch to stack; give at least one")
    for patches in stacked:
        _require_components(components, patches)
    made = {}
    for name in dict.fromkeys(name for patches in stacked for name in patches):
        own = [patches[name] for patches in stacked if name in patches]
        made[name] = stack_patches(components[name], own)
    edits = [edit for patches in stacked for edit in edits_of_patches(patches, components)]
    named = [word for patches in stacked for p in patches.values() for word in p.info.concepts]
    record = Provenance(edits=tuple(edits)).to_dict()
    return described(made, tuple(dict.fromkeys(named)), record)


def overlap_of_all(stacked: Sequence[Patches]) -> int:
    """How many weights more than one of them moves."""
    names = dict.fromkeys(name for patches in stacked for name in patches)
    return sum(overlap([p[name] for p in stacked if name in p]) for name in names)


def _require_components(components: Components, patches: Patches) -> None:
    strange = [name for name in patches if name not in components]
    if strange:
        raise PatchError(
            f"the patch changes {strange[0]}, which this model has not; give the model it was made "
            "for"
        )
