"""Payloads drawn by the painter: in batches over cases, arms and seeds, weights swapped once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from erasure.attacks import Payload, Start
from erasure.attacks.target import embedded
from erasure.diffusion.denoiser import Condition
from erasure.errors import TrainingError
from pipelines.drawing.generation import Painter, Picture
from pipelines.drawing.requests import Request, completed, in_batches, shape_of

Job = tuple[Payload, int]
"""What to draw, and its seed."""
_LOST: Final = "the payload draws nothing at all"


def draw_jobs(
    painter: Painter, jobs: Sequence[Job], on_drawn: Callable[[int], None] = lambda _: None
) -> list[Picture]:
    """A picture a job, in order; one of values that are not finite is black and says so.

    Jobs whose payloads share their weights are drawn together, whatever attack they come from.
    """
    by_job: dict[int, Picture] = {}
    for numbers in _by_weights(jobs):
        weights = jobs[numbers[0]][0].weights
        with painter.weighing(weights):
            whole = [
                (n, completed(request_of(painter, *jobs[n]), painter.default)) for n in numbers
            ]
            for part in in_batches(whole, lambda job: shape_of(job[1]), painter.batch_size):
                pictures = painter.paint([request for _, request in part])
                by_job.update(zip((n for n, _ in part), pictures, strict=True))
                on_drawn(len(part))
    return [by_job[n] for n in range(len(jobs))]


def request_of(painter: Painter, payload: Payload, seed: int) -> Request:
    """A payload as the painter takes it, but for its weights."""
    prompt: str | Condition = payload.prompt
    if payload.rows is not None:
        with torch.no_grad():
            prompt = embedded(painter.text, payload.prompt, payload.rows)
            prompt = prompt.to(torch.device("cpu"), torch.float32)
    start: Start | None = payload.start
    return Request(prompt, seed, payload.guidance, start=start, eta=payload.eta)


def pixels_of(painter: Painter, payloads: Sequence[Payload], seeds: Sequence[int]) -> Tensor:
    """(B, 3, H, W) uint8, for attacks that draw while they search.

    Raises:
        TrainingError: a payload draws values that are not finite.
    """
    pictures = draw_jobs(painter, list(zip(payloads, seeds, strict=True)))
    if not all(picture.finite for picture in pictures):
        raise TrainingError(f"{_LOST} but values that are not finite; lower its learning rate")
    return pixels_in([picture.image for picture in pictures])


def pixels_in(images: Sequence[Image.Image]) -> Tensor:
    """(B, 3, H, W) uint8 of pictures of one size."""
    arrays = [np.asarray(image, dtype=np.uint8) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _by_weights(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Numbers of the jobs, those that swap nothing first."""
    groups: dict[int | None, list[int]] = {None: []}
    for number, (payload, _) in enumerate(jobs):
        key = None if payload.weights is None else id(payload.weights)
        groups.setdefault(key, []).append(number)
    yield from (numbers for numbers in groups.values() if numbers)
