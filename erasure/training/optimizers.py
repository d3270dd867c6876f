"""The optimisers by name, the range of their settings, and how one is made: for every training."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, Protocol

import torch
from torch import nn

from erasure.errors import ConfigError
from erasure.setting_checks import require_not_negative, require_positive
from erasure.training.moments import eight_bit_optimizer

OPTIMIZERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class OptimizerSettings(Protocol):
    """What the settings of a training say of its optimiser, whatever else they hold."""

    @property
    def optimizer(self) -> Literal["adam", "adamw", "sgd"]:
        """Key into `OPTIMIZERS`."""
        ...

    @property
    def momentum(self) -> float:
        """Only read by SGD."""
        ...

    @property
    def weight_decay(self) -> float: ...


def require_optimizer(settings: OptimizerSettings, *, rate: str) -> None:
    """Check all that concerns the optimiser.

    Args:
        rate: name of the field that holds the learning rate.

    Raises:
        ConfigError: the name is unknown, or a number is outside its range.
    """
    require_positive(settings, rate)
    require_not_negative(settings, "momentum", "weight_decay")
    if settings.optimizer not in OPTIMIZERS:
        raise ConfigError(f"optimizer is {settings.optimizer!r}; give one of {tuple(OPTIMIZERS)}")


def make_optimizer(
    settings: OptimizerSettings,
    vectors: Iterable[nn.Parameter],
    rate: float,
    *,
    fused: bool | None = None,
    moments: Literal["fp32", "8bit"] = "fp32",
) -> torch.optim.Optimizer:
    """A fresh optimiser.

    Args:
        vectors: what it may move.
        rate: the learning rate before anyone sets another.
        fused: whether torch takes its fused step, whose rounding differs; None leaves it to torch.
            Not read with 8-bit moments.
        moments: numbers of its state.

    Raises:
        ConfigError: see `eight_bit_optimizer`.
    """
    options: dict[str, Any] = {"lr": rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        options["momentum"] = settings.momentum
    if moments == "8bit":
        return eight_bit_optimizer(settings.optimizer, vectors, **options)
    return OPTIMIZERS[settings.optimizer](vectors, fused=fused, **options)
