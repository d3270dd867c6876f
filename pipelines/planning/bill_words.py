"""The bill of a run, as a person reads it and as a record keeps it."""

from dataclasses import dataclass
from typing import Any

import torch

from erasure.memory_bill import Stage
from erasure.wide_products import multiplies_wide
from pipelines.planning.bill import Bill
from pipelines.planning.fit import Budget
from pipelines.planning.room import (
    BUS,
    CHIPS,
    REACHED,
    Chip,
    free_main,
    free_on,
    speed_of,
)
from pipelines.words.durations import about, about_here

GB = 1e9


@dataclass(frozen=True, slots=True)
class BillInWords:
    """A bill beside what this machine has free and how fast it is."""

    bill: Bill
    device: torch.device
    free_device: int | None
    """Bytes; None where the device has no memory of its own."""
    free_main: int | None
    """Bytes; None where the system does not say."""
    chip: Chip | None = None
    """The card that is planned for, where that is not this machine's."""

    @classmethod
    def planned(cls, bill: Bill, budget: Budget) -> "BillInWords":
        """Plan for a card that is not here, by what its maker states."""
        return cls(bill, torch.device("cuda"), budget.size, None, CHIPS[budget.name])

    @classmethod
    def here(cls, bill: Bill, device: torch.device) -> "BillInWords":
        """Look at the machine as it is now."""
        return cls(bill, device, free_on(device), free_main())

    def minutes(self, stage: Stage) -> float:
        """About how long a stage's passes take, and what goes between main memory and device."""
        on_the_way = stage.bus / BUS / 60 if self.bill.apart else 0.0
        if not stage.flops:
            return on_the_way
        return stage.flops / self._rate(half=stage.half) / 60 + on_the_way

    def _rate(self, *, half: bool) -> float:
        """Floating-point operations a second that whole passes are taken to reach."""
        if self.chip is not None:
            return REACHED["cuda"] * (self.chip.half if half else self.chip.full)
        rounded = half and not multiplies_wide(self.device)
        kind = torch.bfloat16 if rounded else torch.float32
        return REACHED[self.device.type] * speed_of(self.device, kind).products

    @property
    def share(self) -> float:
        """Share of the processors that other work leaves a run on this machine now, at most 1."""
        return 1.0 if self.chip is not None else speed_of(self.device, torch.float32).share

    def _in_all(self) -> str:
        """How long all stages take, and how long on a machine that is as busy as it is now."""
        minutes = sum(map(self.minutes, self.bill.stages))
        return about_here(60 * minutes, self.share)

    def computed(self) -> str:
        """How the numbers were come by."""
        bus = f", and {BUS / GB:.0f} GB/s between main memory and device" if self.bill.apart else ""
        if self.chip is not None:
            share = REACHED["cuda"]
            return (
                "computed, not measured, as no such card is here: memory from the shapes and "
                f"settings, time from {share:g} of what the maker of the {self.chip.name} states "
                f"({self.chip.full / 1e12:g} TFLOP/s in fp32, {self.chip.half / 1e12:g} in bf16)"
                f"{bus}"
            )
        return (
            "computed, not measured: memory from the shapes and settings, time from products over "
            f"{REACHED[self.device.type]:g} of the rate that a short product reaches here{bus}"
        )

    def warnings(self) -> list[str]:
        """A sentence for each stage that needs more than is free."""
        sentences = []
        for stage in self.bill.stages:
            for where, need, free in self._needs(stage):
                if free is not None and need > free:
                    sentences.append(
                        f"warning: {stage.name} needs about {_gb(need)} {where}, and {_gb(free)} "
                        "is free; --fit auto chooses settings that need less"
                    )
        return sentences

    def _needs(self, stage: Stage) -> list[tuple[str, int, int | None]]:
        needs: list[tuple[str, int, int | None]] = []
        on_device = self.bill.device(stage)
        if on_device is not None:
            where = "on the card" if self.chip else f"on {self.device.type}"
            needs.append((where, on_device, self.free_device))
        needs.append(("of main memory", self.bill.main(stage), self.free_main))
        return needs

    def lines(self) -> list[str]:
        """Compact, for the start of a run."""
        bill, (where, _, free) = self.bill, self._needs(self.bill.stages[0])[0]
        parts = [f"{s.name} {self._needs(s)[0][1] / GB:.2f}" for s in bill.stages]
        passes = sum(stage.passes for stage in bill.stages)
        known = f"; {_gb(free)} is free" if free is not None else ""
        memory = where.removeprefix("of ") if where.endswith("memory") else f"memory {where}"
        return [
            f"{memory}, about, in GB: {', '.join(parts)}{known}",
            f"time: {passes:,} passes, {self._in_all()}; disk: about "
            f"{_gb(sum(bill.disk.values()))}",
            *(f"note: {note}" for note in bill.notes),
            *self.warnings(),
        ]

    def page(self) -> list[str]:
        """The whole, for `--dry-run`."""
        lines = []
        for stage in self.bill.stages:
            needs = ", ".join(f"{_gb(need)} {where}" for where, need, _ in self._needs(stage))
            work = ""
            if stage.passes:
                work = f"; {stage.passes:,} passes, about {about(60 * self.minutes(stage))}"
                work += f", {stage.flops / 1e12:,.0f} TFLOP"
            lines.append(f"{stage.name}: about {needs}{work}")
            lines += [
                f"    {part.size / GB:8.3f} GB  {part.what}"
                + (" (main memory)" if part.main and self.bill.apart else "")
                for part in stage.held
                if part.size
            ]
        total = sum(self.bill.disk.values())
        lines.append(f"disk: about {_gb(total)}")
        lines += [f"    {size / GB:8.3f} GB  {what}" for what, size in self.bill.disk.items()]
        lines.append(f"in all: {self._in_all()}, without reading, ranking and writing")
        lines.append(self.computed())
        return lines + [f"note: {note}" for note in self.bill.notes] + self.warnings()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; bytes and minutes."""
        return {
            "device": self.device.type,
            "planned_for": self.chip.name if self.chip else None,
            "computed": self.computed(),
            "free_device": self.free_device,
            "free_main": self.free_main,
            "share_of_processors": round(self.share, 3),
            "stages": [
                {
                    "name": stage.name,
                    "device": self.bill.device(stage),
                    "main": self.bill.main(stage),
                    "passes": stage.passes,
                    "minutes": round(self.minutes(stage), 2),
                    "hours": round(self.minutes(stage) / 60, 4),
                    "flops": stage.flops,
                    "bus": stage.bus,
                    "held": {part.what: part.size for part in stage.held},
                }
                for stage in self.bill.stages
            ],
            "disk": dict(self.bill.disk),
            "notes": list(self.bill.notes),
            "warnings": self.warnings(),
        }


def _gb(size: int) -> str:
    return f"{size / GB:.2f} GB"
