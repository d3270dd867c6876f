"""The processes that share a run, as this package sees them: who adds up with whom."""

from collections.abc import Iterable
from typing import Final, Protocol

import torch
from torch import Tensor

from erasure.errors import TrainingError


class Team(Protocol):
    """This process among those that do one run together."""

    @property
    def rank(self) -> int:
        """This one's number, from 0."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def sum_(self, tensors: Iterable[Tensor], /) -> None:
        """Replace each tensor by its sum over all processes, the same bits in each.

        All call it with tensors of the same shapes, types and order.

        Raises:
            TrainingError: one of the others is gone.
        """
        ...

    def wait(self) -> None:
        """Return when all have come here; raises as `sum_`."""
        ...


class _Alone:
    """The team of one process."""

    rank: Final = 0
    count: Final = 1

    def sum_(self, tensors: Iterable[Tensor], /) -> None:
        pass

    def wait(self) -> None:
        pass


ALONE: Final[Team] = _Alone()


def share_of(team: Team, total: int) -> range:
    """The part of `range(total)` that is this process's: one run of numbers, all about as long."""
    return range(total * team.rank // team.count, total * (team.rank + 1) // team.count)


def require_same(team: Team, value: int, what: str) -> None:
    """Check that all processes hold the same value.

    Args:
        value: below 2**63 in size.
        what: names it in the message.

    Raises:
        TrainingError: they do not.
    """
    values = torch.zeros(team.count, dtype=torch.int64)
    values[team.rank] = value
    team.sum_([values])
    if (values != value).any():
        raise TrainingError(
            f"the {team.count} processes do not have the same {what}; give all of them the same "
            "command, the same files and a folder that they share"
        )
