"""`erasure classify train | unlearn | evaluate | bench`: forgetting in classifiers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.classifiers.classify_bench import bench
from pipelines.commands.classifiers.classify_evaluate import evaluate
from pipelines.commands.options import (
    AllowCode,
    AsJson,
    DataPath,
    Device,
    Force,
    MethodSettings,
    Out,
    refuse_taken,
    say,
    table,
)
from pipelines.configs.everyday import TRAIN_RUN
from pipelines.process.declared_options import declared_options
from pipelines.process.recipe_options import help_of
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.classifiers.run_settings import ForgetRun, TrainRun


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What `erasure classify train` takes."""

    out: Out
    data: Annotated[
        str | None, typer.Option(help="fashion-mnist, icons, cifar10, digits, docstrings...")
    ] = None
    data_path: DataPath = None
    examples: Annotated[
        int | None, typer.Option(help=f"{help_of(TRAIN_RUN, 'data.train')} [default: 10000]")
    ] = None
    arch: Annotated[
        str | None,
        typer.Option(help="resnet18, resnet50, vgg16, vit, text, mlp or module:function."),
    ] = None
    width: Annotated[
        float | None, typer.Option(help=f"{help_of(TRAIN_RUN, 'model.width')} [default: 0.25]")
    ] = None
    epochs: Annotated[int | None, typer.Option(help="[default: 15]")] = None
    lr: Annotated[float | None, typer.Option(help="First learning rate. [default: 0.1]")] = None
    batch_size: Annotated[int | None, typer.Option(help="[default: 128]")] = None
    method: Annotated[
        str | None,
        typer.Option(help="Train to forget exactly: sisa, certified, forest, extra-trees, dp-sgd."),
    ] = None
    settings: MethodSettings = None
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None
    recipe: Annotated[
        str | None, typer.Option(help="A TOML file with [data], [model], [training], seed.")
    ] = None
    device: Device = None
    force: Force = False
    as_json: AsJson = False


@declared_options
def train(asked: TrainOptions) -> None:
    """Train a classifier and write it with a record of how."""
    from erasure.errors import ConfigError
    from pipelines.classifiers.run_settings import resolve_train

    options = table(
        seed=asked.seed,
        device=asked.device,
        data__name=asked.data,
        data__path=asked.data_path,
        data__train=asked.examples,
        model__architecture=asked.arch,
        model__width=asked.width,
        training__epochs=asked.epochs,
        training__lr=asked.lr,
        training__batch_size=asked.batch_size,
    )
    config = resolve_train(asked.recipe, options)
    if asked.method is not None:
        result = _train_exact(config, options, asked.method, asked)
    elif asked.settings:
        raise ConfigError("--set is of a method; give --method, or --recipe for the training")
    else:
        result = _train(config, asked)
    say(result, as_json=asked.as_json)


def _train_exact(
    config: "TrainRun", options: dict[str, Any], method: str, asked: TrainOptions
) -> dict[str, Any]:
    """Train by a method that can forget exactly, into a folder."""
    from erasure.classifiers.exact.exact_methods import EXACT
    from erasure.errors import ConfigError
    from pipelines.classifiers.exact_models import train_exact
    from pipelines.classifiers.run_settings import read_training, settings_of
    from pipelines.classifiers.unread import refuse_unread_by_exact
    from prompts.nearest import nearest

    if method not in EXACT:
        raise ConfigError(f"there is no method {method!r} of training; {nearest(method, EXACT)}")
    refuse_unread_by_exact(method, options, read_training(asked.recipe))
    claim(asked.out)
    settings = settings_of(asked.settings or ())
    return train_exact(config, method, settings, asked.out, force=asked.force)


def _train(config: "TrainRun", asked: TrainOptions) -> dict[str, Any]:
    """Train into a file."""
    from pipelines.classifiers.runs import train_run
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    _claim_file(asked.out, force=asked.force)
    less = Less(other=halved("batch_size", config.training.batch_size))
    with enough_memory("training", less, pick_device(config.device)):
        return train_run(config, asked.out)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlearnOptions:
    """What `erasure classify unlearn` takes."""

    model: Annotated[Path, typer.Argument(help="A file or folder of `erasure classify train`.")]
    out: Out
    forget: Annotated[str, typer.Option(help="What goes: 10%, class:3, class:trouser.")] = "10%"
    method: Annotated[
        str | None, typer.Option(help="salun, ft, rl, ga, scrub, retrain... [default: salun]")
    ] = None
    settings: MethodSettings = None
    mask: Annotated[
        str | None, typer.Option(help="salient, random, inverse or none, beside the method.")
    ] = None
    density: Annotated[float | None, typer.Option(help="Share of weights in that mask.")] = None
    seed: Annotated[int, typer.Option(help="Of the run.")] = 0
    forget_seed: Annotated[
        int | None, typer.Option(help="Which random share goes. [default: --seed]")
    ] = None
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Of a folder: check what its method claims. sisa and forests are trained again "
            "and compared byte for byte; of certified the gradient that is left is measured; of "
            "dp-sgd the recorded steps are accounted for again, and no weight is looked at.",
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
    from pipelines.classifiers.exact_folder import is_exact
    from pipelines.classifiers.runs import forget_run
    from pipelines.classifiers.unread import refuse_seed_of_class

    run = _forget_run(asked)
    if asked.forget_seed is not None:
        refuse_seed_of_class(asked.forget)
    if is_exact(asked.model):
        _forget_exact(run, asked)
        return
    if asked.audit:
        raise ConfigError("--audit is of the exact methods; train with --method sisa, say")
    _claim_file(asked.out, force=asked.force)
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


def _claim_file(out: Path, *, force: bool) -> None:
    """Claim the file of a classifier; refuse another kind of file, and one that is there."""
    from erasure.errors import ConfigError

    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; give a file whose name ends in .safetensors")
    claim(out)
    refuse_taken([out], force=force)


COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    # Name -> what it does, and an example.
    "train": (train, "erasure classify train --data fashion-mnist --out clothes.safetensors"),
    "unlearn": (
        unlearn,
        "erasure classify unlearn clothes.safetensors --forget 10% --method salun \\\n"
        "      --out forgot.safetensors",
    ),
    "evaluate": (
        evaluate,
        "erasure classify evaluate forgot.safetensors \\\n      --retrained retrained.safetensors",
    ),
    "bench": (bench, "erasure classify bench --recipe narrow --tune 8 --out out/bench"),
}
"""For the command line, which gives each its errors and exit codes."""
