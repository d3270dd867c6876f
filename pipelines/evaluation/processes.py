"""The processes that share a run: one, or as many as a launcher started."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch

_PATIENCE: Final = timedelta(days=30)
"""How long one waits for the others; a batch of large pictures takes hours on a CPU."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among them."""

    rank: int
    """From 0."""
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the one that writes what is there once, and speaks."""
        return self.rank == 0

    def has(self, number: int) -> bool:
        """Whether a numbered piece of work is this one's: r of n does r, r + n, r + 2n, ..."""
        return number % self.count == self.rank

    def wait(self) -> None:
        """Return when all have come here; at once where there is one."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()


def processes(device: torch.device) -> Processes:
    """Join those of `accelerate launch` or `torchrun`; alone where neither started this one.

    From here on the device `cuda` is this process's own.
    """
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes)
