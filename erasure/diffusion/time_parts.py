"""The times of training in equal parts, from little noise to much, to count losses over."""

import torch

from erasure.diffusion.schedule import NoiseSchedule, RectifiedFlow, Schedule
from erasure.errors import ConfigError


def bounds(schedule: Schedule, parts: int) -> tuple[float, ...]:
    """Where the parts begin and the last one ends: `parts` + 1 times as the model takes them.

    Discrete steps are each as likely in training, so the parts hold as many of them; of a rectified
    flow each part holds as many of the times s in [0, 1] that training draws.

    Raises:
        ConfigError: the schedule is of another kind.
    """
    if isinstance(schedule, NoiseSchedule):
        total = len(schedule.alphas_cumprod)
        return tuple(part * total // parts for part in range(parts + 1))
    if isinstance(schedule, RectifiedFlow):
        return tuple(schedule.at(part / parts) for part in range(parts + 1))
    raise ConfigError(
        f"losses are counted over discrete steps or the times of a rectified flow, and this model "
        f"noises by {type(schedule).__name__}; take a model of another family"
    )


def time_in(schedule: Schedule, part: int, parts: int, draw: torch.Generator) -> float:
    """A time of the part of that number, counted from 0, as the model takes it.

    Raises:
        ConfigError: as `bounds`.
    """
    if isinstance(schedule, RectifiedFlow):
        return schedule.at((part + float(torch.rand(1, generator=draw))) / parts)
    low, high = (int(bound) for bound in bounds(schedule, parts)[part : part + 2])
    return int(torch.randint(low, max(high, low + 1), (1,), generator=draw))
