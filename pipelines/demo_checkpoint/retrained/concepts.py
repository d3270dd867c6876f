"""Which models are trained again, and what each of them never sees."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pipelines.demo_checkpoint.train_unet import Choice, any_pair
from prompts.canvas import OBJECTS, STYLES, WEAPONS

OTHER_SEED: Final = 100
"""What the second seed of a model adds to each seed of the recipe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """One model: what it is trained without, and from which seeds."""

    name: str
    """Name of its folder."""
    objects: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    seed_offset: int = 0
    """Added to every seed of the recipe: to those of the weights and of the batches."""

    @property
    def kept_pairs(self) -> Tensor:
        """Flat indices style * objects + object of all pairs that it sees, ascending, (K,)."""
        numbers = [
            number
            for number, (style, obj) in enumerate((s, o) for s in STYLES for o in OBJECTS)
            if style not in self.styles and obj not in self.objects
        ]
        return torch.tensor(numbers)


EVERYTHING: Final = Retraining(name="base")
"""The embedded model itself, by the seeds of its recipe."""
RETRAININGS: Final = {
    each.name: each
    for each in (
        Retraining(name="no-church", objects=("church",)),
        Retraining(name="twin", seed_offset=OTHER_SEED),
        Retraining(name="no-sketch", styles=("sketch",)),
        Retraining(name="no-church-2", objects=("church",), seed_offset=OTHER_SEED),
        Retraining(name="no-dog", objects=("dog",)),
        Retraining(name="no-weapons", objects=WEAPONS),
    )
}
"""Name -> model, in the order of their training. `twin` sees everything, from other seeds."""


@dataclass(frozen=True, slots=True)
class KeptChoice:
    """Chooses the members of a batch as the recipe does; what must not be seen is replaced.

    All other random numbers of a batch stay those of the recipe, so a model of the recipe's own
    seeds differs from the checkpoint by the replaced places alone, as long as weights agree.
    """

    every: Choice
    """The choice of the recipe among all."""
    allowed: Tensor
    """(K,) the numbers of those that may be seen."""

    def __call__(self, generator: torch.Generator) -> Tensor:
        """The members of one batch, (B,); moves the generator as the recipe's choice does."""
        spare = torch.Generator()
        spare.set_state(generator.get_state())
        members = self.every(generator)
        # A stream of its own: the next numbers of `generator` make the samples of the members.
        spare.manual_seed(int(torch.randint(2**62, (), generator=spare)))
        picks = torch.randint(len(self.allowed), members.shape, generator=spare)
        return torch.where(torch.isin(members, self.allowed), members, self.allowed[picks])


def kept_pairs(allowed: Tensor) -> KeptChoice:
    """Choose the pairs of a batch as the recipe of the demo does, among allowed ones, (K,)."""
    return KeptChoice(any_pair, allowed)
