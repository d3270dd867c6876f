"""How well a picture shows its prompt, by CLIP."""

# B pictures with a prompt each, D dimensions of the space that text and pictures share.

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.judges.networks.clip_model import load_clip
from eval.metrics.metric_value import MetricValue
from eval.pictures.picture_bytes import Pictures, rgb_pictures
from eval.rates.intervals import Mean, mean_interval, paired_difference

CLIP_MODEL: Final = "openai/clip-vit-base-patch16"
"""Hub id of the model with which scores are usually given."""


class ClipScorer:
    """A CLIP that scores pictures against their prompts."""

    def __init__(self, name: str = CLIP_MODEL, device: torch.device | str = "cpu") -> None:
        """EvalError if `name`, a hub id or a folder, is no complete CLIP."""
        self._clip = load_clip(name, device=device)
        self.name = self._clip.source
        self.protocol = self._clip.described | {"formula": "100 * max(cos, 0)"}

    def __call__(self, pictures: Pictures, prompts: Sequence[str]) -> Tensor:
        """`100 * max(cos(picture, prompt), 0)`, (B,) on the CPU, in [0, 100].

        A prompt longer than the model reads (77 tokens) counts with what it reads.

        Raises:
            EvalError: pictures are not bytes, or not as many as prompts.

        Source: arXiv:2104.08718, equation 1, with the weight 100 that is usual for text-to-image
            models in place of the paper's 2.5.
        """
        images = rgb_pictures(pictures)
        if len(images) != len(prompts):
            raise EvalError(f"{len(images)} pictures and {len(prompts)} prompts; give one each")
        cosine = (self._clip.images(images) * self._clip.texts(prompts)).sum(1)  # (B,)
        return 100 * cosine.clamp(min=0)


def clip_values(
    name: str, after: Sequence[float], before: Sequence[float] | None = None, *, seed: int = 0
) -> list[MetricValue]:
    """Mean score of the edited model; with `before`, that of its base and the paired difference.

    Args:
        name: of the CLIP.
        after: one score a picture.
        before: scores of the base model's pictures of the same prompts and seeds.
        seed: of the bootstrap.

    Raises:
        EvalError: there are no scores, or they do not pair.
    """
    values = [_value(name, "after", mean_interval(after, seed=seed), len(after), None)]
    if before is None:
        return values
    change = paired_difference(before, after, seed=seed)
    return [
        *values,
        _value(name, "before", mean_interval(before, seed=seed), 0, len(before)),
        _value(name, "difference", change, len(after), len(before)),
    ]


def _value(name: str, which: str, score: Mean, after_n: int, before_n: int | None) -> MetricValue:
    return MetricValue(
        name=f"clip-score-{which}",
        label=f"CLIP score {which}, {name}",
        value=score.value,
        low=score.low,
        high=score.high,
        unit="points",
        after_n=after_n,
        before_n=before_n,
        better="higher",
    )
