"""A team whose members are threads of one process: it shares work as several processes do."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


@dataclass
class _Table:
    """Where the members lay down what is to be added up."""

    count: int
    laid: dict[int, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.count, timeout=60)


@dataclass
class Member:
    rank: int
    table: _Table

    @property
    def count(self) -> int:
        return self.table.count

    def sum_(self, tensors: Iterable[Tensor], /) -> None:
        own = list(tensors)
        self.table.laid[self.rank] = [tensor.clone() for tensor in own]
        self.table.barrier.wait()
        for n, tensor in enumerate(own):
            tensor.copy_(sum(self.table.laid[rank][n] for rank in range(self.count)))  # type: ignore[arg-type]
        self.table.barrier.wait()

    def wait(self) -> None:
        self.table.barrier.wait()


def as_team(work: Callable[[Member], T], count: int = 2) -> list[T]:
    """What each member's call of `work` gives, in the order of their ranks."""
    table = _Table(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, [Member(rank, table) for rank in range(count)]))
