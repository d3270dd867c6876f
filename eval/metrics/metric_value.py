"""One number that says how two sets of pictures compare, with how sure it is."""

import math
from dataclasses import dataclass
from typing import Literal

from eval.errors import EvalError


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """The value of one metric; prints, saves and compares."""

    name: str
    """Key: `fid`, `kid`, `frechet-efficientnet-lite0`, `clip-score-after`, ..."""
    label: str
    """What a reader sees; it names the features wherever they are not Inception's."""
    value: float
    low: float | None
    """Ends of the 95 % interval; None where the metric has none, as FID."""
    high: float | None
    unit: str
    """`points` for a CLIP score, empty for a bare number."""
    after_n: int
    """Pictures of the edited model that went into this number."""
    before_n: int | None
    """Pictures of its base, or of the set it is held against; None where there is none."""
    better: Literal["lower", "higher"]

    def __post_init__(self) -> None:
        if not all(math.isfinite(x) for x in (self.value, self.low, self.high) if x is not None):
            raise EvalError(
                f"{self.label} is {self.value} in [{self.low}, {self.high}]; a picture or the "
                "weights of the metric hold values that are not finite"
            )
