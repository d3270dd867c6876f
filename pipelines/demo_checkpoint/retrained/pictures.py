"""Pictures of a concept that the checkpoint was trained on, and others that it never saw."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from erasure.errors import ConfigError
from erasure.storage.files import atomic
from pipelines.demo_checkpoint import latents
from pipelines.demo_checkpoint.drawings import draw
from prompts.canvas import OBJECTS, STYLES, WEAPONS, canvas_prompt
from prompts.nearest import nearest

PER_PAIR: Final = 10
"""Pictures of each style and object."""
_HELD_OUT_SEED: Final = 9001
"""Seed of the held-out augmentations; no training uses it."""


def pairs_of(concept: str) -> list[int]:
    """Flat indices style * objects + object of all pairs of an object, a style or `weapons`.

    Raises:
        ConfigError: the canvas has no such concept.
    """
    objects = WEAPONS if concept == "weapons" else (concept,)
    pairs = [
        number
        for number, (style, obj) in enumerate((s, o) for s in STYLES for o in OBJECTS)
        if style == concept or obj in objects
    ]
    if not pairs:
        hint = nearest(concept, (*OBJECTS, *STYLES, "weapons"))
        raise ConfigError(f"the canvas has no {concept!r}; {hint}")
    return pairs


def trained_on(pictures: Tensor, pairs: Sequence[int], count: int = PER_PAIR) -> Tensor:
    """The first augmentations of each pair, as they were encoded for training.

    Args:
        pictures: (styles, objects, 4, S, S) from `drawings.prepare`.

    Returns:
        (len(pairs) * count, 3, H, H) in [-1, 1], pair after pair.
    """
    generator = torch.Generator().manual_seed(latents.SEED)
    wanted: dict[int, Tensor] = {}
    for pair in range(max(pairs) + 1):  # each pair goes on in the stream of the one before
        chosen = torch.full((latents.PICTURES_PER_PAIR,), pair)
        pixels = draw(pictures, chosen, generator).pixels
        if pair in pairs:
            wanted[pair] = pixels[:count].clone()
    return torch.cat([wanted[pair] for pair in pairs])


def held_out(pictures: Tensor, pairs: Sequence[int], count: int = PER_PAIR) -> Tensor:
    """Other augmentations of the same drawings, in the same order and shape."""
    generator = torch.Generator().manual_seed(_HELD_OUT_SEED)
    chosen = torch.tensor(pairs).repeat_interleave(count)
    return draw(pictures, chosen, generator).pixels


def write_pictures(pictures: Tensor, concept: str, folder: Path, count: int = PER_PAIR) -> None:
    """Write `trained` and `held-out` with their prompts into a folder; the same bytes every time.

    Raises:
        ConfigError: the canvas has no such concept.
        DiskError: the disk refuses.
    """
    pairs = pairs_of(concept)
    prompts = [canvas_prompt(OBJECTS[p % len(OBJECTS)], STYLES[p // len(OBJECTS)]) for p in pairs]
    for name, make in (("trained", trained_on), ("held-out", held_out)):
        pixels = make(pictures, pairs, count)
        values = ((pixels * 0.5 + 0.5) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        rows = []
        for number, one in enumerate(values):
            with atomic(folder / name / f"{number:03d}.png") as part, part.open("wb") as file:
                Image.fromarray(one).save(file, format="PNG")
            row = {"file_name": f"{number:03d}.png", "prompt": prompts[number // count]}
            rows.append(json.dumps(row))
        with atomic(folder / name / "metadata.jsonl") as part:
            part.write_text("\n".join(rows) + "\n", encoding="utf-8")
