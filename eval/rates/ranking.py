"""The best guesses of a classifier."""

# B pictures, K classes.

from collections.abc import Sequence
from typing import Final

from torch import Tensor

from eval.judges.judge import Guess

BEST: Final = 5


def best_guesses(probabilities: Tensor, labels: Sequence[str]) -> list[tuple[Guess, ...]]:
    """The five likeliest classes of each picture, best first; among equals the earlier class.

    Args:
        probabilities: (B, K), float32 or wider, on any device.
        labels: of the K classes.
    """
    values, order = probabilities.cpu().sort(dim=1, descending=True, stable=True)
    return [
        tuple(Guess(labels[k], p) for k, p in zip(ks, ps, strict=True))
        for ks, ps in zip(order[:, :BEST].tolist(), values[:, :BEST].tolist(), strict=True)
    ]
