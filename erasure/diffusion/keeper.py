"""Keeping a training on disk while it runs, and going on with one that was cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from erasure.memory import is_out_of_memory
from erasure.storage.state_file import is_kept, settle
from erasure.team import Team, require_same
from erasure.training.state_tensors import Beside
from erasure.training.step import Step
from erasure.training.trainer import MaskedTrainer
from erasure.training.training_state import load_state, save_state


@dataclass(slots=True)
class Keeper:
    """The state file of one run; without a path, nothing is kept."""

    path: Path | None = None
    every: int = 50
    """Steps between two saves."""
    run: str = ""
    """Hash of everything that makes two runs the same run."""
    on_ready: Callable[[], None] = lambda: None
    """Called before a training looks for its states: nothing in its input can be refused any
    more."""
    _trainer: MaskedTrainer[Any] | None = field(default=None, init=False)
    _beside: Sequence[Beside] = field(default=(), init=False)
    _writes: bool = field(default=True, init=False)

    def begin(
        self, trainer: MaskedTrainer[Any], team: Team, beside: Sequence[Beside] = ()
    ) -> Iterator[Step]:
        """Put a fresh trainer where the run was cut, and what is remembered beside it, and yield
        the steps that it took before.

        Raises:
            TrainingError: the states are damaged or of another run, or the processes of the team
                are not at the same step.
        """
        self.on_ready()
        history: Sequence[Step] = ()
        self._beside = beside
        used = self.path
        if self.path is not None and is_kept(self.path):
            resumed = load_state(self.path, trainer, self.run, beside)
            history, used = resumed.history, resumed.file
        require_same(team, trainer.done, "saved state")
        self._writes = team.rank == 0
        if self.path is not None and used is not None and self._writes:
            settle(self.path, used)  # all have read it
        yield from history
        self._trainer = trainer

    def after(self, history: list[Step]) -> None:
        """Save when it is time; called between two steps, where the state is whole."""
        if self._trainer is not None and self._trainer.done % self.every == 0:
            self.save(history)

    def save(self, history: list[Step]) -> None:
        """Save now, where a step has been taken."""
        trainer = self._trainer
        if self.path is not None and trainer is not None and trainer.done and self._writes:
            save_state(self.path, trainer, history, self.run, self._beside)

    def rescue(self, history: list[Step]) -> None:
        """Save after a failure, if the memory suffices."""
        try:
            self.save(history)
        except (MemoryError, RuntimeError) as full:
            if not is_out_of_memory(full):
                raise

    def end(self) -> None:
        """Let go of the trainer; the files stay until the result is safe."""
        self._trainer, self._beside = None, ()
