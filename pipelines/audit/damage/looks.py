"""The pictures of one part on one line: drawn, judged, measured, and kept as numbers on disk."""

# N pictures, D features.

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erasure.attacks import Payload
from erasure.storage.files import atomic
from erasure.storage.regular_files import require_regular
from eval.errors import EvalError
from eval.judges.canvas import CanvasJudge
from eval.judges.clothes import ClothesJudge
from eval.judges.judge import Judge, Judgement
from eval.metrics.features import FeatureExtractor, open_features
from eval.metrics.judge_features import canvas_features, clothes_features
from eval.metrics.lite_features import OFFLINE
from pipelines.audit.cells import key_of
from pipelines.audit.damage.questions import Ask
from pipelines.audit.drawing import draw_jobs
from pipelines.audit.made_by import Versions, read_versions, versions
from pipelines.audit.workshop import Workshop

FORMAT: Final = "diffusion-erasure audit damage 1"
_BATCH: Final = 16


@dataclass(frozen=True)
class Measure:
    """What measures how far pictures lie apart, or why nothing does."""

    extractor: FeatureExtractor | None
    reason: str = ""

    @cached_property
    def identity(self) -> tuple[str, dict[str, str | int | float]] | None:
        """All that decides the features."""
        one = self.extractor
        return None if one is None else (one.name, dict(one.protocol))


@dataclass(frozen=True, slots=True)
class Looks:
    """What was seen in the pictures of one part."""

    judgements: tuple[Judgement | None, ...]
    """None for a picture of values that are not finite."""
    features: Tensor | None
    """(N, D), 0 where there is no judgement; None where nothing measures them."""
    versions: Versions = field(default_factory=dict)
    """Versions of the packages that made them."""


def measure_of(judge: Judge) -> Measure:
    """The judges of embedded models have their own features; for all else those that need no
    download, if installed."""
    if isinstance(judge, CanvasJudge):
        return Measure(canvas_features(judge))
    if isinstance(judge, ClothesJudge):
        return Measure(clothes_features(judge))
    try:
        return Measure(open_features(OFFLINE))
    except EvalError as err:
        return Measure(None, str(err))


def looks_at(shop: Workshop, line: str, part: str, asks: Sequence[Ask], measure: Measure) -> Looks:
    """Draw a part in batches and look at it; read where it is there.

    Raises:
        OutOfMemoryError: drawing needs less.
        DiskError: the disk refuses; the parts that are finished stay.
    """
    path = shop.folder / "cells" / line / f"damage.{part}.safetensors"
    key = _key(shop, line, asks, measure)
    known = _read(path, key, len(asks))
    if known is not None:
        shop.note(path, known.versions)
        return known
    unique = list(dict.fromkeys((ask.prompt, ask.seed) for ask in asks))
    with shop.reporter.stage(f"damage on {line}: {part}", len(unique)) as tick:
        jobs = [(Payload(prompt=prompt), seed) for prompt, seed in unique]
        pictures = draw_jobs(shop.painter(line), jobs, tick)
    usable = [n for n, picture in enumerate(pictures) if picture.finite]
    images = [pictures[n].image for n in usable]
    seen = dict(zip(usable, shop.judge("audited").judge(images) if images else [], strict=True))
    rows: dict[int, Tensor] = {}
    if measure.extractor is not None:
        for at in range(0, len(images), _BATCH):
            made = measure.extractor(images[at : at + _BATCH])
            rows.update(zip(usable[at : at + _BATCH], made, strict=True))
    places = [unique.index((ask.prompt, ask.seed)) for ask in asks]
    _write(path, key, [seen.get(n) for n in places], _stacked([rows.get(n) for n in places]))
    read = _read(path, key, len(asks))  # so that a resumed audit counts the same rounded scores
    assert read is not None
    shop.note(path, read.versions)
    return read


def _stacked(rows: Sequence[Tensor | None]) -> Tensor | None:
    there = next((row for row in rows if row is not None), None)
    if there is None:
        return None
    return torch.stack([torch.zeros_like(there) if row is None else row for row in rows])


def _key(shop: Workshop, line: str, asks: Sequence[Ask], measure: Measure) -> str:
    one, recipe, judge = shop.lines[line], shop.recipe, shop.judge("audited")
    return key_of(
        damage=FORMAT,
        weights=dict(shop.hashes(line)),
        asks=[asdict(ask) for ask in asks],
        drawing=[recipe.steps, recipe.guidance, recipe.size, recipe.batch_size],
        description=one.checkpoint.description.digest(),
        judge=[judge.name, dict(judge.judge.protocol)],
        features=measure.identity,
        **shop.guarded(line),
    )


def _write(
    path: Path, key: str, judgements: Sequence[Judgement | None], features: Tensor | None
) -> None:
    said = [None if one is None else one.to_dict() for one in judgements]
    tensors = {"features": torch.zeros(0) if features is None else features.contiguous()}
    metadata = {"format": FORMAT, "key": key, "judgements": json.dumps(said)}
    metadata["versions"] = json.dumps(versions())
    with atomic(path) as part:
        save_file(tensors, part, metadata=metadata)


def _read(path: Path, key: str, count: int) -> Looks | None:
    """The looks of that key; None where there are none, or others."""
    require_regular(path, EvalError)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("key") != key:
                return None
            features = file.get_tensor("features")
        said = json.loads(metadata["judgements"])
        made_by = read_versions(json.loads(metadata.get("versions", "{}")))
        judgements = tuple(None if one is None else Judgement.from_dict(one) for one in said)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, OverflowError, EvalError):
        return None
    if len(judgements) != count or len(features) not in (0, count):
        return None
    return Looks(judgements, features if len(features) else None, made_by)
