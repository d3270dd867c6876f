"""What a reproduction takes, before it starts: pictures, passes, memory, hours and disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from erasure.memory_bill import Stage
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.planning.bill import Bill, Planner
from pipelines.planning.bill_words import GB, BillInWords
from pipelines.planning.run_sizes import MASK
from pipelines.reproducing.cells import Cell, Setup
from pipelines.reproducing.settings import at_most
from pipelines.run.models import pick_device
from pipelines.run.preparing import plan_of
from pipelines.words.durations import about

DRAW: Final = "draw what is judged"
JUDGE: Final = "judge"
_ORDER: Final = ("gather", "mask", "erase", DRAW, JUDGE)
_SECONDS_JUDGED: Final = 0.05
"""A picture through NudeNet takes 47 ms, through EfficientNet-Lite0 30 ms, on one core that was
half busy; other judges may take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One kind of work, over all models of an experiment."""

    name: str
    pictures: int = 0
    passes: int = 0
    flops: int = 0
    hours: float = 0.0
    device: int | None = None
    """Most bytes at one time on a device with a memory of its own."""
    main: int = 0
    """The same of main memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The whole estimate."""

    models: int
    """Erasures; the model itself is looked at besides."""
    stages: tuple[StageCost, ...]
    disk: int
    """Bytes that are written below the output folder, at most."""
    cache: int
    """Bytes of drawn pictures and latents in the cache folder."""
    device: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; bytes and hours."""
        return {
            "models": self.models,
            "device": self.device,
            "stages": [
                {
                    "name": stage.name,
                    "pictures": stage.pictures,
                    "passes": stage.passes,
                    "flops": stage.flops,
                    "hours": round(stage.hours, 4),
                    "device_bytes": stage.device,
                    "main_bytes": stage.main,
                }
                for stage in self.stages
            ],
            "hours": round(sum(stage.hours for stage in self.stages), 4),
            "disk_bytes": self.disk,
            "cache_bytes": self.cache,
            "notes": list(self.notes),
        }


def estimate(setup: Setup, cells: Sequence[Cell]) -> Cost:
    """Count the cells that are given.

    Raises:
        ConfigError: a recipe is wrong.
    """
    device = pick_device(setup.recipe.device)
    bills = _Bills(setup, device)
    parts: dict[str, list[StageCost]] = {name: [] for name in _ORDER}
    model, stays, cache, pictures = 0, 0, 0, 0
    for cell in cells:
        if cell.erase is not None:
            bill = bills.of(cell.erase)
            for stage in bill.stages:
                parts[_kind(stage)].append(bills.cost(_kind(stage), stage))
            model = bill.disk["model"]
            stays += bill.disk["mask"] + bill.disk["grid, at most"]
            cache += bill.disk["cache: pictures and latents"]
        parts[DRAW].append(bills.looked(cell))
        parts[JUDGE].append(_judged(cell, len(setup.judges)))
        pictures += cell.pictures * bills.picture
    erasures = sum(cell.erase is not None for cell in cells)
    held = model * (min(1, erasures) if setup.recipe.drop_models else erasures)
    states = max(
        (b.disk["states of the training, three while one is written"] for b in bills.all), default=0
    )
    return Cost(
        models=erasures,
        stages=tuple(_summed(name, costs) for name, costs in parts.items() if costs),
        disk=held + stays + states + pictures,
        cache=cache,
        device=device.type,
        notes=tuple(_notes(setup)),
    )


class _Bills:
    """The bills of the erasures, and of what is drawn after them."""

    def __init__(self, setup: Setup, device: torch.device) -> None:
        self.setup, self.device = setup, device
        self.all: list[Bill] = []
        first = next(cell for cell in setup.cells() if cell.erase is not None)
        assert first.erase is not None
        self.first = first.erase
        self.planner = self._planner(first.erase)
        side = setup.size or setup.checkpoint.architecture.own_size(setup.checkpoint.description)[0]
        self.picture = 3 * side * side

    def _planner(self, recipe: EraseRecipe) -> Planner:
        return Planner(
            checkpoint=self.setup.checkpoint,
            plan=plan_of(recipe, self.setup.checkpoint),
            mask=None,
            apart=self.device.type == "cuda",
        )

    def of(self, recipe: EraseRecipe) -> Bill:
        """The bill of an erasure."""
        counted = _counted(recipe, self.setup)
        bill = self._planner(counted).bill(counted)
        self.all.append(bill)
        return bill

    def looked(self, cell: Cell) -> StageCost:
        """What drawing a cell's pictures takes."""
        one = cell.evaluate
        config = DrawingConfig(steps=one.steps, guidance=one.guidance, batch_size=one.batch_size)
        stage = self.planner.drawing(self.first, config, cell.pictures, DRAW)
        return replace(self.cost(DRAW, stage), pictures=cell.pictures)

    def cost(self, name: str, stage: Stage) -> StageCost:
        """The stage with its hours on this device."""
        bill = Bill((stage,), {}, (), self.device.type == "cuda")
        lasting = BillInWords(bill, self.device, None, None)
        return StageCost(
            name=name,
            passes=stage.passes,
            flops=stage.flops,
            hours=lasting.minutes(stage) / 60,
            device=bill.device(stage),
            main=bill.main(stage),
        )


def _counted(recipe: EraseRecipe, setup: Setup) -> EraseRecipe:
    """The recipe with the pictures of folders that are not written yet, and of data sets, as if
    they were drawn: they are encoded alike."""
    data = recipe.data
    if setup.drawn:
        return recipe
    task = next(task for task in setup.tasks if task.concept == recipe.concept)
    limit = setup.recipe.limit
    forget = replace(
        data.forget, drawn=0, folder=None, dataset="counted", limit=at_most(task.forget, limit)
    )
    retain = replace(
        data.retain, drawn=0, folder=None, dataset="counted", limit=at_most(task.retain, limit)
    )
    return replace(recipe, data=replace(data, forget=forget, retain=retain))


def _kind(stage: Stage) -> str:
    """Which of the parts that a person waits for a stage of an erasure belongs to."""
    if stage.name in MASK:
        return "mask"
    return "gather" if stage.name.startswith(("draw pictures", "encode")) else "erase"


def _judged(cell: Cell, judges: int) -> StageCost:
    hours = cell.pictures * judges * _SECONDS_JUDGED / 3600
    return StageCost(name=JUDGE, pictures=cell.pictures, hours=hours)


def _summed(name: str, costs: Sequence[StageCost]) -> StageCost:
    on_device = [cost.device for cost in costs if cost.device is not None]
    return StageCost(
        name=name,
        pictures=sum(cost.pictures for cost in costs),
        passes=sum(cost.passes for cost in costs),
        flops=sum(cost.flops for cost in costs),
        hours=sum(cost.hours for cost in costs),
        device=max(on_device, default=None),
        main=max(cost.main for cost in costs),
    )


def _notes(setup: Setup) -> Iterator[str]:
    yield (
        "hours are those of the passes and of the judge, computed from the operations and from how "
        "fast this machine multiplies; reading, ranking and writing come on top"
    )
    if setup.drawn and len(setup.tasks) > 1:
        yield "pictures that the cache already holds are not drawn again"
    if setup.protocol.dataset is not None and not setup.drawn and setup.recipe.data is None:
        yield f"the data set {setup.protocol.dataset.value[0]} is fetched besides"


def lines_of(cost: Cost) -> list[str]:
    """The estimate as text, a stage a line."""
    rows = []
    for stage in cost.stages:
        parts = [f"{stage.pictures:,} pictures"] if stage.pictures else []
        parts += [f"{stage.passes:,} passes"] if stage.passes else []
        if stage.device is not None:
            parts.append(f"{stage.device / GB:.2f} GB on {cost.device}")
        if stage.main:
            parts.append(f"{stage.main / GB:.2f} GB of main memory")
        rows.append(f"{stage.name}: about {', '.join(parts)}, {about(3600 * stage.hours)}")
    total = sum(stage.hours for stage in cost.stages)
    operations = sum(stage.flops for stage in cost.stages)
    return [
        f"{cost.models} erasures, and the model itself",
        *rows,
        f"in all: about {about(3600 * total)} on {cost.device} for {operations:.2g} operations; "
        f"disk {cost.disk / GB:.2f} GB, cache {cost.cache / GB:.2f} GB",
        *(f"note: {note}" for note in cost.notes),
    ]
