"""One gradient a sample, all samples of a batch at once."""

# B samples, C classes, P weights in all.

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure.classifiers.data.batches import Batch, Batches, Inputs, logits_of, map_inputs
from erasure.classifiers.progress import require_finite
from erasure.diffusion.precision import wide
from erasure.errors import TrainingError
from erasure.memory import is_out_of_memory

MEMORY: Final = 2**28
"""Bytes that the gradients of the samples looked at together may take."""


def per_sample_gradients(
    model: nn.Module, weights: Mapping[str, Tensor], batch: Batch
) -> dict[str, Tensor]:
    """d CE(sample) / d weight of every sample, (B, *weight.shape) by name.

    Args:
        model: in evaluation mode, since BatchNorm in training has no gradient of one sample.
        weights: those to differentiate, by name; they are on the model's device.

    Raises:
        TrainingError: torch.func cannot batch the model's forward pass.

    Source: torch.func.vmap of torch.func.grad.
    """
    fixed: dict[str, Tensor] = dict(model.named_buffers())
    fixed |= {name: value.detach() for name, value in model.named_parameters()}
    free = {name: value.detach() for name, value in weights.items()}

    def loss(moving: dict[str, Tensor], inputs: Inputs, label: Tensor) -> Tensor:
        def answer(*args: Any, **named: Any) -> Any:  # noqa: ANN401
            return functional_call(model, {**fixed, **moving}, args, named)

        one = map_inputs(lambda value: value.unsqueeze(0), inputs)
        return F.cross_entropy(logits_of(answer, one), label.unsqueeze(0))

    try:
        with sdpa_kernel(SDPBackend.MATH):  # The other kernels of attention know no vmap.
            gradients: dict[str, Tensor] = vmap(grad(loss), in_dims=(None, 0, 0))(
                free, batch.inputs, batch.labels
            )
    except RuntimeError as err:
        if is_out_of_memory(err):
            raise
        reason = str(err).strip().splitlines()[0]
        raise TrainingError(
            f"torch.func cannot differentiate {type(model).__name__} sample by sample ({reason}); "
            "use a method that needs no per-sample gradients, such as ft, rl or salun"
        ) from err
    return gradients


def in_pieces(data: Batches, weights: Mapping[str, Tensor]) -> Batches:
    """The same samples in batches whose per-sample gradients fit into `MEMORY`."""
    each = sum(weight.numel() * weight.element_size() for weight in weights.values())
    return replace(data, batch_size=max(1, min(data.batch_size, MEMORY // max(1, each))))


def fisher_diagonal(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    data: Batches,
    labels: Literal["data", "model"] = "data",
) -> Generator[float, None, dict[str, Tensor]]:
    """Diagonal of the Fisher information, by name; yields the mean loss of each batch.

    F = mean over samples x of E_y (d log p(y | x) / d weight)^2, y being the given label
    ("data", the empirical Fisher) or drawn from the model's own answer ("model"), in which case
    the expectation is taken exactly, at the cost of C gradients a sample.

    Raises:
        TrainingError: the model does not allow per-sample gradients, or the loss is not finite.
    """
    total = {name: torch.zeros_like(wide(weight)) for name, weight in weights.items()}
    for batch in in_pieces(data, weights).ordered():
        with torch.no_grad():
            logits = logits_of(model, batch.inputs)
        loss = float(F.cross_entropy(logits, batch.labels))
        require_finite(loss)
        if labels == "data":
            _add_squares(total, per_sample_gradients(model, weights, batch), None)
        else:
            for label, likely in enumerate(F.softmax(logits, dim=1).T):  # (B,)
                as_if = replace(batch, labels=torch.full_like(batch.labels, label))
                _add_squares(total, per_sample_gradients(model, weights, as_if), likely)
        yield loss
    return {name: value / len(data) for name, value in total.items()}


def _add_squares(
    total: Mapping[str, Tensor], gradients: Mapping[str, Tensor], share: Tensor | None
) -> None:
    for name, gradient in gradients.items():
        square = wide(gradient).square()  # (B, ...)
        total[name] += square.sum(0) if share is None else torch.tensordot(share, square, dims=1)
