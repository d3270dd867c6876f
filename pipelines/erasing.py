"""One erasure from end to end: data, mask, training, checkpoint, pictures, provenance."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from erasure.cache import TensorCache
from erasure.checkpoints.card import model_card
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.folder import folder_size, write_folder
from erasure.checkpoints.reading import read_checkpoint
from erasure.disk import require_space
from erasure.edit import Edit, erase, find_mask
from erasure.errors import ConfigError
from erasure.files import atomic
from erasure.latents import ConceptData
from erasure.mask_file import is_mask_file, load_mask, require_base, save_mask
from erasure.mask_report import mask_report
from erasure.masks import MASK_KINDS, SaliencyMask, require_weights
from erasure.released_masks import load_released_mask
from erasure.scopes import in_scope
from erasure.selection import check_density
from erasure.trainer import Step
from pipelines.comparing import compare
from pipelines.concept_data import Gatherer
from pipelines.models import is_canvas, open_model, pick_device
from pipelines.plots import plot_density, plot_losses
from pipelines.progress import Reporter
from pipelines.recipe import build, dump_toml
from pipelines.run_folder import MASK, MODEL, RECIPE, RECORD, STATE, clear, may_write
from pipelines.settings import EraseRecipe, parse_seeds, resolve
from prompts.concepts import plan_concept
from prompts.plan import ConceptPlan

_GRID_ROWS: Final = (3, 5)
"""Forgotten and kept prompts in the grid."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What a run left behind."""

    folder: Path
    model: Path
    selected: int
    moved: int
    total: int
    unselected_identical: bool
    seconds: Mapping[str, float]
    """Wall time a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelChoice:
    """The part of a recipe that must be known before its defaults are."""

    model: str = "demo"
    config: str | None = None
    allow_pickle: bool = False


def prepare(tables: Mapping[str, Any]) -> tuple[EraseRecipe, Checkpoint]:
    """Resolve a recipe and open its model; nothing is written.

    Raises:
        ConfigError: the recipe is wrong.
        CheckpointError: there is no such model, or it cannot be read.
    """
    known = {field.name for field in fields(_ModelChoice)}
    chosen = build(_ModelChoice, {k: v for k, v in tables.items() if k in known})
    checkpoint = open_model(chosen.model, config=chosen.config, allow_pickle=chosen.allow_pickle)
    return resolve(tables, canvas=is_canvas(checkpoint)), checkpoint


def cache_of(recipe: EraseRecipe) -> TensorCache:
    """Where drawn pictures and latents are kept."""
    folder = recipe.cache or os.environ.get("ERASURE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return TensorCache(Path(folder) if folder else home / "diffusion-erasure")


def plan_of(recipe: EraseRecipe, checkpoint: Checkpoint) -> ConceptPlan:
    """The prompts of the recipe's concept."""
    return plan_concept(
        recipe.concept,
        family="canvas" if is_canvas(checkpoint) else "general",
        instead=recipe.instead,
        prompts=recipe.data.forget_prompts or None,
        retain=recipe.data.retain_prompts,
    )


def run_erasure(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Erased:
    """Do what the recipe says and write the run's folder.

    Raises:
        ErasureError: see the parts; what was finished stays, for `resume`.
    """
    report = reporter or Reporter(quiet=True)
    objective = recipe.objective.objective()
    parse_seeds(recipe.grid.seeds)
    plan = plan_of(recipe, checkpoint)
    data = Gatherer(
        checkpoint=checkpoint,
        plan=plan,
        config=recipe.data,
        seed=recipe.seed,
        device=pick_device(recipe.device),
        cache=cache_of(recipe),
        reporter=report,
    )
    mask = named_mask(recipe, checkpoint)
    # Whatever may be wrong with the input is known before the folder is touched.
    text = dump_toml(recipe)
    goes_on = may_write(out, text, recipe.model, resume=resume, force=force)
    require_space(out / MODEL, 3 * folder_size(checkpoint))
    found = data.gather()
    if goes_on and (out / MASK).exists():
        mask = load_mask(out / MASK)  # as it was, whatever device measured it
    mask = mask or make_mask(recipe, checkpoint, found, reporter=report)
    if not goes_on:
        clear(out)
    with atomic(out / RECIPE) as part:
        part.write_text(text, encoding="utf-8")
    save_mask(out / MASK, mask)
    rows = mask_report(mask)
    plot_density(rows.blocks, out / "density.png", overall=rows.whole.density)
    with report.stage("train", recipe.train.steps) as tick, between_steps() as stopping:

        def on_step(step: Step) -> None:
            tick(1, f"loss {step.loss:.4f}")
            if stopping():
                raise KeyboardInterrupt

        edit = erase(
            checkpoint,
            found,
            mask,
            objective,
            recipe.train,
            concept=plan.concept,
            record={"recipe": dump_toml(recipe, "")},
            device=data.device,
            checkpointing=recipe.checkpointing,
            state=out / STATE,
            save_every=recipe.save_every,
            on_step=on_step,
        )
    plot_losses(edit.history, out / "loss.png")
    _write_history(edit, out / "loss.csv")
    _write_result(recipe, checkpoint, plan, edit, out, report)
    (out / STATE).unlink(missing_ok=True)
    made = edit.provenance
    return Erased(
        out,
        out / MODEL,
        made.selected,
        made.moved,
        made.total,
        edit.unselected_identical,
        dict(report.seconds),
    )


def named_mask(recipe: EraseRecipe, checkpoint: Checkpoint) -> SaliencyMask | None:
    """Read the mask file that the recipe names; None where it names a kind, to be made.

    Raises:
        MaskError: a mask file of another base.
        ConfigError: neither a kind of mask nor a file, an unknown scope, or a density out of range.
    """
    if recipe.mask in MASK_KINDS:
        check_density(recipe.density)
        in_scope(checkpoint.unet, recipe.scope)
        return None
    path = Path(recipe.mask)
    if not os.path.isfile(path):
        raise ConfigError(
            f"mask is {recipe.mask!r}; give {', '.join(MASK_KINDS)}, or a file that exists"
        )
    base = checkpoint.unet_hash()
    if is_mask_file(path):
        mask = load_mask(path)
    else:
        mask = load_released_mask(path, allow_pickle=recipe.allow_pickle, base=base)
    require_base(mask.info, base)
    require_weights(mask, checkpoint.unet)
    return mask


def make_mask(
    recipe: EraseRecipe, checkpoint: Checkpoint, data: ConceptData, *, reporter: Reporter
) -> SaliencyMask:
    """Make a mask of the kind that the recipe names.

    Raises:
        TrainingError: the forget loss is not finite.
    """
    total = len(data.forget) * recipe.saliency.draws
    with reporter.stage("measure saliency", total) as tick:
        done = 0

        def on_pass(progress: Any) -> None:  # noqa: ANN401
            nonlocal done
            tick(progress.done - done, f"forget loss {progress.loss:.4f}")
            done = progress.done

        return find_mask(
            checkpoint,
            data,
            recipe.mask,  # type: ignore[arg-type]
            density=recipe.density,
            scope=recipe.scope,
            concept=recipe.concept,
            config=recipe.saliency,
            device=pick_device(recipe.device),
            on_pass=on_pass,
        )


@contextmanager
def between_steps() -> Iterator[Any]:
    """Ctrl-C waits for the end of a step, so that the state that is saved is whole; a second
    Ctrl-C does not wait."""
    asked = False

    def note(number: int, frame: Any) -> None:  # noqa: ANN401
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    try:
        old = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread, which alone may set handlers
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, old)


def _write_history(edit: Edit, path: Path) -> None:
    lines = ["step,loss,forget,retain"]
    lines += [f"{s.index},{s.loss!r},{s.forget!r},{s.retain!r}" for s in edit.history]
    with atomic(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_result(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    plan: ConceptPlan,
    edit: Edit,
    out: Path,
    report: Reporter,
) -> None:
    """Draw the grid with the edited weights, then write the model with its card."""
    edited = replace(checkpoint, components={**checkpoint.components, "unet": edit.unet})
    comparison = compare(
        checkpoint,
        edited,
        recipe.grid.prompts or _grid_prompts(plan),
        parse_seeds(recipe.grid.seeds),
        erased=(*plan.forget, *plan.erased),
        drawing=recipe.grid.drawing,
        device=pick_device(recipe.device),
        reporter=report,
        size=recipe.data.size,
        title=f"{recipe.model} before and after erasing {plan.concept}",
    )
    comparison.grid.save(out / "grid.png")
    base = "the demo checkpoint" if recipe.model == "demo" else Path(recipe.model).name
    card = model_card(edit.provenance, base=base, grid="grid.png")
    carried = {**edited.carried, "grid.png": out / "grid.png"}
    written = write_folder(
        replace(edited, carried=carried),
        out / MODEL,
        unet=edit.unet,
        provenance=edit.provenance,
        card=card,
        force=True,
    )
    made = written.provenance
    assert made is not None
    record = made.to_dict() | {
        "unselected_identical": edit.unselected_identical,
        "seconds": {name: round(spent, 3) for name, spent in report.seconds.items()},
        "grid": comparison.grid.described(out / "grid.png"),
    }
    with atomic(out / RECORD) as part:
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    read_checkpoint(out / MODEL)  # what cannot be read again must not pass for a result


def _grid_prompts(plan: ConceptPlan) -> tuple[str, ...]:
    """Forgotten prompts first, then kept ones, spread over their lists."""
    rows: list[str] = []
    for prompts, count in zip((plan.forget, plan.retain), _GRID_ROWS, strict=True):
        step = max(1, len(prompts) // count)
        rows += list(prompts[::step][:count])
    return tuple(rows)
