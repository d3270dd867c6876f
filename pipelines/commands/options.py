"""Options that several commands share."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str, typer.Argument(help="A hub id, a folder, a .safetensors file, or the word demo.")
]
ConfigFolder = Annotated[
    str | None,
    typer.Option("--config", help="For a single file: a diffusers folder with configs, tokenizer."),
]
Vae = Annotated[
    str | None,
    typer.Option("--vae", help="In place of the model's VAE, or if it has none: file or folder."),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Also read .ckpt, .pt and .bin, weights only.")
]
Prediction = Annotated[
    str | None,
    typer.Option(
        "--prediction", help="epsilon or v: what the UNet predicts, where a model does not say."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or mps. [default: auto]")
]
Out = Annotated[Path, typer.Option("--out", help="Where to write.")]
DataPath = Annotated[
    str | None,
    typer.Option("--data-path", help="Where the data lie, if not where they usually do."),
]
MethodSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting of the method, such as lr=0.01; may be repeated."),
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Import the module:function that the file names.")
]


def table(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """The options that were given, as a table of a recipe; `a__b` is key b of table a."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value is False:
            continue
        *path, key = name.split("__")
        inner = tables
        for part in path:
            inner = inner.setdefault(part, {})
        inner[key] = value
    return tables


def refuse_taken(files: Iterable[Path | None], *, force: bool) -> None:
    """Raise CheckpointError where one of the files is there and `force` is not set."""
    from erasure.storage.disk import refuse_existing

    for file in files:
        if file is not None:
            refuse_existing(file, force=force)


def say(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: JSON for machines, else one line a value, folded to a terminal's width."""
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False, default=str))
        return
    width = max(map(len, result))
    for name, value in result.items():
        typer.echo(fitted(f"{name:<{width}}  {_plain(value)}", width + 2))


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None where it is a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fitted(line: str, indent: int = 0) -> str:
    """The line, folded between words where stdout is a terminal of fewer columns.

    Args:
        indent: columns before what goes on in a further line.
    """
    width = terminal_width()
    if width is None or len(line) <= width:
        return line
    beyond = " " * min(indent, width // 2)
    return textwrap.fill(
        line, width, subsequent_indent=beyond, break_long_words=False, break_on_hyphens=False
    )


def _plain(value: Any) -> str:  # noqa: ANN401
    """A value as a person reads it: a table as its keys with their values."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value)
