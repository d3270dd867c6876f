"""Which weights of a classifier carry the forget data."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from erasure.classifiers.data.batches import Batches, Loader, logits_of
from erasure.classifiers.progress import require_finite
from erasure.classifiers.weights import evaluating, trainable
from erasure.diffusion.scores.saliency import saliency_scores


def classifier_saliency(model: nn.Module, forget: Loader | Batches) -> dict[str, Tensor]:
    """|gradient of the forget loss| of every trainable weight, by name, float32.

    The loss is the cross-entropy, summed over the samples, in evaluation mode; the minus sign of
    ascent goes with the absolute value. Give the scores to `erasure.masks.masks.salient_mask`
    (largest), `inverse_mask` (smallest), or `random_mask` (only the shapes are read). The model
    keeps its weights and modes; its gradients are cleared.

    Args:
        model: a classifier.
        forget: loader of (inputs, label).

    Raises:
        TrainingError: the loss is not finite.

    Source: arXiv:2310.12508, weight saliency map. Each sample counts alike here; the released code
        adds up means over batches, so that the samples of a small last batch count more.

    Examples:
        >>> data = TensorDataset(torch.randn(12, 4), torch.arange(12) % 3)
        >>> scores = classifier_saliency(torch.nn.Linear(4, 3), Batches(data))
        >>> scores["weight"].shape
        torch.Size([3, 4])
    """
    for _ in accumulate_forget_gradients(model, forget):
        pass
    return saliency_scores(model, trainable(model))


def accumulate_forget_gradients(model: nn.Module, forget: Loader | Batches) -> Iterator[float]:
    """Sum the gradients into `.grad`, yielding each batch's mean loss."""
    weights = trainable(model)
    model.zero_grad(set_to_none=True)
    data = Batches.of(forget).on(next(iter(weights.values())).device)
    with evaluating(model):
        for batch in data.ordered():
            loss = F.cross_entropy(logits_of(model, batch.inputs), batch.labels, reduction="sum")
            require_finite(float(loss.detach()))
            torch.autograd.backward(loss)
            yield float(loss.detach()) / len(batch)
