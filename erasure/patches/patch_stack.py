"""Several patches of one base as one.

A weight that one patch moves takes that patch's value. Where several move the same weight, their
changes add up: base + sum of (edited - base), in float64, rounded once to the type that the patches
were made in. The order of the patches does not matter. The base may be in a wider type than theirs.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from erasure.checkpoints.provenance import Provenance
from erasure.errors import PatchError
from erasure.patches.applying import moved_values, require_applies
from erasure.patches.patch import Patch, PatchEntry, bits_of, make_patch
from erasure.patches.patch_edits import edits_of_patch
from erasure.patches.strength import require_strength


def stack_patches(base: Mapping[str, Tensor], patches: Sequence[Patch]) -> Patch:
    """One patch that does what all of them do, and on overlaps the sum of it; it carries the edits
    of all.

    The result is a good edit only as far as the changes do not disturb each other; evaluate it.

    Args:
        base: the weights that all patches were made for.
        patches: at least one.

    Raises:
        CheckpointError: the record of an edit in one of them is damaged.
        PatchError: no patch, one edit given twice, one that was made for another base, or one
            whose content leads elsewhere than its header says, or a weight would not be finite.
    """
    if not patches:
        raise PatchError("there is no patch to stack; give at least one")
    edited = stacked(base, patches, [1.0] * len(patches))
    edits = [edit for patch in patches for edit in edits_of_patch(patch, base)]
    return make_patch(
        base,
        edited,
        concepts=tuple(dict.fromkeys(c for patch in patches for c in patch.info.concepts)),
        provenance=Provenance(edits=tuple(edits)).to_dict(),
        component=patches[0].info.component,
    )


def stacked(
    base: Mapping[str, Tensor], patches: Sequence[Patch], strengths: Sequence[float]
) -> dict[str, Tensor]:
    """The weights with several patches in them, each as strongly as is said.

    A weight that one patch moves becomes what `apply_patch` makes of it; where several move it, it
    becomes base + sum of strength * (edited - base). Those that no patch moves are `base`'s own.

    Args:
        base: the weights that all patches were made for.
        patches: at least one.
        strengths: one for each patch; see `erasure.patches.strength`.

    Raises:
        ConfigError: a strength is no number from -10 to 10.
        PatchError: as `stack_patches`.
    """
    for strength in strengths:
        require_strength(strength)
    _require_different(patches)
    for patch in patches:
        require_applies(base, patch)
    edited = _edited_by_all(base, patches, strengths)
    _require_finite(edited, patches)
    return edited


def overlap(patches: Sequence[Patch]) -> int:
    """How many weights more than one of the patches moves."""
    shared = 0
    for name in dict.fromkeys(name for patch in patches for name in patch.entries):
        entries = [patch.entries[name] for patch in patches if name in patch.entries]
        touched = torch.zeros(torch.Size(entries[0].shape).numel(), dtype=torch.uint8)
        for entry in entries:
            touched[entry.positions(touched.device)] += 1
        shared += int((touched > 1).count_nonzero())
    return shared


def _require_different(patches: Sequence[Patch]) -> None:
    """Refuse one edit given twice: its changes would add up to twice what it is."""
    places: dict[tuple[str, str, int], int] = {}
    for place, patch in enumerate(patches, 1):
        edit = (patch.info.base, patch.info.result, patch.moved)
        if edit in places:
            raise PatchError(
                f"patches {places[edit]} and {place} are one edit, which would be put in twice; "
                "give it once"
            )
        places[edit] = place


def _edited_by_all(
    base: Mapping[str, Tensor], patches: Sequence[Patch], strengths: Sequence[float]
) -> dict[str, Tensor]:
    edited = dict(base)
    pairs = list(zip(patches, strengths, strict=True))
    for name in dict.fromkeys(name for patch in patches for name in patch.entries):
        edited[name] = _stacked(base[name], [p for p in pairs if name in p[0].entries], name)
    return edited


def _require_finite(edited: Mapping[str, Tensor], patches: Sequence[Patch]) -> None:
    for name in dict.fromkeys(name for patch in patches for name in patch.entries):
        if not bool(edited[name].isfinite().all()):
            raise PatchError(
                f"together the patches would make values of {name} that are not finite in "
                f"{edited[name].dtype}; give fewer of them, or smaller strengths"
            )


def _stacked(weight: Tensor, patches: Sequence[tuple[Patch, float]], name: str) -> Tensor:
    flat = weight.detach().cpu().contiguous().reshape(-1)
    entries = [(patch.entries[name], strength) for patch, strength in patches]
    edited = [(_edited(flat, entry), strength) for entry, strength in entries]
    before = bits_of(flat)
    changed = [bits_of(values) != before for values, _ in edited]
    moved = torch.stack(changed).sum(0)
    out = flat.clone()
    for (entry, strength), own in zip(entries, changed, strict=True):
        alone = own & (moved == 1)  # a value is taken as it is, not as a rounded sum
        out[alone] = _edited(flat, entry, strength)[alone]
    shared = moved > 1
    exact = flat[shared].double()
    change = 0 * exact
    for values, strength in edited:
        change += strength * (values[shared].double() - exact)
    kind = reduce(torch.promote_types, [entry.dtype for entry, _ in entries])
    out[shared] = (exact + change).to(kind).to(flat.dtype)
    return out.view(weight.shape)


def _edited(flat: Tensor, entry: PatchEntry, strength: float = 1.0) -> Tensor:
    """The values of a flat parameter, in its own type, with one patch in them."""
    values = flat.clone()
    values[entry.positions(flat.device)] = moved_values(flat, entry, strength).to(flat.dtype)
    return values
