"""`erasure mask`: which weights carry a concept, and how two masks overlap."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Force, refuse_taken, say
from pipelines.configs.everyday import ERASE_RECIPE, MASK
from pipelines.process.one_voice import is_first, one_voice
from pipelines.process.recipe_options import recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.masks.mask_report import MaskReport
    from erasure.masks.masks import SaliencyMask
    from erasure.masks.overlap import Shared
    from pipelines.configs.settings import EraseRecipe


@one_voice()
@recipe_options(ERASE_RECIPE, MASK, own_after="concept")
def mask(
    options: dict[str, Any],
    model: Annotated[
        str, typer.Argument(help="A model to make a mask for, or a mask file to look at.")
    ],
    out: Annotated[Path | None, typer.Option(help="Mask file to write, .safetensors.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A TOML file or a ready recipe.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A setting of saliency or data without an option of its own, such as "
            "saliency.guidance=3 or data.size=256; again for more.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="The method whose loss it is, for --saliency-loss own.")
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(
            help="The part of the model whose weights it is of, such as text_encoder. [default: "
            "the one that denoises, or that of --method]"
        ),
    ] = None,
    intersect: Annotated[
        list[Path] | None,
        typer.Option(help="A mask file: keep what it selects as well; again for more."),
    ] = None,
    union: Annotated[
        list[Path] | None,
        typer.Option(help="A mask file: add what it selects; again for more."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another mask file: print the overlap with it.")
    ] = None,
    fit: Annotated[
        str | None,
        typer.Option(
            help="8gb, 12gb, 24gb, 48gb, 80gb, or auto: choose settings that fit that memory."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print memory, time and disk, and do nothing.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(help="PNG of density per block. [default: beside --out]")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a mask, look at one, or join several.

    `accelerate launch -m pipelines.cli mask ...`, on a CPU `torchrun --nproc_per_node 2
    -m pipelines.cli mask ...`, shares the samples among processes.
    """
    from erasure.errors import ConfigError
    from pipelines.configs.concepts import named_concepts
    from pipelines.early import refuse_early

    if plot is not None and plot.suffix.lower() != ".png":
        raise ConfigError(f"--plot is {plot}; give a file that ends in .png")
    options = {"model": model, **_of_method(method, options), **named_concepts(options)}
    facts: dict[str, Any] = {}
    path = Path(model).expanduser()
    if not path.is_file():
        refuse_early(options, recipe, shapes=dry_run)
    from erasure.masks.mask_file import is_mask_file, load_mask, save_mask
    from erasure.masks.mask_report import mask_report
    from erasure.masks.overlap import overlap
    from pipelines.configs.set_options import with_mask_settings
    from pipelines.drawing.plots import plot_density

    if dry_run:
        named = _recipe(recipe)
        options = with_mask_settings(options, named, settings or ())
        _plan(options, named, component, fit, as_json=as_json)
        return
    other = None if against is None else load_mask(against)
    if intersect or union:
        _refuse_making(path, {**options, **_own(settings, component)}, recipe, None)
        made = _combined(path, intersect or [], union or [], out)
        assert out is not None
        plot = plot or out.with_suffix(".png")
        claim(out, plot)
        refuse_taken([out, plot], force=force)
    elif path.is_file() and (is_mask_file(path) or not ("concept" in options or recipe)):
        _refuse_making(path, {**options, **_own(settings, component)}, recipe, out)
        claim(plot)
        refuse_taken([plot], force=force)
        made = load_mask(path)
    else:
        if out is None or out.suffix != ".safetensors":
            raise ConfigError(
                f"--out is {out}; a new mask needs --concept and --out with a name that ends in "
                ".safetensors; to look at a mask, give its file"
            )
        plot = plot or out.with_suffix(".png")
        claim(out, plot)
        refuse_taken([out, plot], force=force)
        named = _recipe(recipe)
        options = with_mask_settings(options, named, settings or ())
        made, facts = _make(options, named, component, fit)
    if not is_first():
        return
    report = mask_report(made)
    shared = None if other is None else overlap(made, other).whole
    result = (_for_machines if as_json else _for_people)(made, report, shared)
    if as_json and facts:
        result["base_read_as"] = facts
    if out is not None:
        save_mask(out, made)
        result["mask"] = out
    if plot is not None:
        plot_density(report.blocks, plot, overall=report.whole.density)
        result["plot"] = plot
    say(result, as_json=as_json)


def _own(settings: list[str] | None, component: str | None) -> dict[str, Any]:
    """The options for making a mask that no field of a recipe has."""
    return {
        **({"set": settings} if settings else {}),
        **({"component": component} if component else {}),
    }


def _combined(
    path: Path, intersect: list[Path], union: list[Path], out: Path | None
) -> "SaliencyMask":
    """What both lists make of a mask file.

    Raises:
        ConfigError: both lists are given, the first is no mask file, or there is no place for it.
        MaskError: a mask cannot be read, or belongs to another base.
    """
    from erasure.errors import ConfigError
    from erasure.masks.combining import intersection, union_of
    from erasure.masks.mask_file import is_mask_file, load_mask

    if intersect and union:
        raise ConfigError("--intersect and --union are two masks; make one after the other")
    name = "--intersect" if intersect else "--union"
    if not path.is_file() or not is_mask_file(path):
        raise ConfigError(
            f"{path} is no mask file; write it as erasure mask {name} A.safetensors B"
        )
    if out is None or out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; give a name that ends in .safetensors for the new mask")
    masks = [load_mask(file) for file in (path, *intersect, *union)]
    return (intersection if intersect else union_of)(masks)


def _of_method(method: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The method as a recipe's table; it is read for its own loss alone."""
    from erasure.errors import ConfigError

    if method is None:
        return {}
    if options.get("saliency", {}).get("loss") != "own":
        raise ConfigError(f"--method is {method!r} and is read for --saliency-loss own alone")
    return {"mask": "salient", "method": {"name": method}}


def _refuse_making(
    path: Path, options: dict[str, Any], recipe: str | None, out: Path | None
) -> None:
    """Raise ConfigError where a mask file is looked at, and something is for making one."""
    from erasure.errors import ConfigError

    if out is not None:
        raise ConfigError(f"{path} is a mask already; leave --out out to look at it")
    more = [name for name in options if name != "model"]
    if more or recipe:
        raise ConfigError(
            f"{path} is a mask already, so {', '.join(more or ['recipe'])} would not be read; "
            "leave out what is for making one"
        )


def _recipe(name: str | None) -> dict[str, Any]:
    from pipelines.configs.method_table import converted, refuse_code
    from pipelines.configs.settings import read_recipe

    tables = converted(read_recipe(name)) if name else {}
    refuse_code(tables, allowed=False)
    return tables


def _component(recipe: "EraseRecipe", checkpoint: "Checkpoint", named: str | None) -> str:
    """The component whose weights the mask is of.

    Raises:
        ConfigError: the model has no such component, or the method whose loss it is moves another.
    """
    from erasure.diffusion.edit import component_of
    from erasure.errors import ConfigError

    if recipe.saliency.loss != "own":
        return checkpoint.architecture.require_editable(named or "")
    moved = component_of(recipe.method, checkpoint)
    if named not in (None, moved):
        raise ConfigError(
            f"--component is {named!r}, but the method {recipe.method.name} moves {moved}; give "
            "that, or leave --component out"
        )
    return moved


def _plan(
    options: dict[str, Any],
    under: dict[str, Any],
    named_component: str | None,
    fit: str | None,
    *,
    as_json: bool,
) -> None:
    """Print what making the mask would take."""
    from pipelines.commands.erase import tell_bill
    from pipelines.planning import planning
    from pipelines.run.model_facts import notice, tell_model

    resolved, checkpoint = planning.prepare_to_plan(options, under)
    facts = tell_model(checkpoint)
    resolved, component = _of_component(resolved, checkpoint, named_component, {*options, *under})
    resolved = _without_retained(resolved)
    card = planning.planned_card(fit, resolved.device)
    if fit is not None:
        made_to_fit = planning.fit(
            resolved, checkpoint, {**under, **options}, fit, card=card, mask_of=component
        )
        resolved, facts = made_to_fit.recipe, {**facts, "fit": list(made_to_fit.said)}
        notice(list(made_to_fit.said))
    bill = planning.told_before(resolved, checkpoint, card=card, mask_of=component)
    tell_bill(bill, checkpoint, facts, as_json=as_json)


def _of_component(
    recipe: "EraseRecipe", checkpoint: "Checkpoint", named: str | None, set_keys: set[str]
) -> "tuple[EraseRecipe, str]":
    """The recipe with the scope of the component whose weights the mask is of, and that."""
    from dataclasses import replace

    from erasure.architectures.text.names import LAYERS

    component = _component(recipe, checkpoint, named)
    if component != checkpoint.architecture.main and "scope" not in set_keys:
        recipe = replace(recipe, scope=LAYERS)
    return recipe, component


def _without_retained(recipe: "EraseRecipe") -> "EraseRecipe":
    """The recipe without pictures to keep, as no score looks at them."""
    from dataclasses import replace

    from pipelines.configs.settings import PicturesConfig

    return replace(recipe, data=replace(recipe.data, retain=PicturesConfig()))


def _make(
    options: dict[str, Any],
    under: dict[str, Any],
    named_component: str | None,
    fit: str | None,
) -> "tuple[SaliencyMask, dict[str, Any]]":
    """The mask, and what its model was read as."""
    from erasure.errors import ConfigError
    from pipelines.data.concept_data import Gatherer
    from pipelines.planning import planning
    from pipelines.planning.bill import Planner, mask_needs
    from pipelines.planning.bill_words import Told
    from pipelines.planning.fit import summed_where_they_fit
    from pipelines.process.processes import processes
    from pipelines.process.progress import Reporter
    from pipelines.run.erasing import cache_of, plan_of, prepare
    from pipelines.run.masking import make_mask, named_mask
    from pipelines.run.memory import enough_memory, of_saliency
    from pipelines.run.model_facts import notice, tell_model
    from pipelines.run.models import pick_device

    resolved, checkpoint = prepare(options, under)
    facts = tell_model(checkpoint)
    resolved, component = _of_component(resolved, checkpoint, named_component, {*options, *under})
    if fit is not None:
        made_to_fit = planning.fit(
            _without_retained(resolved), checkpoint, {**under, **options}, fit, mask_of=component
        )
        resolved, facts = made_to_fit.recipe, {**facts, "fit": list(made_to_fit.said)}
        notice(list(made_to_fit.said))
    device = pick_device(resolved.device)
    team = processes(device)
    plan = plan_of(resolved, checkpoint)
    measured = resolved.mask in ("salient", "inverse")
    if not measured and "data" in options:
        raise ConfigError(
            f"the mask {resolved.mask} measures no pictures, so --forget-drawn and --drawing-batch "
            "would not be read; leave them out"
        )
    named = named_mask(resolved, checkpoint, component)
    if named is not None:
        return named, facts
    reporter = Reporter(quiet=not team.first)
    gatherer = Gatherer(
        checkpoint=checkpoint,
        plan=plan,
        config=_without_retained(resolved).data,
        seed=resolved.seed,
        device=device,
        cache=cache_of(resolved),
        team=team,
        reporter=reporter,
        needs=mask_needs(resolved),
    )
    planner = Planner(
        checkpoint=checkpoint,
        plan=plan,
        mask=None,
        apart=device.type == "cuda",
        processes=team.count,
        mask_of=component,
    )
    alone = _without_retained(resolved)
    measuring = team.agreed(lambda: summed_where_they_fit(alone, planner.bill, device))
    reporter.tell([*measuring.said, *Told.here(planner.bill(measuring.recipe), device).lines()])
    resolved = measuring.recipe
    data = gatherer.gather()
    with enough_memory("measuring the mask", of_saliency(resolved, device), device):
        made = make_mask(
            resolved,
            checkpoint,
            data,
            component,
            team=team,
            reporter=reporter,
            scratch=cache_of(resolved).folder,
        )
    team.wait()  # all have seen that the file is not there
    return made, facts


def _for_people(
    made: "SaliencyMask", report: "MaskReport", shared: "Shared | None"
) -> dict[str, Any]:
    info = made.info
    result: dict[str, Any] = {
        "kind": info.kind,
        "component": info.component,
        "concept": info.concept,
        "scope": info.scope,
        "selected": f"{report.whole.selected:,} of {report.whole.total:,}",
        "density": round(report.whole.density, 6),
        "base": info.base,
    }
    # Blocks and kinds of layer share names, such as `in` and `out`.
    for table_of, rows in (("block", report.blocks), ("layers", report.kinds)):
        result |= {
            f"{table_of} {row.part}": f"{row.density:.4f}  ({row.selected:,} of {row.total:,})"
            for row in rows
        }
    if shared is not None:
        result["selected by both"] = f"{shared.intersection:,}"
        result["IoU"] = f"{shared.iou:.4f}"
        result["share of this in the other"] = f"{shared.share_of_a_in_b:.4f}"
    return result


def _for_machines(
    made: "SaliencyMask", report: "MaskReport", shared: "Shared | None"
) -> dict[str, Any]:
    from dataclasses import asdict

    result: dict[str, Any] = {
        **asdict(made.info),
        "density": report.whole.density,
        "selected": report.whole.selected,
        "total": report.whole.total,
    }
    for name, rows in (("blocks", report.blocks), ("kinds", report.kinds)):
        result[name] = [
            {"part": r.part, "density": r.density, "selected": r.selected, "total": r.total}
            for r in rows
        ]
    if shared is not None:
        result["overlap"] = {
            "both": shared.intersection,
            "iou": shared.iou,
            "share_of_this_in_other": shared.share_of_a_in_b,
        }
    return result
