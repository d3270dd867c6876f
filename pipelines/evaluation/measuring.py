"""Metrics over sets of pictures: how far the rest has moved, how well prompts are met."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from eval.clip_score import ClipScorer, clip_values
from eval.errors import EvalError
from eval.features import collect_features, open_features
from eval.frechet import frechet_distance, kernel_distance
from eval.metric_value import MetricValue
from eval.perceptual import open_perceptual, pair_distances, perceptual_value
from eval.pictures import find_pictures, read_picture
from pipelines.evaluation.manifest import Drawn
from pipelines.evaluation.settings import EvaluateRecipe
from pipelines.progress import Reporter

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
        return usable and not set(erased) & set(after[n].case.labels.values())

    chosen = [n for n in range(len(after)) if counts(n)]
    return Kept(
        folder,
        [after[n] for n in chosen],
        None if before is None else [before[n] for n in chosen],
    )


def measure(
    recipe: EvaluateRecipe, kept: Kept, device: torch.device, reporter: Reporter
) -> Measured:
    """All metrics that the recipe asks for.

    Raises:
        EvalError: a package or weights are missing, or there are too few pictures.
    """
    values: list[MetricValue] = []
    protocol: dict[str, Any] = {}
    if {"frechet", "kid"} & set(recipe.metrics):
        with reporter.stage("compare sets of pictures", 1) as tick:
            found, told = _distances(recipe, kept, device)
            tick()
        values += found
        protocol["sets"] = told
    if "clip" in recipe.metrics:
        with reporter.stage("score prompts", 1) as tick:
            scorer = ClipScorer(recipe.clip or "", device)
            scores = [_clip_scores(scorer, kept, side) for side in (kept.after, kept.before)]
            tick()
        assert scores[0] is not None
        values += clip_values(scorer.name, scores[0], scores[1])
        protocol["clip"] = dict(scorer.protocol)
    if "perceptual" in recipe.metrics and kept.before is not None:
        with reporter.stage("compare pairs of pictures", 1) as tick:
            distance = open_perceptual(recipe.perceptual, device)
            pairs = zip(kept.pictures(kept.after), kept.pictures(kept.before), strict=True)
            values.append(perceptual_value(distance, pair_distances(distance, pairs)))
            tick()
        protocol["perceptual"] = dict(distance.protocol)
    return Measured(tuple(values), protocol)


def _distances(
    recipe: EvaluateRecipe, kept: Kept, device: torch.device
) -> tuple[list[MetricValue], dict[str, Any]]:
    extractor = open_features(recipe.features, device)
    after = collect_features(extractor, kept.pictures(kept.after))
    if recipe.reference is not None:
        other = _opened(find_pictures([Path(recipe.reference)]))
    elif kept.before is not None:
        other = kept.pictures(kept.before)
    else:
        raise EvalError("there is no second set of pictures; give --against or --reference")
    against = collect_features(extractor, other)
    values = []
    if "frechet" in recipe.metrics:
        values.append(frechet_distance(extractor, after, against))
    if "kid" in recipe.metrics:
        values.append(kernel_distance(extractor, after, against))
    second = "reference" if recipe.reference is not None else "before"
    return values, {**extractor.protocol, "against": second}


def _clip_scores(
    scorer: ClipScorer, kept: Kept, drawn: Sequence[Drawn] | None
) -> list[float] | None:
    if drawn is None:
        return None
    prompts = [picture.case.prompt for picture in drawn]
    batches = enumerate(kept.pictures(drawn))
    return list(
        chain.from_iterable(
            scorer(batch, prompts[n * _BATCH : n * _BATCH + len(batch)]).tolist()
            for n, batch in batches
        )
    )


def _opened(files: Sequence[Path]) -> Iterator[list[Image.Image]]:
    for start in range(0, len(files), _BATCH):
        yield [read_picture(path) for path in files[start : start + _BATCH]]
