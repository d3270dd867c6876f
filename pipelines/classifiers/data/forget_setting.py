"""What is to be forgotten: a random share of the training data, or a whole class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from erasure.errors import ConfigError
from prompts.nearest import nearest


@dataclass(frozen=True, slots=True)
class ForgetSetting:
    """A forget set, said as `10%` or `class:NAME`."""

    share: float | None = None
    """Share of the training data, in (0, 1), drawn at random over all classes."""
    label: str | None = None
    """Name or number of the class that goes."""

    def __post_init__(self) -> None:
        if (self.share is None) == (self.label is None):
            raise ConfigError("a forget set is a share or a class; give 10% or class:3")
        if self.share is not None and not 0 < self.share < 1:
            raise ConfigError(
                f"the share to forget is {100 * self.share:g}%; give one between 0% and 100%"
            )

    @classmethod
    def parse(cls, text: str) -> "ForgetSetting":
        """Read `10%` or `class:3` or `class:trouser`.

        Raises:
            ConfigError: it is neither.
        """
        if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", text):
            return cls(share=float(match[1]) / 100)
        if match := re.fullmatch(r"\s*class:(.+)", text):
            return cls(label=match[1].strip())
        raise ConfigError(
            f"{text!r} is no forget set; give a share such as 10%, or a class such as class:3"
        )

    def __str__(self) -> str:
        return f"class:{self.label}" if self.share is None else f"{100 * self.share:.12g}%"

    def class_index(self, classes: Sequence[str]) -> int | None:
        """The class that goes, None for a random share.

        Raises:
            ConfigError: there is no such class.
        """
        if self.label is None:
            return None
        if self.label in classes:
            return list(classes).index(self.label)
        if self.label.isdecimal() and int(self.label) < len(classes):
            return int(self.label)
        raise ConfigError(
            f"there is no class {self.label!r} among 0 to {len(classes) - 1}; "
            f"{nearest(self.label, list(classes))}"
        )

    def decided_by(self, classes: Sequence[str], seed: int) -> tuple[float, int]:
        """What decides the set on given data: where two are equal here, the same examples go.

        The seed of a class is none, and a class has a name and a number.

        Raises:
            ConfigError: there is no such class.
        """
        index = self.class_index(classes)
        return (0.0, index) if index is not None else (self.share or 0.0, seed)

    def choose(self, labels: Tensor, classes: Sequence[str], seed: int) -> tuple[Tensor, Tensor]:
        """Split the training data into what goes and what stays.

        A share is drawn by numpy's old generator, whose stream is frozen: seed s gives the set
        that SalUn's release draws for its `--seed` s + 1 on the same labels.

        Args:
            labels: (N,) of the training data.
            classes: their names.
            seed: from 0 to 2**32 - 1.

        Returns:
            Positions to forget and to retain, each ascending, int64.

        Raises:
            ConfigError: one of the two would be empty, or the seed is out of range.
        """
        gone = torch.zeros(len(labels), dtype=torch.bool)
        index = self.class_index(classes)
        if index is not None:
            gone = labels == index
        else:
            assert self.share is not None
            if not 0 <= seed < 2**32:
                raise ConfigError(f"the seed of the forget set is {seed}; give 0 to 2**32 - 1")
            count = int(self.share * len(labels) + 1e-6)  # 57 % of 100 are 57: floats make it less
            picks = np.random.RandomState(seed).choice(len(labels), count, replace=False)
            gone[torch.from_numpy(picks)] = True
        if not gone.any() or gone.all():
            raise ConfigError(
                f"forgetting {self} of {len(labels)} examples takes {int(gone.sum())} and leaves "
                f"{int((~gone).sum())}; both must be at least one"
            )
        return gone.nonzero()[:, 0], (~gone).nonzero()[:, 0]


def refuse_seed_of_class(forget: str) -> None:
    """Raise ConfigError where the forget set is a class, which no seed chooses."""
    if ForgetSetting.parse(forget).label is not None:
        raise ConfigError(
            f"--forget-seed is given and would not be read, as {forget} is a class and no random "
            "share; leave it out"
        )
