"""Train the classifier that judges the canvas, on endless augmented drawings."""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from eval.judges.canvas import CanvasClassifier
from pipelines.demo_checkpoint.drawings import draw
from pipelines.demo_checkpoint.fit import FitConfig, fit

CLASSIFIER_CONFIG: Final = FitConfig(steps=3000, learning_rate=2e-3, decay=0.998, seed=3)
BATCH: Final = 64
NOISE: Final = 0.15
"""Largest deviation of the added noise; pixels span 2."""
CHECK_PICTURES: Final = 14_400


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures and add noise, so that a generator's texture does not matter."""
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = torch.rand(len(pixels), 1, 1, 1, generator=generator)
    pixels = pixels.lerp(blurred, (2 * share - 1).clamp(min=0))
    level = NOISE * torch.rand(len(pixels), 1, 1, 1, generator=generator)
    return pixels + level * torch.randn(pixels.shape, generator=generator)


def train_classifier(pictures: Tensor, state: Path) -> CanvasClassifier:
    """Train on augmentations of `pictures`, see `drawings.prepare`."""
    with torch.random.fork_rng():
        torch.manual_seed(CLASSIFIER_CONFIG.seed)
        network = CanvasClassifier()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pairs = pictures.shape[0] * pictures.shape[1]

    def loss(generator: torch.Generator) -> Tensor:
        drawn = draw(pictures, torch.randint(pairs, (BATCH,), generator=generator), generator)
        objects, styles = network(soften(drawn.pixels, generator))
        return F.cross_entropy(objects, drawn.obj) + F.cross_entropy(styles, drawn.style)

    average = fit(network, loss, CLASSIFIER_CONFIG, state)
    # Batch statistics are not averaged along with the weights: measure them for the average.
    generator = torch.Generator().manual_seed(CLASSIFIER_CONFIG.seed + 1)
    torch.optim.swa_utils.update_bn(
        [
            soften(
                draw(pictures, torch.randint(pairs, (256,), generator=generator), generator).pixels,
                generator,
            )
            for _ in range(20)
        ],
        average,
    )
    return average.eval()  # type: ignore[return-value]


@torch.no_grad()
def measure_classifier(network: CanvasClassifier, pictures: Tensor) -> list[tuple[int, int]]:
    """(right, total) for object and style on fresh augmentations, every pair equally often."""
    pairs = pictures.shape[0] * pictures.shape[1]
    generator = torch.Generator().manual_seed(1234)
    right = torch.zeros(2)
    for start in range(0, CHECK_PICTURES, 288):
        drawn = draw(pictures, torch.arange(start, start + 288) % pairs, generator)
        objects, styles = network(drawn.pixels)
        right[0] += (objects.argmax(1) == drawn.obj).sum()
        right[1] += (styles.argmax(1) == drawn.style).sum()
    return [(int(count), CHECK_PICTURES) for count in right.tolist()]
