"""Which models the recipe trains: whole, without a class, or from other seeds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.class_checkpoint.recipe import BATCH
from pipelines.demo_checkpoint.retrained.concepts import KeptChoice
from pipelines.demo_checkpoint.train_unet import Choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One model: what it is trained without, and from which seeds."""

    name: str
    """Name of its folder."""
    without: tuple[int, ...] = ()
    """Numbers of the classes of which no picture is in any batch."""
    seed_offset: int = 0
    """Added to every seed of the recipe: to those of the weights and of the batches."""

    def choice(self, labels: Tensor) -> Choice:
        """What chooses the pictures of a batch among those with these labels, (N,).

        Places of a class that is left out are refilled; all others are those of the recipe.
        """
        every = EveryPicture(len(labels))
        if not self.without:
            return every
        gone = torch.tensor(self.without)
        return KeptChoice(every, (~torch.isin(labels, gone)).nonzero()[:, 0])


@dataclass(frozen=True, slots=True)
class EveryPicture:
    """Chooses each of so many pictures as often as any other."""

    pictures: int

    def __call__(self, generator: torch.Generator) -> Tensor:
        """Give the pictures of one batch, (B,)."""
        return torch.randint(self.pictures, (BATCH,), generator=generator)
