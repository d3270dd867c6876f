"""Ways to need less memory, stage by stage: settings in the order in which they are tried."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any, Final

import torch

from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import ConfigError
from erasure.training.moments import require_eight_bit
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.planning.run_sizes import DRAW, GRID, LOOKS, MASK, TRAIN

GROUPS: Final = (2, 3, 4)
"""Passes with the sums of a part of the weights each that are tried."""
Settings = Mapping[str, Any]
"""Dotted key of a recipe -> value."""


def ladders_of(
    recipe: EraseRecipe, device: torch.device, apart: bool, *, text: bool = False
) -> Iterator[tuple[Sequence[str], list[dict[str, Any]]]]:
    """Names of stages, and the settings that bear on them, the present ones first.

    Args:
        text: whether a text encoder is what moves, whose weights are never in bfloat16.
    """
    yield (DRAW,), _drawing_ways("data.drawing", recipe.data.drawing, apart)
    yield (GRID,), _drawing_ways("grid.drawing", recipe.grid.drawing, apart)
    yield MASK, list(mask_ways(recipe, apart=apart, text=text))
    training = recipe.training
    if training is None:
        return
    kinds = ["fp32", "bf16"] if text else ["fp32", "bf16", "bf16-weights"]
    moments = [training.moments]
    if training.moments == "fp32" and _eight_bit(recipe, device):
        moments.append("8bit")
    ways = product(
        _then_on(recipe.stream) if apart and recipe.origin is None else [recipe.stream],
        moments,
        kinds[kinds.index(training.precision) :] if training.precision in kinds else kinds[-1:],
        _then_on(recipe.checkpointing),
        _halves(training.micro_batch or training.batch_size),
    )
    keys = ("stream", "method.moments", "method.precision", "checkpointing", "method.micro_batch")
    yield (*TRAIN, LOOKS), [dict(zip(keys, way, strict=True)) for way in ways]


def _drawing_ways(where: str, now: DrawingConfig, apart: bool) -> list[dict[str, Any]]:
    """Smaller batches, then rounded weights, then blocks in main memory."""
    kinds = ["fp32", "bf16"] if now.precision == "fp32" and apart else [now.precision]
    streams = _then_on(now.stream) if apart else [now.stream]
    return [
        {f"{where}.stream": stream, f"{where}.precision": kind, f"{where}.batch_size": size}
        for stream, kind, size in product(streams, kinds, _halves(now.batch_size))
    ]


def mask_ways(recipe: EraseRecipe, *, apart: bool, text: bool = False) -> Iterator[dict[str, Any]]:
    """Ways to measure the mask, the present one first: smaller passes, recomputed activations,
    sums elsewhere, all with the same scores but for rounding; then rounded weights and blocks in
    main memory."""
    now = recipe.saliency
    rounded = now.precision == "fp32" and apart and not text
    kinds = ["fp32", "bf16-weights"] if rounded else [now.precision]
    for stream, kind, place, recomputed, size in product(
        _then_on(now.stream) if apart else [now.stream],
        kinds,
        sums_ways(now, apart=apart),
        _then_on(now.checkpointing),
        _halves(now.batch_size),
    ):
        yield {
            "saliency.stream": stream,
            "saliency.precision": kind,
            **place,
            "saliency.checkpointing": recomputed,
            "saliency.batch_size": size,
        }


def sums_ways(now: SaliencyConfig, *, apart: bool) -> list[dict[str, Any]]:
    """Places for the sums of gradients, the present one first; the scores have the same bits.

    A pass more costs less than the way of every gradient into main memory as long as there are few
    of them; a file is the last resort.
    """
    own = (now.groups, now.offload, now.mapped)
    elsewhere: list[tuple[int, bool, bool]] = [(1, False, True)]
    if apart:
        grouped = [(groups, False, False) for groups in GROUPS]
        filed = [(groups, False, True) for groups in GROUPS]
        elsewhere = [*grouped, (1, True, False), *filed, (1, False, True)]
    keys = ("saliency.groups", "saliency.offload", "saliency.mapped")
    ways = [own, *(elsewhere if own == (1, False, False) else [])]
    return [dict(zip(keys, way, strict=True)) for way in ways]


def _then_on(now: bool) -> list[bool]:
    return [now] if now else [False, True]


def _eight_bit(recipe: EraseRecipe, device: torch.device) -> bool:
    """Whether moments of 8 bits can be had here, for this optimiser."""
    with suppress(ConfigError):
        training = with_settings(recipe, {"method.moments": "8bit"}).training
        assert training is not None
        require_eight_bit(training.optimizer, device)
        return True
    return False


def with_settings(recipe: EraseRecipe, settings: Settings) -> EraseRecipe:
    """The recipe with other values at dotted keys."""
    for key, value in settings.items():
        recipe = _set(recipe, key.split("."), value)
    return recipe


def _set(table: Any, path: Sequence[str], value: Any) -> Any:  # noqa: ANN401
    name, *rest = path
    return replace(table, **{name: _set(getattr(table, name), rest, value) if rest else value})


def value_at(recipe: EraseRecipe, key: str) -> Any:  # noqa: ANN401
    """The value of a recipe at a dotted key."""
    value: Any = recipe
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _halves(size: int) -> list[int]:
    """`size`, its half, and so on to 1."""
    return [max(1, size >> n) for n in range(math.floor(math.log2(size)) + 1)]
