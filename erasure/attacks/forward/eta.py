"""Fresh noise in every step: the sampler leaves the path that the eraser may have closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.payload import Attempt, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import drawing_cost, within_budget
from erasure.seeds import derived_seed
from erasure.setting_checks import require_counts, require_shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Eta:
    """Draw plain prompts with several shares of fresh noise, each share by seeds of its own.

    Source: arXiv:2010.02502, eq. 16. The probe of a paper of 2025 goes on to 1.85, where the
        variance that is left is negative and its code takes the absolute value; we end at 1, which
        is DDPM's own sampler. A rectified flow takes the same shares, as its latents are those of
        some betas up to a factor; see `erasure.diffusion.sample.renewed_flow_step`.
    """

    name: ClassVar[str] = "eta"
    title: ClassVar[str] = "plain prompts with fresh noise in each sampling step"
    source: ClassVar[str] = "arXiv:2010.02502, eq. 16"
    needs: ClassVar[frozenset[Need]] = frozenset({"seeds"})
    access: ClassVar[Access] = "seeds"

    etas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Shares of DDPM's fresh noise, each an arm."""
    seeds: int = 15
    """Seeds of every share, each of its own."""

    def __post_init__(self) -> None:
        require_shares(self, "etas")
        require_counts(self, "seeds")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, self.seeds * len(self.etas))

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """All shares of one case, then of the next."""
        for number in range(self.seeds):
            case = target.cases[number % len(target.cases)]
            for eta in self.etas:
                seed = derived_seed(target.seed, self.name, number, f"{eta:g}")
                yield Attempt(
                    case=case,
                    payload=Payload(prompt=case.prompt, eta=eta),
                    arm=f"eta {eta:g}",
                    seed=seed,
                )
