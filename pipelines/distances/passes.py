"""What each model predicts of the same noisy pictures: its losses, and its gaps to two others."""

# N pictures, T time bins, S samples a bin, B samples, C x h x w latents.

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from erasure.attacks.search.noisy import Noisy, Show, noisy, require_finite
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.diffusion.time_parts import time_in
from erasure.seeds import generator_for
from pipelines.distances.groups import Group, Text

Key = tuple[str, Text]
"""Group and text."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How closely to look."""

    bins: int
    samples: int
    batch_size: int
    seed: int


@dataclass(slots=True)
class Passes:
    """What one model predicted."""

    losses: dict[Key, Tensor] = field(default_factory=dict)
    """(N, T) mean squared error of each picture, float64."""
    gaps: dict[tuple[str, Key], Tensor] = field(default_factory=dict)
    """Other model and key -> (N, T) mean squared difference of the predictions, float64."""


Predicted = Mapping[Key, Tensor]
"""Key -> predictions, (N T S, C, h, w) float32 on CPU."""


def samples_of(group: Group, schedule: Schedule, settings: Settings) -> Noisy:
    """Noise the pictures of a group, (N T S), each sample by a stream of its own; on CPU.

    They depend on the seed, the group's name and the place alone, so all models see the same.
    """
    shows = []
    for n in range(len(group.mean)):
        for b in range(settings.bins):
            for s in range(settings.samples):
                key = (settings.seed, "distance", group.name, n, b, s)
                draw = generator_for("distance time", *key)
                shows.append(Show(n, key, time_in(schedule, b, settings.bins, draw)))
    return noisy(group.mean, group.std, schedule, shows, torch.device("cpu"))


@torch.no_grad()
def predict(
    denoise: Denoiser, shown: Noisy, condition: Condition, settings: Settings, device: torch.device
) -> Tensor:
    """The prediction of every sample, (N T S, C, h, w) float32 on CPU.

    Args:
        condition: (N, ...) what the model is told with each picture.

    Raises:
        TrainingError: a prediction is not finite.
    """
    each = settings.bins * settings.samples
    made = []
    for start in range(0, len(shown), settings.batch_size):
        stop = min(start + settings.batch_size, len(shown))
        rows = torch.arange(start, stop) // each
        x_t, t = shown.x_t[start:stop].to(device), shown.t[start:stop].to(device)
        made.append(denoise(x_t, t, condition[rows.to(device)]).float().cpu())
        require_finite(made[-1].abs().sum()[None], start + 1, "distance")
    return torch.cat(made)


def by_bin(errors: Tensor, settings: Settings) -> Tensor:
    """Squared differences of all samples (N T S, C, h, w) -> means (N, T), float64."""
    means = errors.double().square().flatten(1).mean(dim=1)
    return means.view(-1, settings.bins, settings.samples).mean(dim=2)


def passes_of(
    predicted: Predicted,
    shown: Mapping[str, Noisy],
    others: Mapping[str, Predicted],
    settings: Settings,
) -> Passes:
    """Losses of one model, and its gaps to the models that predicted the same samples."""
    made = Passes()
    for key, values in predicted.items():
        made.losses[key] = by_bin(values - shown[key[0]].target.float(), settings)
        for name, theirs in others.items():
            if key in theirs:
                made.gaps[name, key] = by_bin(values - theirs[key], settings)
    return made
