"""`erasure classify train | unlearn | evaluate | bench`: forgetting in classifiers."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

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
from pipelines.process.recipe_options import help_of
from pipelines.run.claims import claim


def train(
    out: Out,
    data: Annotated[
        str | None, typer.Option(help="fashion-mnist, icons, cifar10, digits, docstrings...")
    ] = None,
    data_path: DataPath = None,
    examples: Annotated[
        int | None, typer.Option(help=f"{help_of(TRAIN_RUN, 'data.train')} [default: 10000]")
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(help="resnet18, resnet50, vgg16, vit, text, mlp or module:function."),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help=f"{help_of(TRAIN_RUN, 'model.width')} [default: 0.25]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="[default: 15]")] = None,
    lr: Annotated[float | None, typer.Option(help="First learning rate. [default: 0.1]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="[default: 128]")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Train to forget exactly: sisa, certified, forest, extra-trees, dp-sgd."),
    ] = None,
    settings: MethodSettings = None,
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A TOML file with [data], [model], [training], seed.")
    ] = None,
    device: Device = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train a classifier and write it with a record of how."""
    from erasure.errors import ConfigError
    from pipelines.classifiers.run_settings import read_training, resolve_train, settings_of
    from pipelines.classifiers.runs import train_run
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    options = table(
        seed=seed,
        device=device,
        data__name=data,
        data__path=data_path,
        data__train=examples,
        model__architecture=arch,
        model__width=width,
        training__epochs=epochs,
        training__lr=lr,
        training__batch_size=batch_size,
    )
    config = resolve_train(recipe, options)
    if method is not None:
        from erasure.classifiers.exact.exact_methods import EXACT
        from pipelines.classifiers.exact_models import train_exact
        from pipelines.classifiers.unread import refuse_unread_by_exact
        from prompts.nearest import nearest

        if method not in EXACT:
            raise ConfigError(
                f"there is no method {method!r} of training; {nearest(method, EXACT)}"
            )
        refuse_unread_by_exact(method, options, read_training(recipe))
        claim(out)
        result = train_exact(config, method, settings_of(settings or ()), out, force=force)
    elif settings:
        raise ConfigError("--set is of a method; give --method, or --recipe for the training")
    else:
        _require_safetensors(out)
        claim(out)
        refuse_taken([out], force=force)
        less = Less(other=halved("batch_size", config.training.batch_size))
        with enough_memory("training", less, pick_device(config.device)):
            result = train_run(config, out)
    say(result, as_json=as_json)


def unlearn(
    model: Annotated[Path, typer.Argument(help="A file or folder of `erasure classify train`.")],
    out: Out,
    forget: Annotated[str, typer.Option(help="What goes: 10%, class:3, class:trouser.")] = "10%",
    method: Annotated[
        str | None, typer.Option(help="salun, ft, rl, ga, scrub, retrain... [default: salun]")
    ] = None,
    settings: MethodSettings = None,
    mask: Annotated[
        str | None, typer.Option(help="salient, random, inverse or none, beside the method.")
    ] = None,
    density: Annotated[float | None, typer.Option(help="Share of weights in that mask.")] = None,
    seed: Annotated[int, typer.Option(help="Of the run.")] = 0,
    forget_seed: Annotated[
        int | None, typer.Option(help="Which random share goes. [default: --seed]")
    ] = None,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Of a folder: check what its method claims. sisa and forests are trained again "
            "and compared byte for byte; of certified the gradient that is left is measured; of "
            "dp-sgd the recorded steps are accounted for again, and no weight is looked at.",
        ),
    ] = False,
    data_path: DataPath = None,
    allow_code: AllowCode = False,
    device: Device = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Let a classifier forget part of its training data.

    A folder was trained to forget by its own method, exactly; a file forgets by --method.
    """
    from erasure.errors import ConfigError
    from pipelines.classifiers.exact_folder import is_exact
    from pipelines.classifiers.exact_models import forget_exact
    from pipelines.classifiers.run_settings import ForgetRun
    from pipelines.classifiers.runs import forget_run
    from pipelines.classifiers.unread import refuse_seed_of_class

    run = ForgetRun(
        model=str(model),
        forget=forget,
        method=method or "salun",
        settings=tuple(settings or ()),
        mask=mask,
        density=density,
        seed=seed,
        forget_seed=seed if forget_seed is None else forget_seed,
        data_path=data_path,
        allow_code=allow_code,
        device=device or "auto",
    )
    if forget_seed is not None:
        refuse_seed_of_class(forget)
    if is_exact(model):
        if method or settings or mask or density is not None or device:
            raise ConfigError(
                f"{model} forgets by its own method, on the CPU; leave --method, --set, --mask, "
                "--density and --device out"
            )
        claim(out)
        result = forget_exact(run, out, audit=audit, force=force)
        say(result, as_json=as_json)
        if audit and not result["audit passed"]:
            raise typer.Exit(1)
        return
    if audit:
        raise ConfigError("--audit is of the exact methods; train with --method sisa, say")
    _require_safetensors(out)
    claim(out)
    refuse_taken([out], force=force)
    result = forget_run(run, out)
    if not as_json:
        same = result.pop("unselected identical")
        words = {True: "bit-identical", False: "MOVED", None: "none, as there is no mask"}
        result["unselected"] = words[same]
    say(result, as_json=as_json)


def _require_safetensors(out: Path) -> None:
    from erasure.errors import ConfigError

    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; give a file whose name ends in .safetensors")


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
