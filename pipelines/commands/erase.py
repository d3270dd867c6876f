"""`erasure erase`: make a checkpoint forget a concept."""

import re
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import (
    AllowPickle,
    AsJson,
    ConfigFolder,
    Device,
    Force,
    Prediction,
    Vae,
    say,
    table,
)
from pipelines.process.one_voice import is_first, one_voice
from pipelines.run.claims import claim


@one_voice()
def erase(
    model: Annotated[
        str | None,
        typer.Argument(help="A hub id, a folder, a .safetensors file, or the word demo."),
    ] = None,
    concept: Annotated[
        str | None, typer.Option(help="What to forget: any word or phrase the model knows.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. [default: out/CONCEPT]")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A TOML file, or the name of a ready recipe.")
    ] = None,
    instead: Annotated[
        str | None, typer.Option(help="A prompt or name to see in its place, next, or any.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="One of `erasure methods`, or FILE.py:Class of your own."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, such as alpha=2; may be repeated."),
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of the retain loss.")] = None,
    target: Annotated[str | None, typer.Option(help="moving or frozen (random-label).")] = None,
    kept: Annotated[
        str | None, typer.Option(help="Retain loss: to the noise, or to what base predicts.")
    ] = None,
    bound: Annotated[float | None, typer.Option(help="Largest error (ascent); 0 for none.")] = None,
    mask: Annotated[
        str | None, typer.Option(help="salient, random, inverse, all, or a mask file.")
    ] = None,
    density: Annotated[float | None, typer.Option(help="Share of weights free to move.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="full, xattn, selfattn, noxattn, notime...")
    ] = None,
    saliency_loss: Annotated[str | None, typer.Option(help="guided or plain.")] = None,
    draws: Annotated[int | None, typer.Option(help="Saliency draws a forget picture.")] = None,
    saliency_batch: Annotated[
        int | None, typer.Option(help="Samples a pass of the mask; less memory, same result.")
    ] = None,
    saliency_offload: Annotated[
        bool,
        typer.Option("--saliency-offload", help="Sum the mask's gradients in main memory."),
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Forget samples a step.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Samples a pass; less memory, same result.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    decay: Annotated[str | None, typer.Option(help="Of the rate: constant or cosine.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw or sgd.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Moves selected weights only.")] = None,
    moments: Annotated[
        str | None, typer.Option(help="Of the optimizer: fp32, or 8bit, which needs bitsandbytes.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or bf16-weights.")] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Gradient checkpointing: less memory.")
    ] = False,
    forget_drawn: Annotated[
        int | None, typer.Option(help="Forget pictures the checkpoint draws.")
    ] = None,
    forget_folder: Annotated[str | None, typer.Option(help="Folder of forget pictures.")] = None,
    forget_dataset: Annotated[str | None, typer.Option(help="Data set of forget pictures.")] = None,
    forget_prompt: Annotated[str | None, typer.Option(help="One prompt for all of them.")] = None,
    retain_drawn: Annotated[
        int | None, typer.Option(help="Retain pictures the checkpoint draws.")
    ] = None,
    retain_folder: Annotated[str | None, typer.Option(help="Folder of retain pictures.")] = None,
    retain_dataset: Annotated[str | None, typer.Option(help="Data set of retain pictures.")] = None,
    retain_prompt: Annotated[str | None, typer.Option(help="One prompt for all of them.")] = None,
    retain_prompts: Annotated[
        Path | None, typer.Option(help="File of prompts to keep, one a line.")
    ] = None,
    drawing_batch: Annotated[int | None, typer.Option(help="Pictures drawn at a time.")] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Who looks at the grid at the end, as --with of `erasure judge`."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Of a judge that is a model: a list, or a file.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Of the grid, such as 0-4.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the run. [default: 0]")] = None,
    device: Device = None,
    config: ConfigFolder = None,
    vae: Vae = None,
    prediction: Prediction = None,
    cache: Annotated[str | None, typer.Option(help="Folder for drawn pictures, latents.")] = None,
    allow_pickle: AllowPickle = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the method that the recipe brings as code.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was cut.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a checkpoint forget a concept.

    Writes OUT/model (diffusers folder), mask.safetensors, grid.png, loss.png, loss.csv,
    density.png, recipe.toml and erasure.json. What is not given here comes from the recipe, then
    from the defaults of the model's kind. `accelerate launch -m pipelines.cli erase ...`, on a CPU
    `torchrun --nproc_per_node 2 -m pipelines.cli erase ...`, shares the work among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.early import refuse_both, refuse_early

    refuse_both(resume=resume, force=force)
    given = table(
        model=model,
        concept=concept,
        instead=instead,
        mask=mask,
        density=density,
        scope=scope,
        seed=seed,
        device=device,
        config=config,
        vae=vae,
        prediction=prediction,
        cache=cache,
        judge=judge,
        labels=labels,
        checkpointing=checkpointing,
        allow_pickle=allow_pickle,
        code=method if method and ":" in method else None,
        method__name=method if method and ":" not in method else None,
        method__alpha=alpha,
        method__target=target,
        method__kept=kept,
        method__bound=bound,
        saliency__loss=saliency_loss,
        saliency__draws=draws,
        saliency__batch_size=saliency_batch,
        saliency__offload=saliency_offload,
        method__steps=steps,
        method__batch_size=batch_size,
        method__micro_batch=micro_batch,
        method__learning_rate=lr,
        method__decay=decay,
        method__optimizer=optimizer,
        method__weight_decay=weight_decay,
        method__moments=moments,
        method__precision=precision,
        data__forget__drawn=forget_drawn,
        data__forget__folder=forget_folder,
        data__forget__dataset=forget_dataset,
        data__forget__prompt=forget_prompt,
        data__retain__drawn=retain_drawn,
        data__retain__folder=retain_folder,
        data__retain__dataset=retain_dataset,
        data__retain__prompt=retain_prompt,
        data__retain_prompts=_prompts(retain_prompts),
        data__drawing__batch_size=drawing_batch,
        grid__drawing__batch_size=drawing_batch,
        grid__seeds=seeds,
    )
    refuse_early(given, recipe)
    from pipelines.configs.method_table import converted, refuse_code, settings_of
    from pipelines.configs.recipe import merge
    from pipelines.configs.settings import read_recipe
    from pipelines.process.progress import Reporter
    from pipelines.run.erasing import prepare, run_erasure
    from pipelines.run.model_facts import tell_model

    named = converted(read_recipe(recipe)) if recipe else {}
    refuse_code(named, allowed=allow_code or method is not None)
    given = merge(given, {"method": settings_of(settings or ())} if settings else {})
    if seed is not None:  # given here, it is that of all parts
        for part in ("method", "saliency"):
            if isinstance(named.get(part), dict):
                named[part].pop("seed", None)
    for name in ("model", "concept"):
        if name not in given and name not in named:
            raise ConfigError(
                f"{name} is missing; for example: erasure erase demo --concept church --out DIR"
            )
    name = re.sub(r"[^\w-]+", "-", str(merge(named, given)["concept"]).lower()).strip("-")
    out = out or Path("out") / (name or "concept")
    claim(out)
    resolved, checkpoint = prepare(given, named)
    facts = tell_model(checkpoint)
    erased = run_erasure(resolved, checkpoint, out, resume=resume, force=force, reporter=Reporter())
    if not is_first():
        return
    made = {
        "concept": resolved.concept,
        "model": erased.model,
        "grid": out / "grid.png",
        "mask": out / "mask.safetensors",
        "loss": out / "loss.png",
        "record": out / "erasure.json",
    }
    if as_json:
        counts = {name: getattr(erased, name) for name in ("selected", "moved", "total")}
        same = {"unselected_identical": erased.unselected_identical}
        seconds = {"seconds": dict(erased.seconds)}
        verdict = {"verdict": erased.verdict.to_dict() if erased.verdict else None}
        say({**made, **counts, **same, "base_read_as": facts, **verdict, **seconds}, as_json=True)
        return
    spoken = {
        "verdict": erased.verdict.said() if erased.verdict else "not judged",
        "selected": f"{erased.selected:,} of {erased.total:,} weights",
        "moved": f"{erased.moved:,} weights",
        "unselected": "bit-identical" if erased.unselected_identical else "MOVED",
        "seconds": round(sum(erased.seconds.values()), 1),
    }
    say({**made, **spoken}, as_json=False)


def _prompts(path: Path | None) -> tuple[str, ...] | None:
    from prompts.files import read_prompts

    return None if path is None else read_prompts(path)
