"""Metrics over sets of pictures: how far the rest has moved, how well prompts are met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from erasure.local_paths import typed_path
from eval.errors import EvalError
from eval.metrics.clip_score import ClipScorer, clip_values
from eval.metrics.features import FeatureExtractor, collect_features, open_features
from eval.metrics.frechet import frechet_distance, kernel_distance, require_distances
from eval.metrics.metric_value import MetricValue
from eval.metrics.perceptual import (
    PerceptualDistance,
    open_perceptual,
    pair_distances,
    perceptual_value,
)
from eval.pictures.pictures import find_pictures, read_picture
from pipelines.evaluation.asking import asks_for
from pipelines.evaluation.manifest import Drawn
from pipelines.evaluation.settings import EvaluateRecipe
from pipelines.process.progress import Reporter, Tick

_BATCH: Final = 32
"""Pictures in memory at a time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Values, and what must be the same for two of them to be comparable."""

    values: tuple[MetricValue, ...]
    protocol: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """Usable pictures of the prompts that do not show what was erased."""

    folder: Path
    after: Sequence[Drawn]
    before: Sequence[Drawn] | None
    """The same cases in the same order."""

    def pictures(self, drawn: Sequence[Drawn]) -> Iterator[list[Image.Image]]:
        """Batches, opened as they are asked for."""
        yield from _opened([self.folder / picture.file for picture in drawn])


def kept_pictures(
    folder: Path,
    after: Sequence[Drawn],
    before: Sequence[Drawn] | None,
    erased: Sequence[str],
) -> Kept:
    """Leave out what was asked to show something erased, and what either model could not draw."""

    def counts(n: int) -> bool:
        both = (after[n],) if before is None else (after[n], before[n])
        usable = all(picture.state == "ok" for picture in both)
        case = after[n].case
        return usable and not asks_for(case.labels, case.prompt, erased)

    chosen = [n for n in range(len(after)) if counts(n)]
    return Kept(
        folder,
        [after[n] for n in chosen],
        None if before is None else [before[n] for n in chosen],
    )


@dataclass(frozen=True, slots=True)
class Metrics:
    """What an evaluation will be measured by, opened and ready; None where it is not asked for."""

    distances: tuple[str, ...]
    """Which of `frechet` and `kid` are measured."""
    extractor: FeatureExtractor | None
    reference: Tensor | None
    """Features of the reference pictures, (M, D); None to compare with the model before."""
    scorer: ClipScorer | None
    perceptual: PerceptualDistance | None


def open_metrics(
    recipe: EvaluateRecipe, count: int, device: torch.device, reporter: Reporter
) -> Metrics:
    """Open every metric that the recipe asks for, and read the reference pictures.

    All of it comes before the first picture is drawn, so that what is missing is told at once.

    Args:
        recipe: of the evaluation.
        count: pictures of each model that will be drawn and show nothing erased.

    Raises:
        EvalError: a package or weights are missing, a reference picture cannot be read, or there
            are too few pictures.
    """
    if recipe.metrics and not count:
        raise EvalError(
            f"every picture would show something erased, and {', '.join(recipe.metrics)} look at "
            "the others; draw some of these as well, or leave the metrics out"
        )
    distances = tuple(name for name in ("frechet", "kid") if name in recipe.metrics)
    extractor, reference = None, None
    if distances:
        files = find_pictures([typed_path(recipe.reference)]) if recipe.reference else None
        require_distances(distances, count, None if files is None else len(files))
        extractor = open_features(recipe.features, device)
        if files is not None:
            with reporter.stage("look at the reference", len(files)) as tick:
                reference = collect_features(extractor, _ticked(_opened(files), tick))
    return Metrics(
        distances=distances,
        extractor=extractor,
        reference=reference,
        scorer=ClipScorer(recipe.clip or "", device) if "clip" in recipe.metrics else None,
        perceptual=(
            open_perceptual(recipe.perceptual, device) if "perceptual" in recipe.metrics else None
        ),
    )


def measure(metrics: Metrics, drawings: Kept, reporter: Reporter) -> Measured:
    """All metrics that were opened.

    Raises:
        EvalError: so many pictures cannot be used that there are too few.
    """
    values: list[MetricValue] = []
    protocol: dict[str, Any] = {}
    if metrics.extractor is not None:
        with reporter.stage("compare sets of pictures", 1) as tick:
            values += _distances(metrics, metrics.extractor, drawings)
            tick()
        second = "before" if metrics.reference is None else "reference"
        protocol["sets"] = {**metrics.extractor.protocol, "against": second}
    if (scorer := metrics.scorer) is not None:
        with reporter.stage("score prompts", 1) as tick:
            scores = [
                _clip_scores(scorer, drawings, side) for side in (drawings.after, drawings.before)
            ]
            tick()
        assert scores[0] is not None
        values += clip_values(scorer.name, scores[0], scores[1])
        protocol["clip"] = dict(scorer.protocol)
    if (distance := metrics.perceptual) is not None and drawings.before is not None:
        with reporter.stage("compare pairs of pictures", 1) as tick:
            pairs = zip(
                drawings.pictures(drawings.after), drawings.pictures(drawings.before), strict=True
            )
            values.append(perceptual_value(distance, pair_distances(distance, pairs)))
            tick()
        protocol["perceptual"] = dict(distance.protocol)
    return Measured(tuple(values), protocol)


def _distances(
    metrics: Metrics, extractor: FeatureExtractor, drawings: Kept
) -> Iterator[MetricValue]:
    after = collect_features(extractor, drawings.pictures(drawings.after))
    against = metrics.reference
    if against is None:
        if drawings.before is None:
            raise EvalError("there is no second set of pictures; give --against or --reference")
        against = collect_features(extractor, drawings.pictures(drawings.before))
    if "frechet" in metrics.distances:
        yield frechet_distance(extractor, after, against)
    if "kid" in metrics.distances:
        yield kernel_distance(extractor, after, against, paired=metrics.reference is None)


def _clip_scores(
    scorer: ClipScorer, drawings: Kept, drawn: Sequence[Drawn] | None
) -> list[float] | None:
    if drawn is None:
        return None
    prompts = [picture.case.prompt for picture in drawn]
    batches = enumerate(drawings.pictures(drawn))
    return list(
        chain.from_iterable(
            scorer(batch, prompts[n * _BATCH : n * _BATCH + len(batch)]).tolist()
            for n, batch in batches
        )
    )


def _opened(files: Sequence[Path]) -> Iterator[list[Image.Image]]:
    for start in range(0, len(files), _BATCH):
        yield [read_picture(path) for path in files[start : start + _BATCH]]


def _ticked(batches: Iterator[list[Image.Image]], tick: Tick) -> Iterator[list[Image.Image]]:
    for batch in batches:
        yield batch
        tick(len(batch))
