"""The classifier of clothes: which of the ten classes of Fashion-MNIST a picture shows."""

# B pictures of 32x32 pixels, K classes.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eval.errors import EvalError
from eval.judges.canvas import ResidualBlock
from eval.judges.judge import Judgement
from eval.rates.ranking import best_guesses
from eval.weights.hashing import file_sha256
from prompts.clothes import CLOTHES, HEAD

IMAGE_SIZE: Final = 32
WEIGHTS: Final = Path(__file__).parents[1] / "assets" / "clothes_classifier.safetensors"
_WIDTHS: Final = (16, 32, 64, 96)


class ClothesClassifier(nn.Module):
    """A residual network on grey pictures."""

    def __init__(self) -> None:
        super().__init__()
        stem = [
            nn.Conv2d(1, _WIDTHS[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
            nn.ReLU(),
        ]
        blocks = [ResidualBlock(a, b) for a, b in pairwise(_WIDTHS)]
        self.body = nn.Sequential(*stem, *blocks)
        self.head = nn.Linear(_WIDTHS[-1], len(CLOTHES))

    def features(self, pixels: Tensor) -> Tensor:
        """Give what the last layer reads, (B, D), of pixels (B, 1, 32, 32) in [-1, 1]."""
        pooled: Tensor = self.body(pixels).mean(dim=(2, 3))
        return pooled

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, K) of pixels (B, 1, 32, 32) in [-1, 1]."""
        logits: Tensor = self.head(self.features(pixels))
        return logits


@cache
def load_clothes_classifier(path: Path = WEIGHTS) -> ClothesClassifier:
    """The shipped classifier, in float32, ready to judge.

    Raises:
        EvalError: the file is missing or is not this classifier.
    """
    network = ClothesClassifier()
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as err:
        raise EvalError(
            f"{path} is not the classifier of clothes ({err}); reinstall diffusion-erasure, or "
            "make it again with `make ddpm-checkpoint`"
        ) from err
    return network.eval()


def to_grey(images: Sequence[Image.Image]) -> Tensor:
    """Pictures of any size -> (B, 1, 32, 32) in [-1, 1]."""
    side = (IMAGE_SIZE, IMAGE_SIZE)
    small = [np.asarray(image.convert("L").resize(side, Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).unsqueeze(1).float() / 127.5 - 1


@dataclass(frozen=True, slots=True)
class ClothesJudge:
    """The classifier as a judge, with the head `class`."""

    network: ClothesClassifier
    protocol: Mapping[str, str | int | float]
    batch_size: int = 64
    name: str = "clothes"
    labels: tuple[str, ...] = CLOTHES

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """The best five classes of each picture."""
        return [
            Judgement(guesses={HEAD: guesses})
            for start in range(0, len(images), self.batch_size)
            for guesses in best_guesses(
                self.network(to_grey(images[start : start + self.batch_size])).softmax(1), CLOTHES
            )
        ]


def open_clothes(*, batch_size: int = 64) -> ClothesJudge:
    """The judge of clothes, on the CPU.

    Raises:
        EvalError: its file is missing or damaged.
    """
    return ClothesJudge(
        network=load_clothes_classifier(),
        protocol={
            "weights": WEIGHTS.name,
            "sha256": file_sha256(WEIGHTS),
            "preprocessing": f"{IMAGE_SIZE}x{IMAGE_SIZE} box, grey, [-1, 1]",
        },
        batch_size=batch_size,
    )
