"""`erasure patch apply | remove | stack`: the edit as a small file beside the base."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Force, Model, Out, say
from pipelines.configs.everyday import ERASE_RECIPE, READING
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.provenance import Provenance
    from erasure.checkpoints.writing.writing import Written
    from erasure.patches.patch import Patch

PatchFile = Annotated[Path, typer.Argument(help="A file that `erasure export --to patch` wrote.")]
To = Annotated[str, typer.Option(help="diffusers or single-file.")]
Strength = Annotated[
    float,
    typer.Option(help="0 is the base, 1 the whole edit, to the bit; from -10 to 10, on one line."),
]

_PARTLY = (
    "notice: at strength {strength:g} the hash is of what was written; the patch names the weights "
    "of its whole edit alone, so nothing says what must come out, and `erasure patch remove` does "
    "not lead back from here; keep the base, and evaluate what was written"
)


@recipe_options(ERASE_RECIPE, READING)
def apply(
    reading: dict[str, Any],
    model: Model,
    patch: PatchFile,
    out: Out,
    strength: Strength = 1.0,
    to: To = "diffusers",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write MODEL with the edit of PATCH.

    At strength 1 these are exactly the edited weights.
    """
    from erasure.patches.model_patches import apply_all
    from erasure.patches.patch_edits import applied
    from erasure.patches.patch_file import load_patches
    from erasure.patches.strength import require_strength
    from pipelines.run.model_facts import notice
    from pipelines.run.models import open_model

    _require_layout(to)
    require_strength(strength)
    claim(out)
    loaded = load_patches(patch)
    checkpoint = open_model(model, **reading)
    edited = _having(checkpoint, apply_all(checkpoint.components, loaded, strength=strength))
    made = applied(checkpoint.provenance, loaded, edited.components, strength)
    written = _write(edited, made, out, to, force=force)
    if strength not in (0, 1):
        notice([_PARTLY.format(strength=strength)])
    say(
        {
            "written": written.path,
            **_hashes(checkpoint, written, loaded),
            "moved": sum(one.moved for one in loaded.values()),
            **({} if strength == 1 else {"strength": strength}),
            "erased": ", ".join(made.concepts) or "nothing",
        },
        as_json=as_json,
    )


@recipe_options(ERASE_RECIPE, READING)
def remove(
    reading: dict[str, Any],
    model: Model,
    patch: PatchFile,
    out: Out,
    to: To = "diffusers",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write MODEL without the edit of PATCH: the weights before it."""
    from dataclasses import replace

    from erasure.patches.model_patches import remove_all
    from erasure.patches.patch_edits import removed
    from erasure.patches.patch_file import load_patches
    from pipelines.run.models import open_model

    _require_layout(to)
    claim(out)
    loaded = load_patches(patch)
    checkpoint = open_model(model, **reading)
    before = _having(checkpoint, remove_all(checkpoint.components, loaded))
    # What its card says is no longer true of what is written.
    carried = {k: v for k, v in checkpoint.carried.items() if k not in ("README.md", "grid.png")}
    plain = replace(before, provenance=None, carried=carried)
    made = removed(checkpoint.provenance, loaded, before.components)
    written = _write(plain, made, out, to, force=force)
    say(
        {
            "written": written.path,
            **_hashes(checkpoint, written, loaded),
            "taken out": ", ".join(made.restored.concepts) if made.restored else "",
            "still erased": ", ".join(made.concepts) or "nothing",
        },
        as_json=as_json,
    )


@recipe_options(ERASE_RECIPE, READING)
def stack(
    reading: dict[str, Any],
    model: Model,
    patches: Annotated[list[Path], typer.Argument(help="Patches of this model, two or more.")],
    out: Out,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write one patch that does what several do; overlaps add up.

    MODEL is the base that all of them were made for. Evaluate what comes out.
    """
    from erasure.patches.model_patches import overlap_of_all, stack_all
    from erasure.patches.patch_file import load_patches, save_patches
    from erasure.storage.disk import refuse_taken_file
    from pipelines.run.models import open_model

    claim(out)
    refuse_taken_file(out, force=force)
    _require_several(patches)
    loaded = [load_patches(path) for path in patches]
    checkpoint = open_model(model, **reading)
    stacked = stack_all(checkpoint.components, loaded)
    save_patches(out, stacked)
    concepts = next(iter(stacked.values())).info.concepts
    say(
        {
            "written": out,
            "concepts": ", ".join(concepts),
            "moved": sum(patch.moved for patch in stacked.values()),
            "moved by more than one": overlap_of_all(loaded),
        },
        as_json=as_json,
    )


def _require_several(paths: list[Path]) -> None:
    from erasure.errors import ConfigError

    if len(paths) < 2:
        raise ConfigError(
            f"there is one patch, {paths[0]}, and two or more are stacked; name another, or give "
            "this one to `erasure patch apply`"
        )


def _require_layout(to: str) -> None:
    from erasure.errors import ConfigError

    if to not in ("diffusers", "single-file"):
        raise ConfigError(f"--to is {to!r}; give diffusers or single-file")


def _having(
    checkpoint: "Checkpoint", components: "Mapping[str, Mapping[str, Tensor]]"
) -> "Checkpoint":
    for name, weights in components.items():
        checkpoint = checkpoint.having(name, weights)
    return checkpoint


def _hashes(
    checkpoint: "Checkpoint", written: "Written", patches: "Mapping[str, Patch]"
) -> dict[str, str]:
    """The hash of the main component, and of every other one that changed."""
    main = checkpoint.architecture.main_part
    others = {name: written.hashes[name] for name in patches if name != main.component}
    return {main.title: written.network_hash, **others}


def _write(
    checkpoint: "Checkpoint",
    provenance: "Provenance | None",
    out: Path,
    to: str,
    *,
    force: bool,
) -> "Written":
    from erasure.checkpoints.writing.card import model_card
    from erasure.checkpoints.writing.folder import write_folder
    from erasure.checkpoints.writing.single_file import write_single_file
    from pipelines.run.model_facts import notice

    if to == "single-file":
        misread = checkpoint.architecture.files.misread(checkpoint)
        notice([f"notice: {sentence}" for sentence in misread])
        return write_single_file(checkpoint, out, provenance=provenance, force=force)
    edits = provenance.edits if provenance else ()
    base = edits[0].base if edits else ""
    card = model_card(provenance, base=base or checkpoint.name) if provenance and edits else None
    return write_folder(checkpoint, out, provenance=provenance, card=card, force=force)
