"""Icons of the canvas's first ten objects, 32 x 32 in colour, as the embedded checkpoint draws."""

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.class_checkpoint.pictures import ClassPictures
from pipelines.class_checkpoint.recipe import SIDE
from pipelines.demo_checkpoint.drawings import IMAGE_SIZE, draw, prepare
from pipelines.demo_checkpoint.icons import load_drawings
from prompts.canvas import OBJECTS, STYLES

CLASSES: Final = OBJECTS[:10]
DRAWN: Final = ("flat", "glossy", "cartoon")
"""The styles; a picture is in any of them, as nobody is told which."""
EACH: Final = 1200
"""Pictures of a class to train on."""
UNSEEN: Final = 60
"""Others of a class."""
PACKAGES: Final = Path("build/demo-checkpoint/packages")
"""Where the embedded checkpoint's own recipe keeps the packages of icons."""
_SEED: Final = 21
_BATCH: Final = 240


def load_icons(path: Path | None = None) -> tuple[ClassPictures, ClassPictures]:
    """Draw pictures to train on, and others of the same icons at other places on other papers.

    Args:
        path: folder of the npm packages; fetched where they are missing.

    Raises:
        ConfigError: a package is missing and npm cannot get it, or resvg_py is not installed.
    """
    drawings = prepare(load_drawings(path or PACKAGES))
    return icons_of(drawings, EACH, _SEED), icons_of(drawings, UNSEEN, _SEED + 1)


def icons_of(drawings: Tensor, each: int, seed: int) -> ClassPictures:
    """So many pictures of each class, one after another.

    Args:
        drawings: (styles, objects, 4, 128, 128) of all the canvas, as `prepare` gives them.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(each * len(CLASSES)) % len(CLASSES)
    known = torch.tensor([STYLES.index(style) for style in DRAWN])
    styles = known[torch.randint(len(DRAWN), labels.shape, generator=generator)]
    pairs = styles * len(OBJECTS) + labels
    parts = [
        F.avg_pool2d(draw(drawings, some, generator).pixels, IMAGE_SIZE // SIDE)
        for some in pairs.split(_BATCH)
    ]
    pixels = ((torch.cat(parts) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return ClassPictures(pixels, labels)
