"""Train the judge of clothes by the classifiers' half."""

import logging
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from erasure.classifiers import Batches, TrainingRecipe, train_classifier
from erasure.storage.tensors.tensor_file import write_tensors
from eval.judges.clothes import ClothesClassifier
from pipelines.class_checkpoint.pictures import ClassPictures

log = logging.getLogger(__name__)
RECIPE: Final = TrainingRecipe(epochs=4, lr=0.1, batch_size=256)
_SEED: Final = 12


def train_judge(pictures: ClassPictures, state: Path) -> ClothesClassifier:
    """Train from the last whole epoch, or from the start.

    Raises:
        TrainingError: the loss is not finite, or `state` belongs to another run.
    """
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        network = ClothesClassifier()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = Batches(TensorDataset(_scaled(pictures.pixels), pictures.labels), RECIPE.batch_size)
    for step in train_classifier(network, data, RECIPE, _SEED, state):
        if step.index % 100 == 0:
            log.info("judge %d loss %.4f", step.index, step.loss)
    return network.eval()


def save_judge(network: ClothesClassifier, path: Path) -> None:
    """Write the classifier in half precision."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    write_tensors(path, tensors, {"format": "clothes-classifier 1"})


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1
