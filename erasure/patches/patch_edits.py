"""The edits that a patch carries, and what becomes of a model's list when it is put in or out."""

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import Provenance, Restored, edits_of
from erasure.patches.patch import Patch

_UNKNOWN: Final = "not recorded"


def edits_since(
    edits: Sequence[EditRecord], before: Sequence[EditRecord], base: str
) -> tuple[EditRecord, ...]:
    """The edits of a model that a patch from an earlier one makes.

    Args:
        edits: of the model after.
        before: of the model that the patch is for.
        base: `weights_hash` of its main component.

    Returns:
        Those from the first that begins at the base; where none does, as between copies in other
        types, those that the model before has not.
    """
    start = next((n for n, edit in enumerate(edits) if edit.base_hash == base), None)
    if start is not None:
        return tuple(edits[start:])
    return tuple(edit for edit in edits if edit not in before)


def edits_of_patch(patch: Patch, weights: Mapping[str, Tensor]) -> tuple[EditRecord, ...]:
    """What the patch says of its edits; one without a story gets a record of what it does.

    Raises:
        CheckpointError: its provenance is damaged.
    """
    edits = edits_of(patch.info.provenance, "the patch")
    if edits:
        return edits
    made = EditRecord(
        concept=", ".join(patch.info.concepts) or _UNKNOWN,
        base_hash=patch.info.base,
        result_hash=patch.info.result,
        objective=_UNKNOWN,
        config={},
        density=0.0,
        selected=0,
        moved=patch.moved,
        total=sum(weight.numel() for weight in weights.values()),
        version=_UNKNOWN,
        created="",
    )
    return (made,)


def applied(
    provenance: Provenance | None, patch: Patch, weights: Mapping[str, Tensor]
) -> Provenance:
    """The model's edits, and behind them the patch's."""
    edits = provenance.edits if provenance else ()
    return Provenance(edits=(*edits, *edits_of_patch(patch, weights)))


def removed(
    provenance: Provenance | None, patch: Patch, weights: Mapping[str, Tensor]
) -> Provenance:
    """The model's edits up to where the patch begins, and that the base of the patch is there
    again."""
    edits = provenance.edits if provenance else ()
    taken = edits_of_patch(patch, weights)
    start = next((n for n, edit in enumerate(edits) if edit.base_hash == patch.info.base), None)
    left = edits[:start] if start is not None else tuple(e for e in edits if e not in taken)
    concepts = tuple(dict.fromkeys(name for edit in taken for name in edit.each))
    return Provenance(edits=left, restored=Restored(concepts=concepts, base_hash=patch.info.base))
