"""Settings with which every stage of a run fits into a given memory."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import torch

from erasure.diffusion.saliency import SaliencyConfig
from erasure.errors import ConfigError
from erasure.training.moments import require_eight_bit
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.planning.bill import DRAW, GRID, LOOKS, MASK, TRAIN, Bill
from pipelines.planning.room import free_main, free_on

CARDS: Final[Mapping[str, int]] = {f"{size}gb": size * 2**30 for size in (8, 12, 24, 48, 80)}
"""Names of `--fit` -> bytes of the card."""
_USABLE: Final = 0.92
"""Share of a card's memory that a program can have: the driver, a screen and the allocator's
blocks take the rest."""
_FREE_SHARE: Final = 0.95
"""The same of what is free at the moment."""
GROUPS: Final = (2, 3, 4)
"""Passes with the sums of a part of the weights each that are tried."""
_FLAGS: Final[Mapping[str, str]] = {
    "data.drawing.batch_size": "--drawing-batch",
    "grid.drawing.batch_size": "--drawing-batch",
    "saliency.batch_size": "--saliency-batch",
    "data.drawing.precision": "--set data.drawing.precision",
    "grid.drawing.precision": "--set grid.drawing.precision",
    "data.drawing.stream": "--stream",
    "grid.drawing.stream": "--stream",
    "saliency.offload": "--saliency-offload",
    "saliency.groups": "--set saliency.groups",
    "saliency.mapped": "--set saliency.mapped",
    "saliency.precision": "--set saliency.precision",
    "saliency.checkpointing": "--set saliency.checkpointing",
    "saliency.stream": "--stream",
    "stream": "--stream",
    "method.micro_batch": "--micro-batch",
    "checkpointing": "--checkpointing",
    "method.precision": "--precision",
    "method.moments": "--moments",
}
Settings = Mapping[str, Any]
"""Dotted key of a recipe -> value."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used."""

    name: str
    """Name of the budget, as `--fit` takes it."""
    size: int
    """Bytes, of the device's memory, or of main memory where it has none."""
    main: int | None = None
    """Bytes of main memory beside a device's own; None where it is not known."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A recipe that fits, and what was set for it."""

    recipe: EraseRecipe
    said: tuple[str, ...]
    """A sentence for each group of settings that was changed."""


def budget_of(name: str, device: torch.device) -> Budget:
    """What `--fit` allows.

    Raises:
        ConfigError: it is no name of `CARDS` and not `auto`, or the system does not say what is
            free.
    """
    if name in CARDS:
        return Budget(name, int(_USABLE * CARDS[name]))
    if name != "auto":
        raise ConfigError(f"--fit is {name!r}; give {', '.join(CARDS)} or auto")
    apart = device.type == "cuda"
    free = free_on(device) if apart else free_main()
    if free is None:
        raise ConfigError(
            f"--fit is 'auto', but this system does not say how much memory is free; give "
            f"{' or '.join(CARDS)}"
        )
    return Budget(name, int(_FREE_SHARE * free), free_main() if apart else None)


def fitted(
    recipe: EraseRecipe,
    options: Mapping[str, Any],
    bill: Callable[[EraseRecipe], Bill],
    budget: Budget,
    device: torch.device,
) -> Fitted:
    """Change what was not given until every stage fits, and no more than that needs.

    What changes the result by rounding alone is tried first: smaller passes, then checkpointing,
    then sums of gradients in groups, in main memory or in a file. Then come precision and moments,
    and last blocks that lie in main memory, which change no bit and take most time.

    Args:
        options: tables of the command line and of the recipe file, whose settings stay.
        bill: of a recipe.

    Raises:
        ConfigError: a stage does not fit, whatever is set; or it would, with another value of what
            was given: then both are named.
    """
    fixed = {key for key in _FLAGS if _at(options, key) is not None}
    said = []
    for names, ladder in _groups(recipe, device, bill(recipe).apart):
        chosen = _first(recipe, ladder, fixed, names, bill, budget)
        if chosen is None:
            raise _refusal(recipe, ladder, fixed, names, bill, budget)
        if chosen:
            before, now = _most(bill(recipe), names), with_settings(recipe, chosen)
            changes = [f"{key} = {value} (was {_of(recipe, key)})" for key, value in chosen.items()]
            said.append(
                f"--fit {budget.name} sets {', '.join(changes)}: {before[0]} needed "
                f"{_gb(before[1])}, now {_gb(_most(bill(now), names)[1])}, and {_gb(budget.size)} "
                "may be used"
            )
            recipe = now
    name, need = _most(bill(recipe), [stage.name for stage in bill(recipe).stages])
    if need > budget.size:  # a stage with nothing to set
        raise ConfigError(
            f"--fit {budget.name} allows {_gb(budget.size)}, and {name} needs {_gb(need)} whatever "
            "is set; give a larger --fit, or use a device with more memory"
        )
    return Fitted(recipe, tuple(said))


def summed_where_they_fit(
    recipe: EraseRecipe, bill: Callable[[EraseRecipe], Bill], device: torch.device
) -> Fitted:
    """The recipe with the first place for the mask's sums of gradients that fits what is free now,
    where the settings leave the choice; the mask has the same bits in each.

    Where none fits, or the system does not say what is free, the recipe is as it was.
    """
    apart = device.type == "cuda"
    free = free_on(device) if apart else free_main()
    if free is None or fits(bill(recipe), MASK, Budget("free", free)):
        return Fitted(recipe, ())
    budget = Budget("free", free, free_main() if apart else None)
    for way in sums_ways(recipe.saliency, apart=apart)[1:]:
        settled = with_settings(recipe, way)
        if fits(bill(settled), MASK, budget):
            before, now = _most(bill(recipe), MASK), _most(bill(settled), MASK)
            changed = [f"{key} = {value}" for key, value in way.items() if value not in (False, 1)]
            said = (
                f"{before[0]} needs {_gb(before[1])} and {_gb(free)} is free, so the gradients are "
                f"summed with {', '.join(changed)}, which needs {_gb(now[1])}; the mask has the "
                "same bits"
            )
            return Fitted(settled, (said,))
    return Fitted(recipe, ())


def _groups(
    recipe: EraseRecipe, device: torch.device, apart: bool
) -> Iterator[tuple[Sequence[str], list[dict[str, Any]]]]:
    """Names of stages, and the settings that bear on them, the present ones first."""
    yield (DRAW,), _drawing_ways("data.drawing", recipe.data.drawing, apart)
    yield (GRID,), _drawing_ways("grid.drawing", recipe.grid.drawing, apart)
    yield MASK, list(mask_ways(recipe, apart=apart))
    training = recipe.training
    if training is None:
        return
    kinds = ["fp32", "bf16", "bf16-weights"]
    moments = [training.moments]
    if training.moments == "fp32" and _eight_bit(recipe, device):
        moments.append("8bit")
    ways = product(
        _then_on(recipe.stream) if apart else [recipe.stream],
        moments,
        kinds[kinds.index(training.precision) :],
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


def mask_ways(recipe: EraseRecipe, *, apart: bool) -> Iterator[dict[str, Any]]:
    """Ways to measure the mask, the present one first: smaller passes, recomputed activations,
    sums elsewhere, all with the same scores but for rounding; then rounded weights and blocks in
    main memory."""
    now = recipe.saliency
    kinds = ["fp32", "bf16-weights"] if now.precision == "fp32" and apart else [now.precision]
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


def _first(
    recipe: EraseRecipe,
    ladder: Sequence[Settings],
    fixed: set[str],
    names: Sequence[str],
    bill: Callable[[EraseRecipe], Bill],
    budget: Budget,
) -> dict[str, Any] | None:
    """What to change, nothing where all fits; None where no way fits."""
    for settings in ladder:
        changed = {key: v for key, v in settings.items() if not _same(recipe, key, v)}
        if changed.keys() & fixed:
            continue
        if fits(bill(with_settings(recipe, changed)), names, budget):
            return changed
    return None


def fits(bill: Bill, names: Sequence[str], budget: Budget) -> bool:
    """Whether these stages need no more than there is, of the device and beside it."""
    if _most(bill, names)[1] > budget.size:
        return False
    needs = (bill.main(stage) for stage in bill.stages if stage.name in names)
    return budget.main is None or max(needs, default=0) <= budget.main


def _refusal(
    recipe: EraseRecipe,
    ladder: Sequence[Settings],
    fixed: set[str],
    names: Sequence[str],
    bill: Callable[[EraseRecipe], Bill],
    budget: Budget,
) -> ConfigError:
    """Why no way fits: what was given, or nothing that could be set."""
    chosen = _first(recipe, ladder, set(), names, bill, budget)
    if chosen is None:
        least = min(
            (_most(bill(with_settings(recipe, settings)), names) for settings in ladder),
            key=lambda pair: pair[1],
        )
        return ConfigError(
            f"--fit {budget.name} allows {_gb(budget.size)}, and {least[0]} needs {_gb(least[1])} "
            "at least, whatever is set; give a larger --fit, or a smaller density or data.size"
        )
    against = [f"{_FLAGS[key]} {_of(recipe, key)}" for key in chosen if key in fixed]
    name, need = _most(bill(recipe), names)
    return ConfigError(
        f"--fit {budget.name} allows {_gb(budget.size)}, and {name} needs {_gb(need)} with "
        f"{' and '.join(against)} as given; leave {'it' if len(against) == 1 else 'them'} out, or "
        "give a larger --fit"
    )


def with_settings(recipe: EraseRecipe, settings: Settings) -> EraseRecipe:
    """The recipe with other values at dotted keys."""
    for key, value in settings.items():
        recipe = _set(recipe, key.split("."), value)
    return recipe


def _set(table: Any, path: Sequence[str], value: Any) -> Any:  # noqa: ANN401
    name, *rest = path
    return replace(table, **{name: _set(getattr(table, name), rest, value) if rest else value})


def _of(recipe: EraseRecipe, key: str) -> Any:  # noqa: ANN401
    value: Any = recipe
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _same(recipe: EraseRecipe, key: str, value: object) -> bool:
    now = _of(recipe, key)
    if key == "method.micro_batch" and now is None:  # the whole batch
        return bool(value == _of(recipe, "method.batch_size"))
    return bool(now == value)


def _most(bill: Bill, names: Sequence[str]) -> tuple[str, int]:
    """The stage among these that needs most of what is limited, and how many bytes."""
    needs = [
        (stage.name, bill.main(stage) if on_device is None else on_device)
        for stage in bill.stages
        for on_device in [bill.device(stage)]
        if stage.name in names
    ]
    return max(needs, key=lambda need: need[1], default=("", 0))


def _halves(size: int) -> list[int]:
    """`size`, its half, and so on to 1."""
    return [max(1, size >> n) for n in range(math.floor(math.log2(size)) + 1)]


def _at(tables: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    value: Any = tables
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
