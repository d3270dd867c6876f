"""`erasure export`: write a checkpoint in the layout and number type that others load."""

from pathlib import Path
from typing import Annotated, Final

import typer

from pipelines.commands.options import AllowPickle, AsJson, ConfigFolder, Force, Model, Out, say

DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Name on the command line -> name in torch."""


def export(
    model: Model,
    out: Out,
    to: Annotated[str, typer.Option(help="diffusers or single-file.")] = "single-file",
    dtype: Annotated[
        str | None, typer.Option(help="fp32, fp16 or bf16. [default: each weight's own]")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title in a single file's header.")] = None,
    config: ConfigFolder = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write a folder or a single file that other tools load.

    A single file has the layout that ComfyUI, A1111 and others read.
    """
    import torch

    from erasure.checkpoints.card import model_card
    from erasure.checkpoints.folder import write_folder
    from erasure.checkpoints.modelspec import ModelSpec
    from erasure.checkpoints.single_file import write_single_file
    from erasure.errors import ConfigError
    from pipelines.models import open_model

    if to not in ("diffusers", "single-file"):
        raise ConfigError(f"--to is {to!r}; give diffusers or single-file")
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype is {dtype!r}; give {', '.join(DTYPES)}, or leave it out")
    kind: torch.dtype | None = getattr(torch, DTYPES[dtype]) if dtype else None
    checkpoint = open_model(model, config=config, allow_pickle=allow_pickle)
    if to == "diffusers":
        made = checkpoint.provenance
        card = model_card(made, base=Path(model).name) if made is not None else None
        written = write_folder(checkpoint, out, dtype=kind, card=card, force=force)
    else:
        spec = ModelSpec(title=title) if title else None
        written = write_single_file(checkpoint, out, dtype=kind, spec=spec, force=force)
    say({"written": written.path, "UNet": written.unet_hash}, as_json=as_json)
