"""What a model draws of the concept and of other things, as labels, features and latents."""

# N pictures, D features, C x h x w latents.

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Final, Literal

import torch
from PIL import Image
from torch import Tensor

from erasure.attacks import Payload
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import TrainingError
from erasure.storage.cache import TensorCache
from eval.judges.judge import Judgement
from eval.pictures.picture_bytes import rgb_pictures
from pipelines.audit.asking.asking import asking_of, other_prompts
from pipelines.audit.damage.looks import Measure
from pipelines.audit.drawing import draw_jobs, pixels_in
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request, key_of_pictures
from pipelines.process.progress import Reporter, Tick
from pipelines.run.judging.cell_judge import CellJudge
from prompts.concepts.plan import ConceptPlan

Case = tuple[str, int]
"""A prompt and its seed."""
Kind = Literal["concept", "retain"]
KINDS: Final[tuple[Kind, ...]] = ("concept", "retain")
_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """Prompts and seeds, the same for every model."""

    prompts: Mapping[Kind, tuple[str, ...]]
    count: int

    def cases(self, kind: Kind) -> list[Case]:
        """Prompt and seed of each picture: all prompts by one seed, then by the next."""
        prompts = self.prompts[kind]
        turns = islice(cycle(prompts), self.count)
        return [(prompt, number // len(prompts)) for number, prompt in enumerate(turns)]


def asked_of(plan: ConceptPlan, count: int) -> Asked:
    """The plain prompts of the concept, and those of other things."""
    return Asked({"concept": asking_of(plan).plain(), "retain": other_prompts(plan)}, count)


@dataclass(frozen=True, slots=True)
class Album:
    """Pictures of a model on the disk, by all that they were drawn from."""

    cache: TensorCache
    checkpoint: Checkpoint
    drawing: DrawingConfig

    def images(
        self, cases: Sequence[Case], size: int, make: Callable[[], Sequence[Image.Image]]
    ) -> tuple[Image.Image, ...]:
        """Those of the cases, made and stored now if they are not there."""
        requests = [Request(prompt, seed) for prompt, seed in cases]
        key = key_of_pictures(self.checkpoint, self.drawing, size, requests)
        tensors = self.cache.get("pictures", key, lambda: {"pixels": pixels_in(make())})
        return tuple(rgb_pictures(tensors["pixels"]))


@dataclass(frozen=True, slots=True)
class Drawn:
    """The pictures of one model and kind."""

    images: tuple[Image.Image, ...]
    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    recognised: int
    """Pictures in which the judge sees the concept."""
    features: Tensor | None
    """(N, D)"""


def draw(
    painter: Painter,
    asked: Asked,
    judge: CellJudge,
    measure: Measure,
    head: str | None,
    reporter: Reporter,
    name: str,
    album: Album | None = None,
) -> dict[Kind, Drawn]:
    """Draw and look.

    Args:
        head: of the judge, whose first guess is the label; None for a judge without labels.
        name: what to call the model.
        album: keeps the pictures of a model that other measurements draw too.

    Raises:
        TrainingError: a picture holds values that are not finite.
    """
    made: dict[Kind, Drawn] = {}
    for kind in KINDS:
        cases = asked.cases(kind)
        stage = partial(reporter.stage, f"draw {kind} by {name}", len(cases))
        make = partial(_images, painter, cases, stage, name)
        images = make() if album is None else album.images(cases, painter.default.width or 0, make)
        judgements = judge.judge(images)
        made[kind] = Drawn(
            images=images,
            prompts=tuple(prompt for prompt, _ in cases),
            labels=tuple(label_of(one, judge, head) for one in judgements),
            recognised=sum(judge.recognises(one) for one in judgements),
            features=_features(images, measure),
        )
    return made


def _images(
    painter: Painter,
    cases: Sequence[Case],
    stage: Callable[[], AbstractContextManager[Tick]],
    name: str,
) -> tuple[Image.Image, ...]:
    with stage() as tick:
        jobs = [(Payload(prompt=prompt), seed) for prompt, seed in cases]
        pictures = draw_jobs(painter, jobs, tick)
    if not all(picture.finite for picture in pictures):
        raise TrainingError(
            f"the {name} model draws values that are not finite, so it has no distance; check "
            "how it was made"
        )
    return tuple(picture.image for picture in pictures)


def label_of(judgement: Judgement, judge: CellJudge, head: str | None) -> str:
    """The first guess of the head; `shown` or `not shown` for a judge without labels."""
    guesses = judgement.guesses.get(head) if head is not None else None
    if guesses:
        return guesses[0].label
    return "shown" if judge.recognises(judgement) else "not shown"


def head_of(judge: CellJudge, plan: ConceptPlan, sample: Image.Image) -> str | None:
    """The head whose labels are counted: that of the concept's kind, else the first; None where
    the judge has none."""
    (judgement,) = judge.judge([sample])
    heads = list(judgement.guesses)
    if not heads:
        return None
    return plan.kind if plan.kind in heads else heads[0]


def _features(images: Sequence[Image.Image], measure: Measure) -> Tensor | None:
    if measure.extractor is None:
        return None
    parts = [measure.extractor(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
    return torch.cat(parts)
