"""`erasure classify train`: a classifier, written with a record of how."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.classifiers.classifier_file import claim_file
from pipelines.commands.options import (
    AsJson,
    DataPath,
    Device,
    Force,
    MethodSettings,
    Out,
    say,
    table,
)
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import TRAIN_RUN
from pipelines.process.declared_options import declared_options
from pipelines.process.recipe_options import help_of
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.classifiers.run_settings import TrainRun


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What `erasure classify train` takes."""

    out: Out
    data: Annotated[
        str | None,
        typer.Option(
            help="fashion-mnist, icons, cifar10, digits, docstrings...",
            rich_help_panel=group.EXAMPLES,
        ),
    ] = None
    data_path: DataPath = None
    examples: Annotated[
        int | None,
        typer.Option(
            help=f"{help_of(TRAIN_RUN, 'data.train')} [default: 10000]",
            rich_help_panel=group.EXAMPLES,
        ),
    ] = None
    arch: Annotated[
        str | None,
        typer.Option(
            help="resnet18, resnet50, vgg16, vit, text, mlp or module:function.",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    width: Annotated[
        float | None,
        typer.Option(
            help=f"{help_of(TRAIN_RUN, 'model.width')} [default: 0.25]",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    epochs: Annotated[
        int | None, typer.Option(help="[default: 15]", rich_help_panel=group.TRAINING)
    ] = None
    lr: Annotated[
        float | None,
        typer.Option(help="First learning rate. [default: 0.1]", rich_help_panel=group.TRAINING),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(help="[default: 128]", rich_help_panel=group.TRAINING)
    ] = None
    method: Annotated[
        str | None,
        typer.Option(
            help="Train to forget exactly: sisa, certified, forest, extra-trees, dp-sgd.",
            rich_help_panel=group.TRAINING,
        ),
    ] = None
    settings: MethodSettings = None
    seed: Annotated[
        int | None, typer.Option(help="[default: 0]", rich_help_panel=group.TRAINING)
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A TOML file with [data], [model], [training], seed.", rich_help_panel=group.RUN
        ),
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
    settings = settings_of(asked.settings or ())
    refuse_unread_by_exact(method, options, read_training(asked.recipe), settings)
    claim(asked.out)
    return train_exact(config, method, settings, asked.out, force=asked.force)


def _train(config: "TrainRun", asked: TrainOptions) -> dict[str, Any]:
    """Train into a file."""
    from pipelines.classifiers.runs import train_run
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    claim_file(asked.out, force=asked.force)
    less = Less(other=halved("batch_size", config.training.batch_size))
    with enough_memory("training", less, pick_device(config.device)):
        return train_run(config, asked.out)
