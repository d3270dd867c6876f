"""Small data and networks for methods that forget exactly."""

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from erasure.classifiers.data.batches import Batches
from erasure.classifiers.exact.points import Points


def blobs(count: int, *, classes: int = 3, features: int = 5, seed: int = 0) -> Points:
    """Points around a centre for each class, with ids 10, 13, 16, ..."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = 1.5 * torch.randn(classes, features, generator=generator)
    inputs = centres[labels] + torch.randn(count, features, generator=generator)
    return points_of(inputs, labels, 10 + 3 * torch.arange(count))


def points_of(inputs: Tensor, labels: Tensor, ids: Tensor | None = None) -> Points:
    """Points of two tensors."""
    return Points.of(Batches(TensorDataset(inputs, labels), 16), ids)


def table_of(points: Points) -> tuple[Tensor, Tensor]:
    """Inputs and labels of all points, in the order of their ids."""
    parts = list(points.samples.ordered())
    return torch.cat([p.inputs for p in parts]), torch.cat([p.labels for p in parts])


def network(features: int = 5, classes: int = 3, *, batchnorm: bool = False) -> nn.Module:
    """A network of two layers with dropout, always with the same first weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Linear(features, 6), nn.ReLU(), nn.Dropout(0.2)]
        if batchnorm:
            layers.insert(1, nn.BatchNorm1d(6))
        return nn.Sequential(*layers, nn.Linear(6, classes))
