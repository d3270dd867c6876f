"""Covered pictures of the concept: what does the model put in the middle?"""

# C x h x w latents.

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from erasure.attacks.forward.completion import finished
from erasure.attacks.payload import Attempt, Cost, Payload, Start
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import drawing_cost, pictures_of, within_budget
from erasure.setting_checks import require_shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Inpainting:
    """Cover the centre of a picture of the concept, and let the model fill it.

    What stands around decides much of what is drawn, so it measures exposure, against the floors.

    Source: arXiv:2505.17013 for the covered centre; what is kept is noised anew in every step, as
        arXiv:2201.09865 does without its going back and forth.
    """

    name: ClassVar[str] = "inpainting"
    title: ClassVar[str] = "the covered centre of pictures of the concept, filled by the model"
    source: ClassVar[str] = "arXiv:2505.17013, arXiv:2201.09865"
    needs: ClassVar[frozenset[Need]] = frozenset({"picture", "start-noise"})
    access: ClassVar[Access] = "picture"

    covered: float = 0.5
    """Share of each side that is covered."""

    def __post_init__(self) -> None:
        require_shares(self, "covered")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        draws = (1 + target.has_null) * len(target.cases)
        return drawing_cost(target, draws) + Cost(pictures=len(target.pictures or ()))

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """Both prompts of one case, then of the next."""
        pictures = pictures_of(target)
        keep = around_centre(target.latent_shape[1:], self.covered)
        last = target.drawing_time(1.0)
        for number, case in enumerate(target.cases):
            picture = pictures.mean[number % len(pictures)]
            start = Start(picture, last, clean=True, keep=keep)
            yield from finished(
                target,
                Attempt(case=case, payload=Payload(prompt=case.prompt, start=start)),
                attack=self.name,
                arm=f"centre {self.covered:.0%}",
                null=target.has_null,
                prompted=True,
                first_look=number < len(pictures),
            )


def around_centre(size: tuple[int, int], covered: float) -> Tensor:
    """(h, w) bool, False in the centre: a share of each side, at least one latent."""
    keep = torch.ones(size, dtype=torch.bool)
    spans = [(side, max(1, round(side * covered))) for side in size]
    (top, height), (left, width) = (((side - span) // 2, span) for side, span in spans)
    keep[top : top + height, left : left + width] = False
    return keep
