"""What a network passes to its last linear layer: features for heads and trees."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from erasure.classifiers.data.batch import logits_of
from erasure.classifiers.data.batches import Batches
from erasure.classifiers.exact.points import Points
from erasure.errors import ConfigError


@torch.no_grad()
def frozen_features(model: nn.Module, points: Points) -> Points:
    """The same points, each as the features that the last linear layer of a network takes.

    What a head or a forest forgets of these stays in the network, if it was trained on the points.

    Args:
        model: keeps its mode; asked in evaluation mode.

    Returns:
        Points whose inputs are (D,), float32 or wider, on CPU.

    Raises:
        ConfigError: it has no linear layer, or that layer does not take one row a sample.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ConfigError(f"{type(model).__name__} has no linear layer to take features from")
    taken: list[Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    modes = {module: module.training for module in model.modules()}
    rows, labels = [], []
    try:
        model.eval()
        for batch in replace(points.samples, device=next(model.parameters()).device).ordered():
            taken.clear()
            logits_of(model, batch.inputs)
            if len(taken) != 1 or taken[0].shape[:-1] != batch.labels.shape:
                raise ConfigError(
                    "the last linear layer does not take one row of features a sample; give a "
                    "network that ends in a linear classifier"
                )
            rows.append(taken[0].cpu())
            labels.append(batch.labels.cpu())
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode
    table = TensorDataset(torch.cat(rows), torch.cat(labels))
    return Points(Batches(table, points.samples.batch_size), points.ids)
