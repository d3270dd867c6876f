"""The edits that a patch carries, and what becomes of a model's list when it is put in or out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from torch import Tensor

from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import Provenance, Restored, edits_of
from erasure.patches.patch import Patch

_UNKNOWN: Final = "not recorded"
Components = Mapping[str, Mapping[str, Tensor]]
"""Component -> diffusers name -> weight."""


def edits_since(
    edits: Sequence[EditRecord], before: Sequence[EditRecord], bases: Mapping[str, str]
) -> tuple[EditRecord, ...]:
    """The edits of a model that a patch from an earlier one makes.

    Args:
        edits: of the model after.
        before: of the model that the patch is for.
        bases: component -> `weights_hash` of it there, for every component that the patch changes.

    Returns:
        Of each of these components, those from the first that begins at the base; where none does,
        as between copies in other types, those that the model before has not.
    """
    made: set[int] = set()
    for component, base in bases.items():
        own = [n for n, edit in enumerate(edits) if edit.component == component]
        start = next((k for k, n in enumerate(own) if edits[n].base_hash == base), None)
        if start is not None:
            made.update(own[start:])
        else:
            made.update(n for n in own if edits[n] not in before)
    return tuple(edits[n] for n in sorted(made))


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
        component=patch.info.component,
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


def edits_of_patches(
    patches: Mapping[str, Patch], components: Components
) -> tuple[EditRecord, ...]:
    """The same of a whole file, whose patches have one record for all of them.

    Args:
        patches: component -> its patch.
        components: component -> its weights, of which only the sizes are read.

    Raises:
        CheckpointError: the record is damaged.
    """
    edits = (e for name, patch in patches.items() for e in edits_of_patch(patch, components[name]))
    unique: list[EditRecord] = []
    for edit in edits:
        if edit not in unique:
            unique.append(edit)
    return tuple(unique)


def applied(
    provenance: Provenance | None,
    patches: Mapping[str, Patch],
    components: Components,
    strength: float = 1.0,
) -> Provenance:
    """The model's edits, and behind them the patches'.

    Args:
        provenance: of the model before.
        patches: component -> its patch.
        components: component -> its weights with the patch in them.
        strength: how much of it. At another one than 1 the last record of each component names the
            weights that came out; a component that came out as it went in has no record.
    """
    edits = provenance.edits if provenance else ()
    made = edits_of_patches(patches, components)
    if strength != 1:
        made = _weakened(made, patches, components, strength)
    return Provenance(edits=(*edits, *made))


def _weakened(
    edits: Sequence[EditRecord],
    patches: Mapping[str, Patch],
    components: Components,
    strength: float,
) -> tuple[EditRecord, ...]:
    hashes = {name: patch.info.hash(components[name]) for name, patch in patches.items()}
    same = {name for name, patch in patches.items() if hashes[name] == patch.info.base}
    # A record from elsewhere may name a component that the patch does not change.
    last = {edit.component: n for n, edit in enumerate(edits) if edit.component in hashes}
    results = {n: hashes[component] for component, n in last.items()}
    return tuple(
        replace(
            edit,
            strength=edit.strength * strength,
            result_hash=results.get(n, edit.result_hash),
        )
        for n, edit in enumerate(edits)
        if edit.component not in same
    )


def removed(
    provenance: Provenance | None, patches: Mapping[str, Patch], components: Components
) -> Provenance:
    """The model's edits up to where the patches begin, and that their bases are there again."""
    edits = provenance.edits if provenance else ()
    taken = edits_of_patches(patches, components)
    bases = {name: patch.info.base for name, patch in patches.items()}
    gone = edits_since(edits, [edit for edit in edits if edit not in taken], bases)
    left = tuple(edit for edit in edits if edit not in gone)
    concepts = tuple(dict.fromkeys(name for edit in taken for name in edit.each))
    return Provenance(edits=left, restored=Restored(concepts=concepts, bases=bases))
