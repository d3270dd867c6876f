"""End a training when what it erases is no longer seen, and keep the state that harmed least."""

# S selected values of one weight.

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from erasure.architectures.encoders import PromptEncoder
from erasure.diffusion.denoiser import Denoiser
from erasure.setting_checks import require_counts
from erasure.storage.cache import content_key
from erasure.training.step import Step
from erasure.work import Work

_LOOKS: Final = "unseen.looks"
_VALUE: Final = "unseen.value."


@dataclass(frozen=True, slots=True)
class Look:
    """What a judge saw in fixed pictures that the network drew after some steps."""

    step: int
    """Steps before it; 0 is the model that the training began with."""
    recognised: int
    """Pictures of what is erased in which the judge recognises it."""
    shown: int
    """Pictures of what is erased."""
    neighbours: int
    """Pictures of what must go on working."""
    changed: int | None
    """Neighbours that the judge takes for something else than at the start; None where it names
    nothing of them."""
    distance: float
    """Mean difference of the neighbours' pixels from those at the start, in [0, 1]."""
    rejected: int | None = None
    """Pictures of what is erased in which the judge sees nothing that it knows: destroyed rather
    than forgotten. None where it cannot say so."""

    @property
    def unseen(self) -> bool:
        """Whether what is erased is recognised in no picture."""
        return not self.recognised

    @property
    def damage(self) -> tuple[int, float]:
        """What orders states by their harm: first by what the judge says of the neighbours."""
        return self.changed or 0, self.distance


@dataclass(frozen=True, slots=True)
class InTraining:
    """The network that trains, ready to draw what would come out if the training ended here."""

    network: nn.Module
    """The main component."""
    denoise: Denoiser
    text: PromptEncoder | None = None
    """The text encoders, where one of them trains; None where they are the checkpoint's."""


class Eye(Protocol):
    """Draws fixed pictures and lets a judge look at them."""

    def __call__(self, drawing: InTraining, step: int, /) -> Look:
        """The same for the same weights; on a team, the same in all processes."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UntilUnseen:
    """When to look, and when a training is over."""

    eye: Eye
    before: Look
    """What was seen before the first step."""
    every: int = 25
    """Steps between two looks."""
    times: int = 3
    """Looks in a row, without a picture of what is erased, that end the training."""
    cost: Work = field(default_factory=Work)
    """What one look takes."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """The judge, the pictures and all else that decides what is seen, for the record; plain JSON
    values."""

    def __post_init__(self) -> None:
        require_counts(self, "every", "times")

    @property
    def key(self) -> str:
        """Hash of all that decides when a run ends."""
        return content_key(**self.described)

    @property
    def described(self) -> dict[str, Any]:
        """What the record says of the rule."""
        return {**self.about, "every": self.every, "times": self.times}


@dataclass(frozen=True, slots=True)
class Curve:
    """What was seen in the course of a training."""

    looks: tuple[Look, ...]
    """In their order; the first is that before the training."""
    stopped: int | None = None
    """The step after which the training ended by it; None where it went to its end."""
    result: int | None = None
    """The step whose state is the result; None where that is the last."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        looks = [asdict(look) for look in self.looks]
        return {"stopped": self.stopped, "result": self.result, "looks": looks}


class Watched(Protocol):
    """What is watched: a trainer, whatever moves in it."""

    @property
    def done(self) -> int:
        """Steps taken."""
        ...

    def steps(self) -> Iterator[Step]:
        """Take the steps that remain."""
        ...

    def values(self) -> Mapping[str, Tensor]:
        """The values of what moves, as they would come out now."""
        ...

    def settle(self, values: Mapping[str, Tensor]) -> None:
        """Let these values come out in the place of the last ones."""
        ...

    def showing(self) -> AbstractContextManager[InTraining]:
        """Hold `values` in the network for a block."""
        ...


class Watching:
    """Looks at a training between its steps; a look moves no weight and draws no random number
    that the training would draw."""

    def __init__(self, rule: UntilUnseen, trainer: Watched) -> None:
        """Begin without a look.

        Args:
            rule: when to look and when to end.
            trainer: whose steps are taken, fresh or just resumed.
        """
        self._rule, self._trainer = rule, trainer
        self._looks: list[Look] = []
        self._best: dict[str, Tensor] = {}

    def steps(self) -> Iterator[Step]:
        """Take the trainer's steps until a look ends them.

        A look that is due is taken before the next step, so that a run that was cut between a step
        and its look takes it when it goes on.
        """
        self._look_where_due()
        if not self._ends():
            for step in self._trainer.steps():
                yield step
                self._look_where_due()
                if self._ends():
                    break
        if self._ends():
            self._trainer.settle(self._best)

    def curve(self) -> Curve:
        """All that was seen so far."""
        looks = (self._rule.before, *self._looks)
        if not self._ends():
            return Curve(looks)
        return Curve(looks, self._looks[-1].step, min(self._row, key=_damage).step)

    def tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs: the looks, (n, 7) float64, and the values kept, (S,) each."""
        rows = [_numbers(look) for look in self._looks]
        looks = torch.tensor(rows, dtype=torch.float64).reshape(-1, 7)
        return {_LOOKS: looks} | {f"{_VALUE}{name}": value for name, value in self._best.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where `tensors` was taken.

        Raises:
            KeyError, ValueError: they are not of such a run.
        """
        self._looks = [_look(row) for row in tensors[_LOOKS].tolist()]
        names = self._trainer.values() if self._row else ()
        self._best = {name: tensors[f"{_VALUE}{name}"] for name in names}

    @property
    def _row(self) -> Sequence[Look]:
        """The last looks without a break that saw nothing."""
        count = 0
        for look in reversed(self._looks):
            if not look.unseen:
                break
            count += 1
        return self._looks[len(self._looks) - count :]

    def _ends(self) -> bool:
        return len(self._row) >= self._rule.times

    def _look_where_due(self) -> None:
        done = self._trainer.done
        last = self._looks[-1].step if self._looks else 0
        if self._ends() or not done or done % self._rule.every or last == done:
            return
        with self._trainer.showing() as drawing:
            look = self._rule.eye(drawing, done)
        self._looks.append(look)
        if not look.unseen:
            self._best = {}
        elif min(self._row, key=_damage) is look:  # of equal ones, the earlier stays
            values = self._trainer.values()
            self._best = {k: v.detach().to("cpu", copy=True) for k, v in values.items()}


def _damage(look: Look) -> tuple[int, float]:
    return look.damage


def _numbers(look: Look) -> list[float]:
    values = asdict(look).values()
    return [math.nan if value is None else float(value) for value in values]


def _look(row: Sequence[float]) -> Look:
    step, recognised, shown, neighbours, changed, distance, rejected = row
    return Look(
        int(step), int(recognised), int(shown), int(neighbours), _whole(changed), distance,
        _whole(rejected),
    )  # fmt: skip


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
