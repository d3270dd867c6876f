"""Which models are trained again, and what each of them never sees."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pipelines.demo_checkpoint.train_unet import any_pair
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
class KeptPairs:
    """Chooses the pairs of a batch as the recipe does; what must not be seen is replaced.

    All other random numbers of a batch stay those of the recipe, so a model of the recipe's own
    seeds differs from the checkpoint by the replaced places alone, as long as weights agree.
    """

    allowed: Tensor
    """(K,) flat indices of pairs."""

    def __call__(self, generator: torch.Generator) -> Tensor:
        """The pairs of one batch, (B,); moves the generator as `any_pair` does."""
        spare = torch.Generator()
        spare.set_state(generator.get_state())
        pairs = any_pair(generator)
        # A stream of its own: the next numbers of `generator` choose the pictures of the pairs.
        spare.manual_seed(int(torch.randint(2**62, (), generator=spare)))
        picks = torch.randint(len(self.allowed), pairs.shape, generator=spare)
        return torch.where(torch.isin(pairs, self.allowed), pairs, self.allowed[picks])
