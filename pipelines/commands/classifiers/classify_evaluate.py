"""`erasure classify evaluate`: what a classifier has forgotten, in numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import AllowCode, AsJson, DataPath, Device, Force, refuse_taken, say
from pipelines.process.declared_options import declared_options
from pipelines.run.claims import claim


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """What `erasure classify evaluate` takes."""

    model: Annotated[Path, typer.Argument(help="A file or folder of `train` or `unlearn`.")]
    retrained: Annotated[
        Path | None, typer.Option(help="The model retrained without the data, for the Avg Gap.")
    ] = None
    forget: Annotated[
        str | None, typer.Option(help="The forget set, if the file names none: 10%, class:3.")
    ] = None
    forget_seed: Annotated[int | None, typer.Option(help="Which random share it is.")] = None
    shadows: Annotated[
        int, typer.Option(help="Shadow models to train for the likelihood-ratio attack; 0: none.")
    ] = 0
    exact_attack: Annotated[
        bool, typer.Option("--exact-attack", help="The paper's machine on every point; slower.")
    ] = False
    data_path: DataPath = None
    allow_code: AllowCode = False
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None
    device: Device = None
    force: Force = False
    as_json: AsJson = False


@declared_options
def evaluate(asked: EvaluateOptions) -> None:
    """UA, RA, TA and MIA of a classifier.

    With --retrained also its gap to that model.
    """
    from erasure.storage.files import write_json
    from pipelines.classifiers.evaluation import evaluate_run
    from pipelines.classifiers.run_settings import EvaluateRun

    claim(asked.out)
    refuse_taken([asked.out], force=asked.force)
    run = EvaluateRun(
        model=str(asked.model),
        retrained=None if asked.retrained is None else str(asked.retrained),
        forget=asked.forget,
        forget_seed=asked.forget_seed,
        shadows=asked.shadows,
        exact_attack=asked.exact_attack,
        data_path=asked.data_path,
        allow_code=asked.allow_code,
        device=asked.device or "auto",
    )
    result = evaluate_run(run)
    if asked.out is not None:
        write_json(asked.out, result)
    say(result, as_json=asked.as_json)
