"""The processes that share a run: one, or as many as a launcher started."""

import atexit
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from erasure.errors import TrainingError

T = TypeVar("T")
_PATIENCE: Final = timedelta(days=30)
"""How long one waits for the others; a batch of large pictures takes hours on a CPU."""
_TOGETHER: Final = 1 << 16
"""Tensors of fewer values travel in one message; a message costs more than their copy."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among them; an `erasure.team.Team`."""

    rank: int
    """Number of this process, from 0."""
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the one that writes what is there once, and speaks."""
        return self.rank == 0

    def has(self, number: int) -> bool:
        """Whether a numbered piece of work is this one's: r of n does r, r + n, r + 2n, ..."""
        return number % self.count == self.rank

    def wait(self) -> None:
        """Return when all have come here; at once where there is one.

        Raises:
            TrainingError: one of the others is gone. So raise all methods below.
        """
        if self.count > 1:
            with self._needing_all():
                torch.distributed.barrier(_over_cpu())

    def sum_(self, tensors: Iterable[Tensor], /) -> None:
        """Replace each tensor by its sum over all processes, in place, the same bits in each."""
        if self.count == 1:
            return
        small: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        with self._needing_all():
            for tensor in tensors:
                if tensor.numel() < _TOGETHER:
                    small.setdefault((tensor.dtype, tensor.device), []).append(tensor)
                elif tensor.is_contiguous():
                    _sum(tensor)
                else:
                    _sum(whole := tensor.contiguous())
                    tensor.copy_(whole)
            for group in small.values():
                flat = torch.cat([tensor.flatten() for tensor in group])
                _sum(flat)
                for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
                    tensor.copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of them."""
        flags = torch.tensor([int(flag)])
        self.sum_([flags])
        return bool(flags)

    def agreed(self, make: Callable[[], T]) -> T:
        """Make a value in the first process and give it to all."""
        if self.count == 1:
            return make()
        box: list[Any] = [make() if self.first else None]
        with self._needing_all():
            torch.distributed.broadcast_object_list(box, src=0, group=_over_cpu())
        made: T = box[0]
        return made

    @contextmanager
    def _needing_all(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as err:  # the only type that the backends have for a lost connection
            raise TrainingError(
                f"another of the {self.count} processes is gone, so this run stopped; what was "
                "finished is kept: give the same command again, `erase` with --resume, on as many "
                "processes as you like"
            ) from err


def _sum(tensor: Tensor) -> None:
    on_cpu = tensor.device.type == "cpu"
    torch.distributed.all_reduce(tensor, group=_over_cpu() if on_cpu else None)


@cache
def _over_cpu() -> Any:  # noqa: ANN401
    """The same processes, connected for tensors on the CPU: NCCL carries none, and where it waits
    for a process that is gone, it waits for ever."""
    atexit.register(_leave)
    return torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)


def _leave() -> None:
    """Close the connections as long as Python runs.

    Left to the end of the process, one aborts now and then (`terminate called without an active
    exception`), and the launcher reports a failed run.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def processes(device: torch.device) -> Processes:
    """Join those of `accelerate launch` or `torchrun`; alone where neither started this one.

    From here on the device `cuda` is this process's own.
    """
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE)
    if state.num_processes > 1:
        _over_cpu()  # all make it at the same time, or none can
    return Processes(state.process_index, state.num_processes)
