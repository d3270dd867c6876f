"""The classifier of the canvas: which object and style a picture shows, or that it shows none.

Its file is calibrated: `demo_checkpoint.calibration` put a temperature and a threshold into the
last layers, so that the likeliest label is the answer, `none of these` included.
"""

# B pictures of 64x64 pixels, O objects and S styles, each with `none of these` after them.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from eval.judges.judge import NOTHING, Judgement
from eval.rates.ranking import best_guesses
from eval.weights.hashing import file_sha256
from prompts.canvas import OBJECTS, STYLES

IMAGE_SIZE: Final = 64
WEIGHTS: Final = Path(__file__).parents[1] / "assets" / "canvas_classifier.safetensors"
OBJECT_ANSWERS: Final = (*OBJECTS, NOTHING)
STYLE_ANSWERS: Final = (*STYLES, NOTHING)
_WIDTHS: Final = (32, 64, 96, 128)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier sees in one picture."""

    obj: str
    """One of `OBJECT_ANSWERS`: `none of these` where it rejects the picture."""
    style: str
    """One of `STYLE_ANSWERS`."""
    obj_score: float
    """Probability in [0, 1]."""
    style_score: float


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions that halve the picture, with a shortcut."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inner, outer, 3, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outer),
        )
        self.shortcut = nn.Conv2d(inner, outer, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class CanvasClassifier(nn.Module):
    """A residual network with one head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        stem = [
            nn.Conv2d(3, _WIDTHS[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(_WIDTHS[0]),
            nn.ReLU(),
        ]
        blocks = [ResidualBlock(a, b) for a, b in pairwise(_WIDTHS)]
        self.body = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.obj = nn.Linear(4 * _WIDTHS[-1], len(OBJECT_ANSWERS))
        self.style = nn.Linear(4 * _WIDTHS[-1], len(STYLE_ANSWERS))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, O + 1) and (B, S + 1) of pixels (B, 3, 64, 64) in [-1, 1]."""
        features = self.body(pixels)
        return self.obj(features), self.style(features)


@cache
def load_canvas_classifier(path: Path = WEIGHTS) -> CanvasClassifier:
    """The shipped classifier, in float32, ready to judge.

    Raises:
        EvalError: the file is missing or is not this classifier.
    """
    network = CanvasClassifier()
    try:
        network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as err:
        raise EvalError(
            f"{path} is not the canvas classifier ({err}); reinstall diffusion-erasure, or make "
            "it again with `make demo-checkpoint`"
        ) from err
    return network.eval()


def to_pixels(images: Sequence[Image.Image]) -> Tensor:
    """Pictures of any size -> (B, 3, 64, 64) in [-1, 1]."""
    small = [
        np.asarray(image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX))
        for image in images
    ]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def judge_canvas(
    images: Sequence[Image.Image], network: CanvasClassifier, batch_size: int = 64
) -> list[Verdict]:
    """Classify pictures of any size; the result does not depend on `batch_size`."""
    verdicts = []
    for objects, styles in _probabilities(images, network, batch_size):
        best_object, best_style = objects.max(1), styles.max(1)
        verdicts += [
            Verdict(OBJECT_ANSWERS[o], STYLE_ANSWERS[s], p, q)
            for o, s, p, q in zip(
                best_object.indices.tolist(),
                best_style.indices.tolist(),
                best_object.values.tolist(),
                best_style.values.tolist(),
                strict=True,
            )
        ]
    return verdicts


@dataclass(frozen=True, slots=True)
class CanvasJudge:
    """The classifier as a judge, with the heads `object` and `style`."""

    network: CanvasClassifier
    protocol: Mapping[str, str | int | float]
    batch_size: int = 64
    name: str = "canvas"
    labels: tuple[str, ...] = (*OBJECTS, *STYLES)
    """The labels of both heads, objects first, without `none of these`, which nobody asks for."""
    rejecting: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"object": OBJECTS, "style": STYLES}
    )
    """See `rejecting_heads`."""

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """The best five objects and styles of each picture, `none of these` among them."""
        return [
            Judgement(guesses={"object": obj, "style": style})
            for objects, styles in _probabilities(images, self.network, self.batch_size)
            for obj, style in zip(
                best_guesses(objects, OBJECT_ANSWERS),
                best_guesses(styles, STYLE_ANSWERS),
                strict=True,
            )
        ]


def open_canvas(*, batch_size: int = 64) -> CanvasJudge:
    """The judge of the canvas, on the CPU.

    Raises:
        EvalError: its file is missing or damaged.
    """
    return CanvasJudge(
        network=load_canvas_classifier(),
        protocol={
            "weights": WEIGHTS.name,
            "sha256": file_sha256(WEIGHTS),
            "preprocessing": f"{IMAGE_SIZE}x{IMAGE_SIZE} box, [-1, 1]",
            "rejects": NOTHING,
        },
        batch_size=batch_size,
    )


@torch.no_grad()
def _probabilities(
    images: Sequence[Image.Image], network: CanvasClassifier, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the probabilities of objects (B, O) and styles (B, S), batch by batch."""
    for start in range(0, len(images), batch_size):
        objects, styles = network(to_pixels(images[start : start + batch_size]))
        yield objects.softmax(1), styles.softmax(1)
