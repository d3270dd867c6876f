"""The whole difference of two checkpoints as patches, with the edits that made it."""

from dataclasses import replace

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.errors import PatchError
from erasure.patches.model_patches import Patches, apply_all, described, make_patches
from erasure.patches.patch_edits import applied, edits_since


def checkpoint_patches(before: Checkpoint, after: Checkpoint) -> Patches:
    """A patch of every component that differs, of those that an edit can change; the others, such
    as the VAE, are not looked at.

    Raises:
        PatchError: the two are of different architectures, or do not differ.
    """
    if before.components.keys() != after.components.keys():
        raise PatchError(
            f"the base has {', '.join(before.components)} and the model "
            f"{', '.join(after.components)}; give two models of one architecture"
        )
    editable = after.architecture.editable
    made = make_patches(before.components, after.components, editable=editable)
    bases = {name: patch.info.base for name, patch in made.items()}
    since = Provenance(edits=edits_since(after.edits, before.edits, bases))
    return described(made, since.concepts, since.to_dict() if since.edits else {})


def with_patches(checkpoint: Checkpoint, patches: Patches) -> Checkpoint:
    """The checkpoint with patches in it, and with their edits behind its own.

    Raises:
        PatchError: it has no such component, or is not the base of one of them.
    """
    edited = checkpoint
    for name, weights in apply_all(checkpoint.components, patches).items():
        edited = edited.having(name, weights)
    return replace(edited, provenance=applied(checkpoint.provenance, patches, edited.components))
