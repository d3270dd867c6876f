"""What a model draws instead of an erased concept: the distribution of the judge's answers."""

# N pictures.

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.errors import EvalError
from eval.judges.judge import NOTHING
from eval.rates.intervals import Proportion, wilson


@dataclass(frozen=True, slots=True)
class Replacement:
    """What is seen in the pictures that were asked to show the concept."""

    shares: Mapping[str, Proportion]
    """Label -> share, the most frequent first; `none of these` among them."""
    entropy: float
    """In bits: 0 where one label takes the concept's place, log2(K) where K do equally often."""

    @property
    def effective(self) -> float:
        """How many equally frequent labels have the same entropy."""
        return float(2.0**self.entropy)

    @property
    def rejected(self) -> Proportion | None:
        """Pictures that show nothing the judge knows; None where it never said so."""
        return self.shares.get(NOTHING)


def drawn_instead(labels: Sequence[str]) -> Replacement:
    """Count the judge's first guesses.

    The entropy is that of the counted shares. It is biased downwards by about (K - 1) / (2 N ln 2)
    bits, so compare it at equal N.

    Args:
        labels: one a picture of a prompt of the concept.

    Raises:
        EvalError: there is no picture.
    """
    if not labels:
        raise EvalError("there is no picture of a prompt of the concept; draw at least one")
    counts = Counter(labels).most_common()  # equals stay in the order in which they came
    shares = {label: wilson(count, len(labels)) for label, count in counts}
    entropy = -sum(p.share * math.log2(p.share) for p in shares.values())
    return Replacement(shares, max(0.0, entropy))


def moved_share(before: Sequence[str], after: Sequence[str]) -> float:
    """Total variation in [0, 1]: the share of pictures whose label had to change, at the least.

    Args:
        before: labels seen in the base's pictures.
        after: labels seen in the audited model's.

    Raises:
        EvalError: a side has no picture.
    """
    if not before or not after:
        raise EvalError(
            f"{len(before)} labels before and {len(after)} after; give at least one of each"
        )
    old, new = Counter(before), Counter(after)
    return 0.5 * sum(
        abs(old[label] / len(before) - new[label] / len(after)) for label in {*old, *new}
    )
