"""Icons of other things than the canvas knows, in its six styles: what it has to reject."""

# K icons, S = 128 drawing size.

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from erasure.storage.tensors.tensor_file import write_tensors
from pipelines.demo_checkpoint.drawings import prepare
from pipelines.demo_checkpoint.icons import (
    DRAWING_SIZE,
    ICON_NAMES,
    ICON_SETS,
    rasterise,
    read_icon_set,
)
from prompts.canvas import OBJECTS, STYLES

COUNTS: Final = (600, 150, 150)
"""Icons to train on, to calibrate on and to test on; no icon is in two of them."""
SEED: Final = 17
KINDS_OF_OBJECTS: Final = frozenset(
    "fish tropical blowfish shark dog poodle videocassette saw carpentry church wedding horn lorry "
    "truck fuel pump golf golfing hole parachute cat rabbit bunny horse butterfly frog tree castle "
    "boat sailboat guitar apple airplane knife dagger bomb pistol gun".split()
)
"""An icon with one of these words in its name is no clear example of another thing: a green apple
is an apple, and a wedding icon shows a church."""
_FORMAT: Final = "demo-checkpoint-other-icons 1"


@dataclass(frozen=True, slots=True)
class OtherIcons:
    """Drawings as `drawings.prepare` gives them, but as bytes: (styles, K, 4, S, S), 0 to 255."""

    train: Tensor
    held_out: Tensor
    test: Tensor


def other_names(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names that all sets have and that are of no object of the canvas, in a seeded order."""
    shared = set.intersection(*(set(table) for table in tables.values()))
    own = {ICON_NAMES.get(obj, obj) for obj in OBJECTS}
    names = sorted(n for n in shared - own if not KINDS_OF_OBJECTS & set(n.split("-")))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SEED))
    return [names[n] for n in order.tolist()]


def load_other_icons(folder: Path, cache: Path) -> OtherIcons:
    """Rasterise the other icons, which takes some minutes, or read them from `cache`."""
    if not cache.exists():
        tables = {style: read_icon_set(ICON_SETS[style], folder) for style in STYLES}
        names = other_names(tables)[: sum(COUNTS)]
        drawn = [_drawn(tables, name) for name in names]
        parts = torch.stack(drawn, dim=1).split(COUNTS, dim=1)
        named = dict(zip(("train", "held_out", "test"), parts, strict=True))
        write_tensors(cache, named, {"format": _FORMAT})
    return OtherIcons(**load_file(cache))


def _drawn(tables: Mapping[str, Mapping[str, Any]], name: str) -> Tensor:
    """One icon in every style, (styles, 4, S, S) as bytes."""
    rows = [rasterise(tables[style][name], DRAWING_SIZE) for style in STYLES]
    prepared = prepare(torch.stack(rows)[:, None])[:, 0]
    return (255 * prepared.clamp(0, 1)).round().to(torch.uint8)


def as_drawings(icons: Tensor) -> Tensor:
    """Bytes -> floats in [0, 1], the same shape."""
    return icons.float() / 255
