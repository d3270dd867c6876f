"""Pictures that only give back what an attack has learned from do not show that it knows more."""

# B pictures, H x W pixels.

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from erasure.attacks.search.soft_row import copies
from erasure.attacks.target import Target


@torch.no_grad()
def near_copies(target: Target, replay: Mapping[str, Any], pixels: Tensor) -> list[bool]:
    """Which drawn pictures are near copies of those that the payload was learned on.

    See `erasure.attacks.search.soft_row.copies`; distances are those of latents.

    Args:
        replay: of a payload; one that does not say what it was learned on, and what was held
            back, copies nothing.
        pixels: (B, 3, H, W) uint8.
    """
    learned, held = replay.get("learned on"), replay.get("held back")
    if not learned or not held or target.pictures is None or not len(pixels):
        return [False] * len(pixels)
    drawn, _ = target.codec.encode(pixels.float() / 127.5 - 1)
    shown = target.pictures.mean
    return [bool(one) for one in copies(drawn, shown[learned], shown[held])]
