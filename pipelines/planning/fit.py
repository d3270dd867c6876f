"""Settings with which every stage of a run fits into a given memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from erasure.errors import ConfigError
from pipelines.configs.settings import EraseRecipe
from pipelines.planning.bill import Bill
from pipelines.planning.ladders import Settings, ladders_of, sums_ways, value_at, with_settings
from pipelines.planning.room import free_main, free_on
from pipelines.planning.run_sizes import MASK

CARDS: Final[Mapping[str, int]] = {f"{size}gb": size * 2**30 for size in (8, 12, 24, 48, 80)}
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

FITTED: Final = tuple(_FLAGS)
"""Keys of a recipe that `--fit` may set."""


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
    *,
    text: bool = False,
) -> Fitted:
    """Change what was not given until every stage fits, and no more than that needs.

    What changes the result by rounding alone is tried first: smaller passes, then checkpointing,
    then sums of gradients in groups, in main memory or in a file. Then come precision and moments,
    and last blocks that lie in main memory, which change no bit and take most time.

    Args:
        options: tables of the command line and of the recipe file, whose settings stay.
        bill: of a recipe.
        text: whether a text encoder is what moves.

    Raises:
        ConfigError: a stage does not fit, whatever is set; or it would, with another value of what
            was given: then both are named.
    """
    fixed = {key for key in _FLAGS if _at(options, key) is not None}
    said = []
    for names, ladder in ladders_of(recipe, device, bill(recipe).apart, text=text):
        chosen = _first(recipe, ladder, fixed, names, bill, budget)
        if chosen is None:
            raise _refusal(recipe, ladder, fixed, names, bill, budget)
        if chosen:
            before, now = _most(bill(recipe), names), with_settings(recipe, chosen)
            changes = [
                f"{key} = {value} (was {value_at(recipe, key)})" for key, value in chosen.items()
            ]
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
    against = [f"{_FLAGS[key]} {value_at(recipe, key)}" for key in chosen if key in fixed]
    name, need = _most(bill(recipe), names)
    return ConfigError(
        f"--fit {budget.name} allows {_gb(budget.size)}, and {name} needs {_gb(need)} with "
        f"{' and '.join(against)} as given; leave {'it' if len(against) == 1 else 'them'} out, or "
        "give a larger --fit"
    )


def _same(recipe: EraseRecipe, key: str, value: object) -> bool:
    now = value_at(recipe, key)
    if key == "method.micro_batch" and now is None:  # the whole batch
        return bool(value == value_at(recipe, "method.batch_size"))
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


def _at(tables: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    value: Any = tables
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
