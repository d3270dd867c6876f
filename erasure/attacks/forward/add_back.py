"""Going back towards the base: how far the edit went, and that the base is a perfect revival."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from erasure.attacks.forward.lazy_weights import LazyWeights
from erasure.attacks.payload import Attempt, Cost
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import by_weights, drawing_cost, within_budget
from erasure.setting_checks import require_shares


def towards(weight: Tensor, base: Tensor, share: float) -> Tensor:
    """weight + share (base - weight); at 0 the weight and at 1 the base, both to the bit.

    U + (B - U) is not B in floating point, so both ends are copies.
    """
    if share == 0:
        return weight.clone()
    if share == 1:
        return base.to(weight.dtype).clone()
    return (weight.float() + share * (base.float() - weight.float())).to(weight.dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddBack:
    """Add a share of the difference to the base, then draw plain prompts.

    Source: task arithmetic, arXiv:2212.04089, whose negated task vector is taken back here.
    """

    name: ClassVar[str] = "add-back"
    title: ClassVar[str] = "a share of the difference to the base added back"
    source: ClassVar[str] = "task arithmetic, arXiv:2212.04089"
    needs: ClassVar[frozenset[Need]] = frozenset({"base", "weights"})
    access: ClassVar[Access] = "base or patch"

    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Shares of the difference, each an arm; 1 is the base."""

    def __post_init__(self) -> None:
        require_shares(self, "shares")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, len(self.shares) * len(target.cases))

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """All shares of one case, then of the next."""
        assert target.base is not None
        own, base = target.learned, target.base.learned
        names = tuple(own)

        def back(share: float, name: str, value: Tensor) -> Tensor:
            return towards(value, base[name], share)

        arms = (
            (f"share {s:g}", LazyWeights(own, names, partial(back, s)), {"share": s})
            for s in dict.fromkeys(self.shares)
        )
        yield from by_weights(target, self.name, arms)
