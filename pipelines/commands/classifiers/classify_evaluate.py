"""`erasure classify evaluate`: what a classifier has forgotten, in numbers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import AllowCode, AsJson, DataPath, Device, Force, refuse_taken, say
from pipelines.run.claims import claim


def evaluate(
    model: Annotated[Path, typer.Argument(help="A file or folder of `train` or `unlearn`.")],
    retrained: Annotated[
        Path | None, typer.Option(help="The model retrained without the data, for the Avg Gap.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option(help="The forget set, if the file names none: 10%, class:3.")
    ] = None,
    forget_seed: Annotated[int | None, typer.Option(help="Which random share it is.")] = None,
    shadows: Annotated[
        int, typer.Option(help="Shadow models to train for the likelihood-ratio attack; 0: none.")
    ] = 0,
    exact_attack: Annotated[
        bool, typer.Option("--exact-attack", help="The paper's machine on every point; slower.")
    ] = False,
    data_path: DataPath = None,
    allow_code: AllowCode = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
    device: Device = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """UA, RA, TA, MIA of a classifier, and its gap to the retrained one."""
    from erasure.storage.files import atomic
    from pipelines.classifiers.evaluation import evaluate_run
    from pipelines.classifiers.run_settings import EvaluateRun

    claim(out)
    refuse_taken([out], force=force)
    run = EvaluateRun(
        model=str(model),
        retrained=None if retrained is None else str(retrained),
        forget=forget,
        forget_seed=forget_seed,
        shadows=shadows,
        exact_attack=exact_attack,
        data_path=data_path,
        allow_code=allow_code,
        device=device or "auto",
    )
    result = evaluate_run(run)
    if out is not None:
        with atomic(out) as part:
            part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    say(result, as_json=as_json)
