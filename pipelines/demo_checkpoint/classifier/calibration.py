"""Put a temperature and a threshold of rejection into the last layers of the canvas classifier."""

# N pictures, A answers, the last of which is `none of these`.

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURES: Final = torch.logspace(-1, 1, 201)
REJECTED: Final = 0.002
"""Share of drawings that may be rejected."""
THRESHOLDS: Final = torch.linspace(-8, 8, 321)
"""What is added to the logit of `none of these`."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of one head."""

    temperature: float
    """By which logits are divided."""
    threshold: float
    """What is then added to the logit of `none of these`."""


def calibration_of(logits: Tensor, labels: Tensor) -> Calibration:
    """Fit both to pictures that were not trained on.

    The temperature has the least mean negative log-likelihood. The threshold is the largest by
    which at most `REJECTED` of the drawings are rejected; where even the smallest rejects more, it
    is that one.

    Args:
        logits: (N, A).
        labels: (N,), A - 1 for pictures of nothing; both kinds must be there.

    Source: arXiv:1706.04599 for the temperature.
    """
    losses = torch.stack([F.cross_entropy(logits / t, labels) for t in TEMPERATURES])
    temperature = float(TEMPERATURES[losses.argmin()])
    drawings = (logits / temperature)[labels != logits.shape[1] - 1]
    margin = drawings[:, :-1].max(1).values - drawings[:, -1]  # it is rejected by a larger one
    shares = torch.stack([(margin < threshold).double().mean() for threshold in THRESHOLDS])
    within = int((shares <= REJECTED).sum())  # shares grow with the threshold
    return Calibration(temperature, float(THRESHOLDS[max(0, within - 1)]))


@torch.no_grad()
def apply_calibration(head: nn.Linear, calibration: Calibration) -> None:
    """Change `head` in place, so that its logits are calibrated."""
    head.weight.div_(calibration.temperature)
    head.bias.div_(calibration.temperature)
    head.bias[-1] += calibration.threshold
