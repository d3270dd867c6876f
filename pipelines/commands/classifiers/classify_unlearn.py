"""`erasure classify unlearn`: a classifier forgets part of its training data."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.classifiers.classifier_file import claim_file
from pipelines.commands.options import (
    AllowCode,
    AsJson,
    DataPath,
    Device,
    Force,
    MethodSettings,
    Out,
    say,
)
from pipelines.configs import option_groups as group
from pipelines.process.declared_options import declared_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.classifiers.run_settings import ForgetRun


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlearnOptions:
    """What `erasure classify unlearn` takes."""

    model: Annotated[Path, typer.Argument(help="A file or folder of `erasure classify train`.")]
    out: Out
    forget: Annotated[
        str,
        typer.Option(help="What goes: 10%, class:3, class:trouser.", rich_help_panel=group.SUBJECT),
    ] = "10%"
    method: Annotated[
        str | None,
        typer.Option(
            help="salun, ft, rl, ga, scrub, retrain... [default: salun]",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    settings: MethodSettings = None
    mask: Annotated[
        str | None,
        typer.Option(
            help="salient, random, inverse or none, beside the method.",
            rich_help_panel=group.WEIGHTS,
        ),
    ] = None
    density: Annotated[
        float | None,
        typer.Option(help="Share of weights in that mask.", rich_help_panel=group.WEIGHTS),
    ] = None
    seed: Annotated[int, typer.Option(help="Of the run.", rich_help_panel=group.TRAINING)] = 0
    forget_seed: Annotated[
        int | None,
        typer.Option(
            help="Which random share goes. [default: --seed]", rich_help_panel=group.SUBJECT
        ),
    ] = None
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Of a folder: check what its method claims. sisa and forests are trained again "
            "and compared byte for byte; of certified the gradient that is left is measured; of "
            "dp-sgd the recorded steps are accounted for again, and no weight is looked at.",
            rich_help_panel=group.JUDGING,
        ),
    ] = False
    data_path: DataPath = None
    allow_code: AllowCode = False
    device: Device = None
    force: Force = False
    as_json: AsJson = False


@declared_options
def unlearn(asked: UnlearnOptions) -> None:
    """Let a classifier forget part of its training data.

    A folder was trained to forget by its own method, exactly; a file forgets by --method.
    """
    from erasure.errors import ConfigError
    from pipelines.classifiers.data.forget_setting import refuse_seed_of_class
    from pipelines.classifiers.exact_folder import is_exact
    from pipelines.classifiers.runs import forget_run

    run = _forget_run(asked)
    if asked.forget_seed is not None:
        refuse_seed_of_class(asked.forget)
    if is_exact(asked.model):
        _forget_exact(run, asked)
        return
    if asked.audit:
        raise ConfigError("--audit is of the exact methods; train with --method sisa, say")
    claim_file(asked.out, force=asked.force)
    result = forget_run(run, asked.out)
    if not asked.as_json:
        same = result.pop("unselected identical")
        words = {True: "bit-identical", False: "MOVED", None: "none, as there is no mask"}
        result["unselected"] = words[same]
    say(result, as_json=asked.as_json)


def _forget_run(asked: UnlearnOptions) -> "ForgetRun":
    """The options as the settings of a run."""
    from pipelines.classifiers.run_settings import ForgetRun

    return ForgetRun(
        model=str(asked.model),
        forget=asked.forget,
        method=asked.method or "salun",
        settings=tuple(asked.settings or ()),
        mask=asked.mask,
        density=asked.density,
        seed=asked.seed,
        forget_seed=asked.seed if asked.forget_seed is None else asked.forget_seed,
        data_path=asked.data_path,
        allow_code=asked.allow_code,
        device=asked.device or "auto",
    )


def _forget_exact(run: "ForgetRun", asked: UnlearnOptions) -> None:
    """Let a folder forget by its own method; exit 1 where an audit finds it has not."""
    from erasure.errors import ConfigError
    from pipelines.classifiers.exact_models import forget_exact

    unread = (asked.method, asked.settings, asked.mask, asked.device)
    if any(unread) or asked.density is not None:
        raise ConfigError(
            f"{asked.model} forgets by its own method, on the CPU; leave --method, --set, --mask, "
            "--density and --device out"
        )
    claim(asked.out)
    result = forget_exact(run, asked.out, audit=asked.audit, force=asked.force)
    say(result, as_json=asked.as_json)
    if asked.audit and not result["audit passed"]:
        raise typer.Exit(1)
