"""`erasure evaluate`: is it still recognised, is the rest intact, how sure are we?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from pipelines.process.one_voice import one_voice
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.evaluation.outcome.results import Results


@one_voice()
def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="A model as for erase, or the folder of a run.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="The model before the erasure, on the same seeds.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="One that `erasure prompts` lists, such as canvas or i2p.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A CSV or JSONL file of prompts.")] = None,
    erased: Annotated[
        list[str] | None,
        typer.Option(help="What was erased, if the model does not say; again for more."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Put results side by side; give it once for each folder."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Most pictures to draw, half of them of what was erased.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 0-4, in place of the suite's.")] = None,
    samples: Annotated[int | None, typer.Option(help="Pictures a prompt.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Of I2P; again for more.")] = None,
    min_nudity: Annotated[
        float | None, typer.Option(help="Of I2P: least nudity percentage.")
    ] = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(help="As --with of `erasure judge`, or HEAD=MODEL; again for more."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Of a judge that is a model: a list, or a file.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="frechet, kid, clip or perceptual; again for more."),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Of frechet and kid: inception, a model or a file.")
    ] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP for clip: a hub id or a folder.")] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="Of perceptual: lpips-alex or efficientnet-lite0.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of real pictures for frechet and kid.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="ddim, lms, pndm, euler, dpm++ ...")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the scheduler.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Where a prompt has none.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures at a time.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file of these settings.")] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Also write the figures into the model's card.")
    ] = False,
    device: Device = None,
    config: ConfigFolder = None,
    vae: Vae = None,
    prediction: Prediction = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw a suite of prompts, judge and count what they show.

    Writes results.json, its tables as CSV and report.html. Finished pictures are kept: the same
    command goes on where it was cut. `accelerate launch -m pipelines.cli evaluate ...`, on a CPU
    `torchrun --nproc_per_node 2 -m pipelines.cli evaluate ...`, shares the drawing among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.recipe_files import load_toml
    from pipelines.early import require_model_name

    if out is None and not compare:
        raise ConfigError("there is no --out; give the folder to write the evaluation to")
    claim(out)
    given = table(
        model=model,
        against=against,
        suite=suite,
        prompts=_text(prompts),
        erased=erased,
        limit=limit,
        seeds=seeds,
        samples=samples,
        categories=category,
        min_nudity=min_nudity,
        judges=judge,
        labels=labels,
        metrics=metric,
        features=features,
        clip=clip,
        perceptual=perceptual,
        reference=_text(reference),
        scheduler=scheduler,
        steps=steps,
        guidance=guidance,
        precision=precision,
        size=size,
        batch_size=batch_size,
        device=device,
        config=config,
        vae=vae,
        prediction=prediction,
        allow_pickle=allow_pickle,
    )
    if compare:
        more = [*given, *(n for n, v in (("out", out), ("recipe", recipe), ("card", card)) if v)]
        if more:
            raise ConfigError(
                f"--compare reads results that are there, and would not read {', '.join(more)}; "
                "leave all but --compare and --json out"
            )
        _compare(compare, as_json=as_json)
        return
    assert out is not None
    under = load_toml(recipe) if recipe else {}
    for name in (model or under.get("model"), against or under.get("against")):
        if isinstance(name, str):
            require_model_name(name)
    from pipelines.evaluation.run import run_evaluation
    from pipelines.evaluation.settings import resolve_evaluation
    from pipelines.process.progress import Reporter
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    resolved = resolve_evaluation(given, under)
    other = ("--precision bf16 (now fp32)",) if resolved.precision == "fp32" else ()
    less = Less(halved("--batch-size", resolved.batch_size), other)
    with enough_memory("evaluating", less, pick_device(resolved.device)):
        results = run_evaluation(resolved, out, force=force, reporter=Reporter())
    if results is not None:
        _tell(results, out, resolved.model, card=card, as_json=as_json)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _compare(folders: list[Path], *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from pipelines.evaluation.outcome.comparison import compare_results

    compared = compare_results(folders)
    if as_json:
        typer.echo(json.dumps(compared.to_dict(), indent=2, ensure_ascii=False))
    else:
        Console().print(compared.to_table())


def _tell(results: "Results", out: Path, model: str, *, card: bool, as_json: bool) -> None:
    from pipelines.evaluation.outcome.card import write_card
    from pipelines.run.models import find_model

    told: dict[str, Any] = {"verdict": results.summary.verdict}
    told |= _each_erased(results)
    told |= _figures(results)
    told |= {"results": out / "results.json", "report": out / "report.html"}
    if card:
        ours = results.models.after.provenance is not None and Path(model).exists()
        path = write_card(results, find_model(model)) if ours else None
        told["card"] = path or "only a folder that `erasure erase` wrote has a card to write into"
    if as_json:
        told["summary"] = results.summary.to_dict()
    say(told, as_json=as_json)


def _each_erased(results: "Results") -> dict[str, str]:
    """Where several things were erased, how often each is still recognised; and what of it the
    suite does not draw, so that nothing is said of that."""
    from pipelines.evaluation.report.report_format import interval, percent

    told = {}
    if len(results.erased) + len(results.not_drawn) > 1:
        for row in (row for row in results.classes if row.erased):
            was = f", before {percent(row.before.share)}" if row.before is not None else ""
            told[f"{row.label} recognised"] = (
                f"{percent(row.after.share)} ({interval(row.after.low, row.after.high)}), "
                f"{row.after.total} pictures{was}"
            )
    for concept in results.not_drawn:
        told[f"{concept} recognised"] = "not looked at: no prompt of this suite asks for it"
    return told


def _figures(results: "Results") -> dict[str, str]:
    """Rate -> share with its interval, and what it was before."""
    from pipelines.evaluation.report.report_format import interval, percent

    before = results.summary.before or {}
    told = {}
    for name, rate in results.summary.after.items():
        was = f", before {percent(before[name].share)}" if name in before else ""
        told[name.upper()] = (
            f"{percent(rate.share)} ({interval(rate.low, rate.high)}), {rate.total} pictures{was}"
        )
    lost = results.unusable.after.nan + results.unusable.after.black
    if lost:
        told["left out"] = f"{lost} pictures that are black or not finite"
    return told
