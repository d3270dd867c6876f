"""One measurement from start to end: open, draw, denoise, compare, write."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from erasure.architectures.building import DrawingParts, build_parts
from erasure.attacks.opening import parts_of
from erasure.errors import CheckpointError, ConfigError, way
from erasure.moving.streaming import streamed_network
from erasure.storage.files import atomic
from pipelines.audit.damage.looks import measure_of
from pipelines.audit.made_by import versions
from pipelines.configs.recipe import dump_toml
from pipelines.configs.settings import DrawingConfig
from pipelines.distances import measuring
from pipelines.distances.attacks import attack_areas, read_attacks
from pipelines.distances.draws import Album, Drawn, Kind, asked_of, draw, head_of
from pipelines.distances.entries import Entry
from pipelines.distances.groups import Group, Shelf, fill
from pipelines.distances.models import Models, Role, open_models
from pipelines.distances.passes import Passes, Predicted, Settings, passes_of, predict, samples_of
from pipelines.distances.records import read_record
from pipelines.distances.result import FILE_NAME, Distances, write_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge, cell_judge
from pipelines.run.models import own_judge, pick_device
from pipelines.run.preparing import cache_of
from pipelines.run.run_folder import require_no_other

HEADER: Final = "A recipe of diffusion-erasure: the distances of a model to a retrained one."
"""First line of the recipe that is written beside a result."""
_SMALL: Final = 50_000_000
"""Weights of a network that stays in memory after it has drawn."""


def run_distances(
    recipe: DistanceRecipe, out: Path, *, force: bool, reporter: Reporter
) -> Distances:
    """Measure, and write `distance.json` and `recipe.toml` into `out`.

    Raises:
        ErasureError: a model, a folder of pictures, an audit or the disk.
        EvalError: a judge that cannot be used.
        PromptError: a concept that the model does not know.
    """
    require_no_other(out, "distance")
    if (out / FILE_NAME).exists() and not force:
        raise CheckpointError(
            f"{out / FILE_NAME} exists; give another ",
            way("out"),
            ", or ",
            way("force", True),
            " to replace it",
        )
    models = open_models(recipe)
    reporter.tell([f"note: {note}" for note in models.notes])
    attacked = None if recipe.audit is None else read_attacks(Path(recipe.audit), models)
    judge = _judge(recipe, models)
    device = pick_device(recipe.device)
    seen, source, missing = _seen(recipe, models, judge, device, reporter)
    entries = [*_entries(seen)]
    if attacked is None:
        missing.append("D6: there is no --audit; audit the model with --retrained given twice")
    else:
        areas = list(attack_areas(attacked, models, recipe.seed))
        entries[-1:-1] = areas
        if not areas:
            missing.append("D6: no attack of the audit reached all of these models")
    result = Distances(
        concept=recipe.concept,
        models={role: _described(role, models) for role in models.checkpoints},
        twin_of=models.twin_of,
        rows=models.rows,
        pictures=source,
        judge={"name": judge.name, "protocol": dict(judge.judge.protocol)},
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        not_measured=tuple(missing),
        notes=models.notes,
        protocol={
            name: getattr(recipe, name)
            for name in ("draws", "shown", "bins", "samples", "steps", "guidance", "size", "seed")
        },
        versions=versions(),
        seconds={name: round(spent, 3) for name, spent in reporter.seconds.items()},
    )
    with atomic(out / "recipe.toml") as part:
        part.write_text(dump_toml(recipe, HEADER), encoding="utf-8")
    write_distances(result, out)  # the last, as it is what says that all is done
    return result


def _judge(recipe: DistanceRecipe, models: Models) -> CellJudge:
    judge = cell_judge(recipe, models.plan, own=own_judge(models.checkpoints["base"]))
    if judge is None:
        raise ConfigError(
            f"no judge is at hand that tells {recipe.concept!r} in pictures of this model; give "
            "one by --judge, such as imagenet or the id of a CLIP with --labels"
        )
    return judge


def _seen(
    recipe: DistanceRecipe,
    models: Models,
    judge: CellJudge,
    device: torch.device,
    reporter: Reporter,
) -> tuple[measuring.Seen, str, list[str]]:
    """Everything that is drawn and predicted, whence the pictures come, and what is missing."""
    measure = measure_of(judge.judge)
    asked = asked_of(models.plan, recipe.draws)
    drawn: dict[Role, Mapping[Kind, Drawn]] = {}
    built: dict[Role, DrawingParts] = {}
    head: str | None = None
    width = 0
    for role, checkpoint in models.checkpoints.items():
        drawing = DrawingConfig(
            steps=recipe.steps,
            guidance=recipe.guidance,
            batch_size=recipe.batch_size,
            stream=recipe.stream,
        )
        painter = Painter(checkpoint, drawing, device, recipe.size)
        if sum(weight.numel() for weight in checkpoint.network.values()) <= _SMALL:
            built[role] = painter.parts
        if not drawn:
            width = painter.default.width or 0
            first = next(painter.draw([Request(asked.prompts["concept"][0], 0)]))
            head = head_of(judge, models.plan, first)
        # The erased model alone is another in each measurement.
        album = None if role == "audited" else Album(cache_of(recipe.cache), checkpoint, drawing)
        drawn[role] = draw(painter, asked, judge, measure, head, reporter, role, album)
    parts = partial(_parts, models, built, device, recipe.stream)
    classes = models.checkpoints["base"].classes
    has_null = classes is None or classes.nothing is not None
    shelf = Shelf(
        parts("base").codec,
        asked,
        tuple(models.checkpoints),
        reads_text=classes is None,
        has_null=has_null,
    )
    source = fill(shelf, recipe, drawn, models.pair, judge, width)
    passes = _passes(recipe, models, shelf.groups, parts, device, width, reporter)
    missing = [] if has_null else ["null text: the model has no label of no class"]
    if measure.extractor is None:
        missing.append(f"D5: {measure.reason}")
    if recipe.trained is None:
        missing.append(
            "D7: there is no --trained with pictures that the base was trained on, and --pictures "
            "with others of the concept"
        )
    if recipe.pictures is None:
        missing.append("D3 on held-out pictures: there is no --pictures, so the base drew them")
    return measuring.Seen(models, drawn, passes, recipe.seed), source, missing


def _parts(
    models: Models,
    built: Mapping[Role, DrawingParts],
    device: torch.device,
    stream: bool,
    role: Role,
) -> DrawingParts:
    """Those that drew, or, of a large model, new ones."""
    if role in built:
        return built[role]
    checkpoint, network = models.checkpoints[role], None
    if stream:
        network, _ = streamed_network(checkpoint, torch.float32, device)
    return build_parts(checkpoint, torch.float32, device, network)


def _passes(
    recipe: DistanceRecipe,
    models: Models,
    groups: list[Group],
    parts_by: Callable[[Role], DrawingParts],
    device: torch.device,
    width: int,
    reporter: Reporter,
) -> dict[Role, Passes]:
    """Let each model denoise; the retrained one and the first of the pair are remembered, as the
    others are held against these two."""
    settings = Settings(recipe.bins, recipe.samples, recipe.batch_size, recipe.seed)
    one, _ = models.pair
    first = dict.fromkeys(("retrained", one))
    order: list[Role] = [*first, *(role for role in models.checkpoints if role not in first)]
    remembered: dict[str, Predicted] = {}
    passes: dict[Role, Passes] = {}
    shown = None
    for role in order:
        checkpoint = models.checkpoints[role]
        parts = parts_of(parts_by(role), checkpoint, (width, width))
        if shown is None:
            shown = {group.name: samples_of(group, parts.schedule, settings) for group in groups}
        denoise = parts.architecture.denoiser(parts.network)
        predicted = {}
        own = [group for group in groups if role in group.readers]
        with reporter.stage(f"denoise by {role}", sum(len(shown[g.name]) for g in own)) as tick:
            for group in own:
                for text, prompts in group.texts.items():
                    said = parts.text(list(prompts))
                    said = parts.architecture.with_size(said, width, width).to(
                        device, torch.float32
                    )
                    predicted[group.name, text] = predict(
                        denoise, shown[group.name], said, settings, device
                    )
                tick(len(shown[group.name]))
        if role in first:
            remembered[role] = predicted
        passes[role] = passes_of(predicted, shown, remembered, settings)
    return passes


def _entries(seen: measuring.Seen) -> Iterator[Entry]:
    yield from measuring.labels(seen)
    yield from measuring.predictions(seen)
    yield from measuring.concept_losses(seen)
    yield from measuring.likelihoods(seen)
    yield from measuring.kernels(seen)
    yield from measuring.memberships(seen)
    yield from measuring.moves(seen)


def _described(role: Role, models: Models) -> dict[str, Any]:
    checkpoint = models.checkpoints[role]
    record = None if role == "random" else read_record(checkpoint.path)
    return {
        "name": "random weights" if role == "random" else checkpoint.name,
        "hash": checkpoint.network_hash(),
        "without": None if record is None else sorted(record.without),
        "seeds": None if record is None else list(record.seeds),
    }
