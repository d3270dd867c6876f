"""What a run minimises. A new objective is one file and one line here."""

from erasure.objectives.ascent import GradientAscent
from erasure.objectives.protocol import Batch, Loss, Objective
from erasure.objectives.random_label import RandomLabel

OBJECTIVES: dict[str, type[RandomLabel] | type[GradientAscent]] = {
    "random-label": RandomLabel,
    "ascent": GradientAscent,
}

__all__ = ["OBJECTIVES", "Batch", "GradientAscent", "Loss", "Objective", "RandomLabel"]
