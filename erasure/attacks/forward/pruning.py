"""Setting the smallest weights to zero, as a compression does that knows of no concept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from erasure.attacks.forward.lazy_weights import LazyWeights, matrices
from erasure.attacks.payload import Attempt, Cost
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import by_weights, drawing_cost, within_budget
from erasure.setting_checks import require_shares


def pruned(weight: Tensor, share: float) -> Tensor:
    """The weight with a share of its values, rounded down, at zero: those nearest to it.

    Of equal sizes the earlier value goes first, so that the number is exact.
    """
    count = int(share * weight.numel())
    flat = weight.detach().clone().flatten()
    if count:
        sizes = flat.abs().float()
        bound = sizes.kthvalue(count).values  # by rank, a third of the time of sorting all
        gone = sizes < bound
        equal = (sizes == bound).nonzero().flatten()
        gone[equal[: count - int(gone.sum())]] = True
        flat[gone] = 0
    return flat.view_as(weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruning:
    """Prune each matrix and convolution by magnitude, then draw plain prompts.

    Source: magnitude pruning, layer by layer; attacks by pruning are of arXiv:2603.06640, which has
        the pruned places instead.
    """

    name: ClassVar[str] = "pruning"
    title: ClassVar[str] = "the smallest weights set to zero"
    source: ClassVar[str] = "magnitude pruning, layer by layer"
    needs: ClassVar[frozenset[Need]] = frozenset({"weights"})
    access: ClassVar[Access] = "rounding"

    shares: tuple[float, ...] = (0.1, 0.2, 0.3)
    """Shares of a matrix that go, each an arm."""

    def __post_init__(self) -> None:
        require_shares(self, "shares")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, len(self.shares) * len(target.cases))

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """All shares of one case, then of the next."""
        own = target.learned
        arms = (
            (f"{share:.0%} pruned", _lazily(own, share), {"share": share})
            for share in dict.fromkeys(self.shares)
        )
        yield from by_weights(target, self.name, arms)


def _lazily(own: Mapping[str, Tensor], share: float) -> LazyWeights:
    return LazyWeights(own, matrices(own), lambda _, value: pruned(value, share))
