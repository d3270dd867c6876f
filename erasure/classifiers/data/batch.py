"""One batch of labelled samples, and what a classifier answers to it."""

# B samples.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from erasure.diffusion.precision import wide
from erasure.errors import TrainingError

Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a classifier takes: one tensor, several in order, or several by name (text)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples, what they are, and which they are."""

    inputs: Inputs
    """Tensors of shape (B, ...)."""
    labels: Tensor
    """(B,), int64."""
    index: Tensor
    """(B,), int64 on CPU: each sample's place in its `Batches`, from 0 to N - 1."""

    def __len__(self) -> int:
        return len(self.labels)


def map_inputs(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The same structure with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: change(value) for name, value in inputs.items()}
    return tuple(change(value) for value in inputs)


def by_name(inputs: Inputs) -> Mapping[str, Tensor]:
    """The tensors by name, or else by place."""
    if isinstance(inputs, Mapping):
        return inputs
    several = (inputs,) if isinstance(inputs, Tensor) else inputs
    return {f"input {place}": value for place, value in enumerate(several)}


def logits_of(model: Callable[..., Any], inputs: Inputs) -> Tensor:
    """The model's answer, (B, classes), in float32 or wider.

    Several tensors are passed one by one, by position or by name as they came. The answer may be
    a tensor or carry `.logits`, as that of a transformers model does.

    Raises:
        TrainingError: it is neither, or not of two dimensions.
    """
    if isinstance(inputs, Tensor):
        answer = model(inputs)
    elif isinstance(inputs, Mapping):
        answer = model(**inputs)
    else:
        answer = model(*inputs)
    logits = answer if isinstance(answer, Tensor) else getattr(answer, "logits", None)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        kind = type(answer).__name__ if logits is None else f"shape {tuple(logits.shape)}"
        raise TrainingError(
            f"the model answers with {kind}; it should give logits of shape (batch, classes), "
            "or an object with such `.logits`"
        )
    return wide(logits)
