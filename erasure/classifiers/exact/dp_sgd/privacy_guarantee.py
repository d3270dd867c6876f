"""What (epsilon, delta) says about points that were trained on, in numbers and in words."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guarantee:
    """(epsilon, delta) differential privacy: adding or removing one point.

    For the model M(D) trained on D, M(D - x) trained without x, and every set S of models:
    P(M(D) in S) <= e^epsilon P(M(D - x) in S) + delta, and the same with both exchanged. So nothing
    that is computed from the model, no membership attack either, tells them apart better than that.
    It bounds how much one can tell, and removes nothing: the point has had its part.
    """

    epsilon: float
    delta: float

    def for_group(self, points: int) -> "Guarantee":
        """The bound for k points that leave together, or one after the other.

        Returns:
            (k epsilon, k e^((k - 1) epsilon) delta), the latter at most 1.

        Source: Dwork, Roth: The algorithmic foundations of differential privacy, 2014, theorem 2.2;
            Vadhan: The complexity of differential privacy, 2017, lemma 2.2 for delta.
        """
        if points == 0:
            return Guarantee(0.0, 0.0)
        if self.delta == 0:
            return Guarantee(points * self.epsilon, 0.0)
        log = math.log(points) + (points - 1) * self.epsilon + math.log(self.delta)
        return Guarantee(points * self.epsilon, math.exp(min(log, 0.0)))

    def statement(self, points: int) -> str:
        """What it says of `points` points that left, in words."""
        bound = self.for_group(points)
        which = "1 point" if points == 1 else f"{points:,} points"
        if bound.delta >= 1:
            return (
                f"the model was not touched, and for {which} that left together the bound of "
                f"epsilon {self.epsilon:.3g} and delta {self.delta:.1e} a point says nothing any "
                "more: train again, or train with a smaller epsilon"
            )
        return (
            f"the model was not touched: whatever is computed from it comes out at most "
            f"{factor(bound.epsilon)} times as often, plus {bound.delta:.1e}, as from a model "
            f"trained without the {which} that left, and the other way round "
            f"(epsilon {bound.epsilon:.3g}, delta {bound.delta:.1e})"
        )


def factor(epsilon: float) -> str:
    """e^epsilon, for people."""
    return f"{math.exp(epsilon):.3g}" if epsilon < 50 else f"e^{epsilon:.0f}"
