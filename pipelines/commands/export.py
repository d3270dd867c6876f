"""`erasure export`: write a checkpoint in the layout and number type that others load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipelines.commands.options import AsJson, Force, Model, Out, say
from pipelines.configs.everyday import ERASE_RECIPE, READING
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    import torch

    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.writing.writing import Written
    from erasure.lora.extracting import Size

FORMS: Final = ("diffusers", "single-file", "patch", "lora", "diff")
"""What `--to` may be."""
DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Name on the command line -> name in torch."""


@recipe_options(ERASE_RECIPE, READING)
def export(
    reading: dict[str, Any],
    model: Model,
    out: Out,
    to: Annotated[
        str, typer.Option(help="diffusers, single-file, patch, lora, or diff: full differences.")
    ] = "single-file",
    base: Annotated[
        str | None,
        typer.Option(help="For a patch, a LoRA or a diff: the model before the erasure."),
    ] = None,
    naming: Annotated[
        str | None,
        typer.Option(
            help="For a LoRA: kohya, which ComfyUI, A1111 and diffusers read, or diffusers. "
            "[default: kohya]",
        ),
    ] = None,
    rank: Annotated[int | None, typer.Option(help="For a LoRA: its rank in each layer.")] = None,
    energy: Annotated[
        float | None,
        typer.Option(
            help="For a LoRA: the share of each layer's change to keep, by as many ranks as it "
            "needs. [default: all of a run's own factors, else 0.99]",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="fp32, fp16 or bf16. [default: each weight's own]")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title in a single file's header.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a folder, a single file, a patch or a LoRA.

    A single file has the layout that ComfyUI, A1111 and others read. A patch holds the weights that
    moved since --base; `erasure patch apply` and `remove` turn one model into the other, exactly.
    A LoRA holds the factors of a run, without loss where the run has them, else those nearest to
    the difference from --base; a diff holds that difference whole, by the same names.
    """
    from pipelines.early import require_model_name

    require_model_name(model)
    require_model_name(base or model)

    import torch

    from pipelines.run.model_facts import notice, tell_model
    from pipelines.run.models import open_model

    _refuse_wrong(to, base, dtype, title)
    _refuse_unread(to, naming=naming, rank=rank, energy=energy)
    claim(out)
    kind: torch.dtype | None = getattr(torch, DTYPES[dtype]) if dtype else None
    checkpoint = open_model(model, **reading)
    facts = tell_model(checkpoint)
    alike = {name: value for name, value in reading.items() if name not in ("config", "vae")}
    before = None if base is None else open_model(base, **alike)
    if to == "patch":
        assert before is not None
        say(_export_patch(before, checkpoint, out, force=force), as_json=as_json)
        return
    if to in ("lora", "diff"):
        from pipelines.run.exporting_lora import LoraExport

        asked = LoraExport(
            whole=to == "diff",
            naming=naming,
            size=_size(rank, energy),
            dtype=kind or torch.float32,
            force=force,
        )
        exported = asked.write(model, checkpoint, before, out)
        notice([f"notice: {sentence}" for sentence in exported.notices])
        say(exported.for_machines() if as_json else exported.for_people(), as_json=as_json)
        return
    misread: tuple[str, ...] = ()
    if to == "single-file":
        misread = checkpoint.architecture.files.misread(checkpoint, dtype=kind)
    written = _export_model(checkpoint, out, to, kind, title, force=force)
    notice([f"notice: {sentence}" for sentence in misread])
    main = checkpoint.architecture.main_part.title
    result: dict[str, Any] = {"written": written.path, main: written.network_hash}
    if as_json:
        result |= {"read_as": facts, "notices": list(misread)}
    say(result, as_json=as_json)


def _refuse_wrong(to: str, base: str | None, dtype: str | None, title: str | None) -> None:
    """Raise ConfigError for options that do not go together."""
    from erasure.errors import ConfigError

    if to not in FORMS:
        raise ConfigError(f"--to is {to!r}; give {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    if base is None and to in ("patch", "diff"):
        raise ConfigError(f"--to {to} needs --base; give the model before the erasure")
    if base is not None and to not in ("patch", "diff", "lora"):
        raise ConfigError(
            f"--base is for --to patch, lora or diff, and --to is {to}; leave --base out"
        )
    if to == "patch" and dtype is not None:
        raise ConfigError("a patch keeps each weight's own type; leave --dtype out")
    if title is not None and to != "single-file":
        raise ConfigError(
            f"--title is {title!r}, and --to {to} writes no title; leave --title out, or give "
            "--to single-file"
        )
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype is {dtype!r}; give {', '.join(DTYPES)}, or leave it out")


def _refuse_unread(to: str, **options: Any) -> None:  # noqa: ANN401
    """Raise ConfigError for options of a LoRA that would not be read, or are out of range."""
    from erasure.errors import ConfigError
    from erasure.lora.names import NAMINGS

    for name, value in options.items():
        if value is not None and to != "lora":
            raise ConfigError(
                f"--{name} is {value} and would not be read, as it is for --to lora; leave it out"
            )
    if options["naming"] not in (None, *NAMINGS):
        raise ConfigError(f"--naming is {options['naming']!r}; give {' or '.join(NAMINGS)}")
    _size(options["rank"], options["energy"])


def _size(rank: int | None, energy: float | None) -> "Size | None":
    """How thin the factors are to be; None where neither says it."""
    from erasure.lora.extracting import Size

    return None if rank is None and energy is None else Size(rank=rank, energy=energy)


def _export_model(
    checkpoint: "Checkpoint",
    out: Path,
    to: str,
    dtype: "torch.dtype | None",
    title: str | None,
    *,
    force: bool,
) -> "Written":
    from erasure.checkpoints.writing.card import model_card
    from erasure.checkpoints.writing.folder import write_folder
    from erasure.checkpoints.writing.modelspec import ModelSpec
    from erasure.checkpoints.writing.single_file import write_single_file

    if to == "single-file":
        spec = ModelSpec(title=title) if title else None
        return write_single_file(checkpoint, out, dtype=dtype, spec=spec, force=force)
    made, edits = checkpoint.provenance, checkpoint.edits
    card = model_card(made, base=edits[0].base or checkpoint.name) if made and edits else None
    return write_folder(checkpoint, out, dtype=dtype, card=card, force=force)


def _export_patch(
    before: "Checkpoint", after: "Checkpoint", out: Path, *, force: bool
) -> dict[str, Any]:
    from erasure.patches.checkpoint_patch import checkpoint_patches
    from erasure.patches.patch_file import save_patches
    from erasure.storage.disk import refuse_existing

    refuse_existing(out, force=force)
    patches = checkpoint_patches(before, after)
    save_patches(out, patches)
    whole = sum(
        w.numel() * w.element_size() for part in after.components.values() for w in part.values()
    )
    size = out.stat().st_size
    return {
        "written": out,
        "moved": sum(patch.moved for patch in patches.values()),
        "bytes": size,
        "of the checkpoint": f"{size / whole:.1%}",
    }
