"""`erasure mask`: which weights carry a concept, and how two masks overlap."""

from pathlib import Path
from typing import Annotated, Any

import typer

from erasure.errors import ConfigError
from erasure.mask_file import is_mask_file, load_mask, save_mask
from erasure.mask_report import mask_report
from erasure.masks import SaliencyMask
from erasure.overlap import overlap
from pipelines.commands.options import AllowPickle, AsJson, ConfigFolder, Device, Force, say, table
from pipelines.plots import plot_density
from pipelines.progress import Reporter
from pipelines.settings import merge, read_recipe


def mask(
    model: Annotated[
        str, typer.Argument(help="A model to make a mask for, or a mask file to look at.")
    ],
    concept: Annotated[str | None, typer.Option(help="What is to be forgotten.")] = None,
    out: Annotated[Path | None, typer.Option(help="Mask file to write, .safetensors.")] = None,
    density: Annotated[float | None, typer.Option(help="Share of weights to select.")] = None,
    scope: Annotated[
        str | None, typer.Option(help="full, xattn, selfattn, noxattn, notime...")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="salient, random, inverse or all. [default: salient]")
    ] = None,
    saliency_loss: Annotated[str | None, typer.Option(help="guided or plain.")] = None,
    draws: Annotated[int | None, typer.Option(help="Draws a forget picture.")] = None,
    seed: Annotated[int | None, typer.Option(help="[default: 0]")] = None,
    recipe: Annotated[str | None, typer.Option(help="A TOML file or a ready recipe.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another mask file: print the overlap with it.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG of density per block. [default: beside --out]")
    ] = None,
    device: Device = None,
    config: ConfigFolder = None,
    allow_pickle: AllowPickle = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a saliency mask, or look at one: density per block, overlap with another.

    Example: erasure mask demo --concept church --density 0.5 --out church-mask.safetensors
    """
    path = Path(model)
    if path.is_file() and is_mask_file(path):
        made = load_mask(path)
        picture = plot
    else:
        if concept is None or out is None:
            raise ConfigError(
                "a new mask needs --concept and --out; to look at one, give a mask file"
            )
        if out.exists() and not force:
            raise ConfigError(f"{out} exists; give another path, or --force to replace it")
        given = table(
            model=model,
            concept=concept,
            density=density,
            scope=scope,
            mask=kind,
            seed=seed,
            device=device,
            config=config,
            allow_pickle=allow_pickle,
            saliency__loss=saliency_loss,
            saliency__draws=draws,
        )
        made = _make(merge(read_recipe(recipe) if recipe else {}, given))
        save_mask(out, made)
        picture = plot or out.with_suffix(".png")
    result = _described(made)
    if picture is not None:
        report = mask_report(made)
        plot_density(report.blocks, picture, overall=report.whole.density)
        result["plot"] = picture
    if against is not None:
        shared = overlap(made, load_mask(against)).whole
        result["overlap"] = {
            "selected by both": shared.intersection,
            "IoU": round(shared.iou, 6),
            "share of this in the other": round(shared.share_of_a_in_b, 6),
        }
    say(result, as_json=as_json)


def _make(tables: dict[str, Any]) -> SaliencyMask:
    from pipelines.concept_data import Gatherer
    from pipelines.erasing import cache_of, mask_for, plan_of, prepare
    from pipelines.models import pick_device

    resolved, checkpoint = prepare(tables)
    reporter = Reporter()
    data = Gatherer(
        checkpoint=checkpoint,
        plan=plan_of(resolved, checkpoint),
        config=resolved.data,
        seed=resolved.seed,
        device=pick_device(resolved.device),
        cache=cache_of(resolved),
        reporter=reporter,
    ).gather()
    return mask_for(resolved, checkpoint, data, reporter=reporter)


def _described(made: SaliencyMask) -> dict[str, Any]:
    report = mask_report(made)
    info = made.info
    result: dict[str, Any] = {
        "kind": info.kind,
        "concept": info.concept,
        "scope": info.scope,
        "selected": f"{report.whole.selected:,} of {report.whole.total:,}",
        "density": round(report.whole.density, 6),
        "base": info.base,
    }
    for rows in (report.blocks, report.kinds):
        result |= {
            row.part: f"{row.density:.4f}  ({row.selected:,} of {row.total:,})" for row in rows
        }
    return result
