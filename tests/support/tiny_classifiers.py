"""The smallest classifiers worth unlearning, with data: a table, images, sequences, text, and
points for methods that forget exactly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from erasure.classifiers import Batches, TrainingRecipe
from erasure.classifiers.exact.points import Points
from erasure.classifiers.protocol import Task
from support.tiny import global_seed, seeded

CLASSES = 3
FORGET, RETAIN = 7, 17
CPU = torch.device("cpu")
RECIPE = TrainingRecipe(epochs=2, lr=0.05, batch_size=6)


class Mlp(nn.Module):
    """A network of one hidden layer that takes the rows of a table with 6 columns."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(6, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.hidden(x)))


class Cnn(nn.Module):
    """A convolutional network with BatchNorm that takes images of 1 x 6 x 6."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


class Transformer(nn.Module):
    """A network with attention and dropout that takes sequences of 4 tokens with 6 features."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.2, batch_first=True)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x).mean(dim=1))


class Text(nn.Module):
    """For named tensors, answering with an object that has `.logits`, as transformers models."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 6)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        seen = attention_mask.unsqueeze(-1).float()
        mean = (self.words(input_ids) * seen).sum(1) / seen.sum(1)
        return SimpleNamespace(logits=self.head(self.norm(mean)))


class Named(Dataset[Any]):
    """Samples whose inputs have names."""

    def __init__(self, inputs: Mapping[str, Tensor], labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, n: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: value[n] for name, value in self.inputs.items()}, self.labels[n]


@dataclass(frozen=True)
class Case:
    """A model, and its data."""

    build: Callable[[], nn.Module]
    forget: DataLoader[Any]
    retain: DataLoader[Any]

    def model(self, seed: int = 0) -> nn.Module:
        with global_seed(seed):
            return self.build()


def labels(count: int, seed: int, classes: int = CLASSES) -> Tensor:
    return torch.randint(classes, (count,), generator=seeded(seed))


def loader(shape: tuple[int, ...], count: int, seed: int, size: int = 4) -> DataLoader[Any]:
    """Random samples of a shape, in [0, 1]."""
    inputs = torch.rand((count, *shape), generator=seeded(seed))
    return DataLoader(TensorDataset(inputs, labels(count, seed)), batch_size=size)


def text_loader(count: int, seed: int) -> DataLoader[Any]:
    words = torch.randint(10, (count, 5), generator=seeded(seed))
    seen = (torch.arange(5) < torch.randint(1, 6, (count, 1), generator=seeded(seed))).long()
    data = Named({"input_ids": words, "attention_mask": seen}, labels(count, seed))
    return DataLoader(data, batch_size=4)


CASES = {
    "mlp": Case(Mlp, loader((6,), FORGET, 0), loader((6,), RETAIN, 1)),
    "cnn": Case(Cnn, loader((1, 6, 6), FORGET, 0), loader((1, 6, 6), RETAIN, 1)),
    "transformer": Case(Transformer, loader((4, 6), FORGET, 0), loader((4, 6), RETAIN, 1)),
    "text": Case(Text, text_loader(FORGET, 0), text_loader(RETAIN, 1)),
}


def linear(
    features: int = 4, classes: int = CLASSES, *, bias: bool = True, seed: int = 0
) -> nn.Linear:
    """One linear layer in float64: the softmax regression that formulas are checked on."""
    with global_seed(seed):
        return nn.Linear(features, classes, bias=bias).double()


def samples(count: int, seed: int, classes: int = CLASSES, features: int = 4) -> Batches:
    """All in one batch, float64."""
    inputs = torch.rand((count, features), generator=seeded(seed), dtype=torch.float64)
    return Batches(TensorDataset(inputs, labels(count, seed, classes)), batch_size=count)


def tensors(data: Batches) -> tuple[Tensor, Tensor]:
    batch = next(data.ordered())
    assert isinstance(batch.inputs, Tensor)
    return batch.inputs, batch.labels


def task(model: nn.Module, forget: Batches, retain: Batches, **more: Any) -> Task:  # noqa: ANN401
    """A task without the checks of `unlearn`."""
    classes = more.pop("classes", CLASSES)
    return Task(model=model, forget=forget, retain=retain, classes=classes, device=CPU, **more)


def run(method: Any, task: Task) -> list[float]:  # noqa: ANN401
    """Let a method change the task's model; the losses on the way."""
    return [step.loss for step in method.steps(task)]


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def same_bytes(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        value.dtype == theirs[name].dtype
        and value.numpy().tobytes() == theirs[name].numpy().tobytes()
        for name, value in ours.items()
    )


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
