"""Tuning a copy of a network on a few encoded pictures, and what it has become at some marks."""

# N pictures, B samples, C x H x W latents.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.attacks.target import Material, Target
from erasure.diffusion.data.latents import Draw, LatentSet, Noised, noised
from erasure.diffusion.data.shuffling import shuffled
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Schedule
from erasure.training.objective import Loss
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.frozen import FrozenDenoiser


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Noisy pictures with their prompts, as a source of batches."""

    pictures: LatentSet
    prompts: Condition
    """(N, ...) on CPU, one a picture."""
    schedule: Schedule
    seed: int
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample's latents, (C, H, W)."""
        return tuple(self.pictures.mean.shape[1:])

    def at(self, position: int, count: int, student: Denoiser, frozen: FrozenDenoiser, /) -> Noised:
        """Samples in an order that the seed decides; neither network is asked anything."""
        rows = shuffled(len(self.pictures), position, count, self.seed, "lesson order")
        draws = [Draw(row, (self.seed, "lesson", position + n)) for n, row in enumerate(rows)]
        made = noised(self.pictures, self.prompts, self.schedule, draws)
        return made.to(self.device, torch.float32)


@dataclass(frozen=True, slots=True)
class Denoise:
    """|eps(x_t, t, prompt) - target|^2, as every diffusion model is trained."""

    def __call__(self, student: Denoiser, frozen: Denoiser, batch: Noised, /) -> Loss:
        """The loss of one batch."""
        predicted = student(batch.x_t, batch.t, batch.condition)
        return Loss(F.mse_loss(predicted.float(), batch.target.float()), torch.zeros(()))


def tuned(
    target: Target, material: Material, marks: Sequence[int], config: TrainConfig
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """Tune a copy of the target's network on pictures, whole; the target's own stays as it is.

    Args:
        marks: rising numbers of steps.

    Yields:
        Each mark with all weights that the copy learned, float32 on CPU: 4 bytes a weight and mark.

    Raises:
        TrainingError: a loss or gradient is not finite, or the memory is not enough.
    """
    network = target.copy().to(target.device)
    condition = target.told(list(material.prompts)).to(torch.device("cpu"), torch.float32)
    pictures = LatentSet(material.mean, material.std, torch.arange(len(material)))
    trainer = MaskedTrainer(
        network,
        target.architecture.denoiser,
        Lessons(pictures, condition, target.schedule, config.seed, target.device),
        {name: torch.ones_like(w, dtype=torch.bool) for name, w in network.named_parameters()},
        objective=Denoise(),
        config=config,
    )
    for step in trainer.steps():
        if step.index in marks:
            values = {name: one.detach() for name, one in network.named_parameters()}
            yield step.index, {k: v.to("cpu", copy=True) for k, v in values.items()}
    trainer.selected.release()


def first_pictures(material: Material, count: int) -> Material:
    """The first `count` pictures with their prompts."""
    return Material(material.mean[:count], material.std[:count], material.prompts[:count])
