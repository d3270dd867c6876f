"""A share that was measured of the embedded checkpoint or its classifier."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A share with what it is a share of."""

    name: str
    right: int
    total: int

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.right / self.total
