"""The bill of a run, as a person reads it and as a record keeps it."""

from dataclasses import dataclass
from typing import Any

import torch

from erasure.memory_bill import Stage
from pipelines.planning.bill import Bill
from pipelines.planning.room import REACHED, free_main, free_on, products_a_second

GB = 1e9


@dataclass(frozen=True, slots=True)
class Told:
    """A bill beside what this machine has free and how fast it is."""

    bill: Bill
    device: torch.device
    free_device: int | None
    """Bytes; None where the device has no memory of its own."""
    free_main: int | None
    """Bytes; None where the system does not say."""

    @classmethod
    def here(cls, bill: Bill, device: torch.device) -> "Told":
        """Look at the machine as it is now."""
        return cls(bill, device, free_on(device), free_main())

    def minutes(self, stage: Stage) -> float:
        """About how long a stage's passes take."""
        if not stage.flops:
            return 0.0
        kind = torch.bfloat16 if stage.half else torch.float32
        rate = REACHED[self.device.type] * products_a_second(self.device, kind)
        return stage.flops / rate / 60

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
            needs.append((f"on {self.device.type}", on_device, self.free_device))
        needs.append(("of main memory", self.bill.main(stage), self.free_main))
        return needs

    def lines(self) -> list[str]:
        """Compact, for the start of a run."""
        bill, (where, _, free) = self.bill, self._needs(self.bill.stages[0])[0]
        parts = [f"{s.name} {self._needs(s)[0][1] / GB:.2f}" for s in bill.stages]
        passes = sum(stage.passes for stage in bill.stages)
        minutes = sum(map(self.minutes, bill.stages))
        known = f"; {_gb(free)} is free" if free is not None else ""
        return [
            f"memory {where}, about, in GB: {', '.join(parts)}{known}",
            f"time: {passes:,} passes, about {_minutes(minutes)}; disk: about "
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
                work = f"; {stage.passes:,} passes, about {_minutes(self.minutes(stage))}"
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
        minutes = sum(map(self.minutes, self.bill.stages))
        lines.append(f"in all: about {_minutes(minutes)}, without reading, ranking and writing")
        return lines + [f"note: {note}" for note in self.bill.notes] + self.warnings()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; bytes and minutes."""
        return {
            "device": self.device.type,
            "free_device": self.free_device,
            "free_main": self.free_main,
            "stages": [
                {
                    "name": stage.name,
                    "device": self.bill.device(stage),
                    "main": self.bill.main(stage),
                    "passes": stage.passes,
                    "minutes": round(self.minutes(stage), 2),
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


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
