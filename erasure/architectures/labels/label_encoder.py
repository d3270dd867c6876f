"""The condition of a model of labels: a class, by its name or number, becomes one whole number."""

# B samples.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from erasure.architectures.labels.classes import Classes
from erasure.architectures.text.text_encoders import TokenIds
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError

LABELS: Final = "labels"
"""Name in a condition of the class of each sample, (B,) int64."""
_NONE: Final = -1
"""What stands in a table of prompts for no class where the model has no label of it."""


def with_no_class(condition: Condition) -> Condition:
    """Put a row before the others that stands for no class, which `require_class` refuses."""
    (labels,) = condition.tensors.values()
    return Condition({LABELS: torch.cat([labels.new_full((1,), _NONE), labels])})


def require_class(condition: Condition) -> None:
    """Raise ConfigError where a model without a label for no class is told no class."""
    labels = condition.tensors.get(LABELS)
    if labels is None or labels.is_meta:
        return
    if bool((labels == _NONE).any()):
        raise ConfigError(
            "this model has no label that stands for no class, which guidance and rollouts ask "
            "for; choose a method that learns from pictures, with the plain saliency loss"
        )


@dataclass(frozen=True, slots=True)
class LabelEncoder:
    """Stands where other families have text encoders: its prompts are names of classes."""

    classes: Classes

    @property
    def towers(self) -> Sequence[tuple[Any, Any]]:
        """Give none: it reads no text."""
        return ()

    def __call__(self, prompts: Sequence[str], batch_size: int = 0, /) -> Condition:
        """Look up the labels of classes; the empty prompt is the label of no class.

        Raises:
            ConfigError: a prompt is no class of the model.
        """
        labels = [self.classes.label(prompt) for prompt in prompts]
        return Condition({LABELS: torch.tensor(labels, dtype=torch.int64)})

    def tokenize(self, prompts: Sequence[str]) -> Sequence[TokenIds]:
        """Refuse: there are no tokens."""
        raise self._refusal()

    def embed(self, tokens: Sequence[TokenIds]) -> Sequence[Tensor]:
        """Refuse: there are no tokens."""
        raise self._refusal()

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """Refuse: there are no tokens."""
        raise self._refusal()

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Give 0 for each, (len(prompts),): a label has no words, and nobody may read them."""
        return torch.zeros(len(prompts), dtype=torch.int64)

    def unguided(self, empty: Condition) -> Condition:
        """Leave the label of no class as it is."""
        return empty

    def to(self, device: torch.device) -> "LabelEncoder":
        """Stay as it is: it holds no tensor."""
        return self

    @staticmethod
    def _refusal() -> ConfigError:
        return ConfigError(
            "this model is told a class by its number and has no text encoder, so there are no "
            "tokens to search or change; take a method or an attack that needs no text"
        )
