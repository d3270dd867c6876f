"""`erasure patch apply | remove | stack`: the edit as a small file beside the base."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.options import (
    AllowPickle,
    AsJson,
    ConfigFolder,
    Force,
    Model,
    Out,
    Prediction,
    Vae,
    say,
)
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.provenance import Provenance
    from erasure.checkpoints.writing.writing import Written

PatchFile = Annotated[Path, typer.Argument(help="A file that `erasure export --to patch` wrote.")]
To = Annotated[str, typer.Option(help="diffusers or single-file.")]


def apply(
    model: Model,
    patch: PatchFile,
    out: Out,
    to: To = "diffusers",
    config: ConfigFolder = None,
    vae: Vae = None,
    prediction: Prediction = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write MODEL with the edit of PATCH: exactly the edited weights."""
    from erasure.patches.patch import patched
    from erasure.patches.patch_edits import applied
    from erasure.patches.patch_file import load_patch
    from pipelines.run.models import open_model

    _require_layout(to)
    claim(out)
    loaded = load_patch(patch)
    checkpoint = open_model(
        model, config=config, vae=vae, allow_pickle=allow_pickle, prediction=prediction
    )
    network = patched(checkpoint.network, loaded)
    made = applied(checkpoint.provenance, loaded, network)
    written = _write(checkpoint, network, made, out, to, force=force)
    say(
        {
            "written": written.path,
            "UNet": written.network_hash,
            "moved": loaded.moved,
            "erased": ", ".join(made.concepts),
        },
        as_json=as_json,
    )


def remove(
    model: Model,
    patch: PatchFile,
    out: Out,
    to: To = "diffusers",
    config: ConfigFolder = None,
    vae: Vae = None,
    prediction: Prediction = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write MODEL without the edit of PATCH: the weights before it."""
    from dataclasses import replace

    from erasure.patches.patch import unpatched
    from erasure.patches.patch_edits import removed
    from erasure.patches.patch_file import load_patch
    from pipelines.run.models import open_model

    _require_layout(to)
    claim(out)
    loaded = load_patch(patch)
    checkpoint = open_model(
        model, config=config, vae=vae, allow_pickle=allow_pickle, prediction=prediction
    )
    network = unpatched(checkpoint.network, loaded)
    # What its card says is no longer true of what is written.
    carried = {k: v for k, v in checkpoint.carried.items() if k not in ("README.md", "grid.png")}
    plain = replace(checkpoint, provenance=None, carried=carried)
    made = removed(checkpoint.provenance, loaded, network)
    written = _write(plain, network, made, out, to, force=force)
    say(
        {
            "written": written.path,
            "UNet": written.network_hash,
            "taken out": ", ".join(made.restored.concepts) if made.restored else "",
            "still erased": ", ".join(made.concepts) or "nothing",
        },
        as_json=as_json,
    )


def stack(
    model: Model,
    patches: Annotated[list[Path], typer.Argument(help="Patches of this model, two or more.")],
    out: Out,
    config: ConfigFolder = None,
    vae: Vae = None,
    prediction: Prediction = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write one patch that does what several do; overlaps add up.

    MODEL is the base that all of them were made for. Evaluate what comes out.
    """
    from erasure.patches.patch_file import load_patch, save_patch
    from erasure.patches.patch_stack import overlap, stack_patches
    from erasure.storage.disk import refuse_existing
    from pipelines.run.models import open_model

    claim(out)
    refuse_existing(out, force=force)
    loaded = [load_patch(path) for path in patches]
    checkpoint = open_model(
        model, config=config, vae=vae, allow_pickle=allow_pickle, prediction=prediction
    )
    stacked = stack_patches(checkpoint.network, loaded)
    save_patch(out, stacked)
    say(
        {
            "written": out,
            "concepts": ", ".join(stacked.info.concepts),
            "moved": stacked.moved,
            "moved by more than one": overlap(loaded),
        },
        as_json=as_json,
    )


def _require_layout(to: str) -> None:
    from erasure.errors import ConfigError

    if to not in ("diffusers", "single-file"):
        raise ConfigError(f"--to is {to!r}; give diffusers or single-file")


def _write(
    checkpoint: "Checkpoint",
    network: "Mapping[str, Tensor]",
    provenance: "Provenance | None",
    out: Path,
    to: str,
    *,
    force: bool,
) -> "Written":
    from erasure.checkpoints.facts.other_readers import misread_by
    from erasure.checkpoints.writing.card import model_card
    from erasure.checkpoints.writing.folder import write_folder
    from erasure.checkpoints.writing.single_file import write_single_file
    from pipelines.run.model_facts import notice

    if to == "single-file":
        notice([f"notice: {sentence}" for sentence in misread_by(checkpoint, network)])
        return write_single_file(
            checkpoint, out, network=network, provenance=provenance, force=force
        )
    edits = provenance.edits if provenance else ()
    base = edits[0].base if edits else ""
    card = model_card(provenance, base=base or checkpoint.name) if provenance and edits else None
    return write_folder(
        checkpoint, out, network=network, provenance=provenance, card=card, force=force
    )
