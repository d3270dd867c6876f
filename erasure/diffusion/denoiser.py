"""What objectives and saliency need from a diffusion model: one function and what it is told."""

# B samples, L tokens, D features of the text encoder, C x H x W latents.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from erasure.errors import ConfigError

TOKENS: Final = "tokens"
"""Name of the text features, (B, L, D), in the families that are told any."""
GUIDANCE: Final = "guidance"
"""Name of the strength of guidance, (B,), in the families that are told it as a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """What the model is told about each sample: tensors by the names that its family uses."""

    tensors: Mapping[str, Tensor]
    """Name -> (B, ...), of any type; at least one, and all of the same B."""

    def __post_init__(self) -> None:
        if not self.tensors:
            raise ConfigError("a condition has no tensor; give at least one")
        sizes = {name: len(value) for name, value in self.tensors.items()}
        if len(set(sizes.values())) != 1:
            raise ConfigError(f"a condition has {sizes} rows; give tensors of the same B samples")

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Tensor) -> "Condition":
        """The chosen rows, in the order of `rows`, (B,) int64."""
        return Condition({name: value[rows] for name, value in self.tensors.items()})

    def to(self, device: torch.device, dtype: torch.dtype) -> "Condition":
        """All moved, and floating numbers cast; labels and other whole numbers keep their type."""
        return Condition(
            {
                name: value.to(device, dtype if value.is_floating_point() else value.dtype)
                for name, value in self.tensors.items()
            }
        )

    def having(self, **tensors: Tensor) -> "Condition":
        """The same with these put in, in the place of those that have their names."""
        return Condition({**self.tensors, **tensors})

    @property
    def tokens(self) -> Tensor:
        """The text features, (B, L, D).

        Raises:
            ConfigError: the condition has none, as that of a model of labels.
        """
        return self.named(TOKENS)

    def named(self, name: str) -> Tensor:
        """One of the tensors, (B, ...).

        Raises:
            ConfigError: the condition has none of that name.
        """
        if name not in self.tensors:
            held = ", ".join(self.tensors)
            raise ConfigError(
                f"the condition has {held} and no {name}; encode prompts for it with the text "
                "encoder of the model that is told it"
            )
        return self.tensors[name]

    @property
    def added(self) -> Mapping[str, Tensor]:
        """All but the tokens, by name."""
        return {name: value for name, value in self.tensors.items() if name != TOKENS}


def join(conditions: Sequence[Condition]) -> Condition:
    """One batch after the other.

    Raises:
        ConfigError: they do not all have the same names.
    """
    names = conditions[0].tensors.keys()
    for other in conditions:
        if other.tensors.keys() != names:
            raise ConfigError(
                f"a condition of {', '.join(names)} cannot be joined with one of "
                f"{', '.join(other.tensors)}; encode both for the same model"
            )
    return Condition({n: torch.cat([c.tensors[n] for c in conditions]) for n in names})


class Denoiser(Protocol):
    """Predict the noise, or the velocity, in noisy latents."""

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """x_t (B, C, H, W), t (B,) times as the schedule draws them -> prediction (B, C, H, W)."""
        ...
