"""Settings with which every stage of a run fits into a given memory."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

import torch

from erasure.errors import ConfigError
from erasure.training.moments import require_eight_bit
from pipelines.configs.settings import EraseRecipe
from pipelines.planning.bill import DRAW, GRID, LOOKS, MASK, TRAIN, Bill
from pipelines.planning.room import free_main, free_on

CARDS: Final[Mapping[str, int]] = {f"{size}gb": size * 2**30 for size in (8, 12, 24)}
"""Names of `--fit` -> bytes of the card."""
_USABLE: Final = 0.92
"""Share of a card's memory that a program can have: the driver, a screen and the allocator's
blocks take the rest."""
_FREE_SHARE: Final = 0.95
"""The same of what is free at the moment."""
_FLAGS: Final[Mapping[str, str]] = {
    "data.drawing.batch_size": "--drawing-batch",
    "grid.drawing.batch_size": "--drawing-batch",
    "saliency.batch_size": "--saliency-batch",
    "saliency.offload": "--saliency-offload",
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
    free = free_on(device) if device.type == "cuda" else free_main()
    if free is None:
        raise ConfigError(
            f"--fit is 'auto', but this system does not say how much memory is free; give "
            f"{' or '.join(CARDS)}"
        )
    return Budget(name, int(_FREE_SHARE * free))


def fitted(
    recipe: EraseRecipe,
    options: Mapping[str, Any],
    bill: Callable[[EraseRecipe], Bill],
    budget: Budget,
    device: torch.device,
) -> Fitted:
    """Change what was not given until every stage fits, and no more than that needs.

    What changes the result by rounding alone is tried first: smaller passes, then checkpointing or
    sums in main memory. Then come precision and moments.

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


def _groups(
    recipe: EraseRecipe, device: torch.device, apart: bool
) -> Iterator[tuple[Sequence[str], list[dict[str, Any]]]]:
    """Names of stages, and the settings that bear on them, the present ones first."""
    drawing, grid = recipe.data.drawing.batch_size, recipe.grid.drawing.batch_size
    yield (DRAW,), [{"data.drawing.batch_size": n} for n in _halves(drawing)]
    yield (GRID,), [{"grid.drawing.batch_size": n} for n in _halves(grid)]
    offloads = [recipe.saliency.offload, *([True] if apart and not recipe.saliency.offload else [])]
    yield (
        MASK,
        [
            {"saliency.offload": offload, "saliency.batch_size": n}
            for offload, n in product(offloads, _halves(recipe.saliency.batch_size))
        ],
    )
    training = recipe.training
    if training is None:
        return
    kinds = ["fp32", "bf16", "bf16-weights"]
    moments = [training.moments]
    if training.moments == "fp32" and _eight_bit(recipe, device):
        moments.append("8bit")
    ways = product(
        moments,
        kinds[kinds.index(training.precision) :],
        [recipe.checkpointing, *([] if recipe.checkpointing else [True])],
        _halves(training.micro_batch or training.batch_size),
    )
    keys = ("method.moments", "method.precision", "checkpointing", "method.micro_batch")
    yield (*TRAIN, LOOKS), [dict(zip(keys, way, strict=True)) for way in ways]


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
        if _most(bill(with_settings(recipe, changed)), names)[1] <= budget.size:
            return changed
    return None


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
