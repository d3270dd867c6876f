"""What a cell of the benchmark left in its folder, read when a column asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from eval.errors import EvalError
from pipelines.audit.outcome.results import FILE_NAME as AUDIT_FILE
from pipelines.bench.cell import ERASE, EVALUATED, Cell
from pipelines.bench.extras import AUDIT, DISTANCE
from pipelines.bench.making import EVALUATION, NEIGHBOURS
from pipelines.distances.result import FILE_NAME as DISTANCE_FILE
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_file import FILE_NAME as RESULTS_FILE
from pipelines.evaluation.outcome.results_file import read_results
from pipelines.json_values import object_in, object_of
from pipelines.run.run_folder import RECORD

_LISTS: Final = {DISTANCE: "entries", AUDIT: "attacks"}
"""Part -> the key of its file under which the list of its values stands."""


@dataclass(frozen=True)
class Sources:
    """The files of a cell, read when a column asks for them."""

    cell: Cell
    folder: Path

    @cached_property
    def results(self) -> Results | None:
        """The evaluation."""
        return self._results(EVALUATION)

    @cached_property
    def neighbours(self) -> Results | None:
        """The pictures of the nearest labels."""
        return self._results(NEIGHBOURS) if NEIGHBOURS in self.cell.parts else None

    @cached_property
    def work(self) -> Mapping[str, Any]:
        """What the erasure had computed; empty where nothing was erased."""
        return object_in(object_in(self.record, "config"), "work")

    @cached_property
    def record(self) -> Mapping[str, Any]:
        """The record of the erasure; empty where nothing was erased."""
        return object_of(self.folder / RECORD) or {}

    @cached_property
    def distance(self) -> Mapping[str, Any]:
        """The distances to the retrained model; empty where none were measured."""
        return self.json(DISTANCE, DISTANCE_FILE)

    @cached_property
    def audit(self) -> Mapping[str, Any]:
        """The audit; empty where nothing was attacked."""
        return self.json(AUDIT, AUDIT_FILE)

    @cached_property
    def damage(self) -> Mapping[str, str]:
        """Part -> why its columns are empty although it was made: its file cannot be read."""
        if self.cell.failure:
            return {}
        files = {
            EVALUATED: (f"{EVALUATION}/{RESULTS_FILE}", self.results is not None),
            NEIGHBOURS: (f"{NEIGHBOURS}/{RESULTS_FILE}", self.neighbours is not None),
            ERASE: (RECORD, bool(self.record)),
            DISTANCE: (f"{DISTANCE}/{DISTANCE_FILE}", self._has(DISTANCE, self.distance)),
            AUDIT: (f"{AUDIT}/{AUDIT_FILE}", self._has(AUDIT, self.audit)),
        }
        made = {EVALUATED, *self.cell.parts, *([ERASE] if self.cell.kind == "method" else [])}
        return {
            part: f"{file} of {self.folder.name} is missing or damaged, so its columns are empty; "
            "the same command makes it again"
            for part, (file, whole) in files.items()
            if part in made and not whole
        }

    def json(self, *path: str) -> Mapping[str, Any]:
        """Another file of the cell; empty where it is not there."""
        return object_of(self.folder.joinpath(*path)) or {}

    def _has(self, part: str, values: Mapping[str, Any]) -> bool:
        """Whether a file holds the list that its columns are read from."""
        return isinstance(values.get(_LISTS[part]), list)

    def _results(self, name: str) -> Results | None:
        try:
            return read_results(self.folder / name)
        except EvalError:
            return None
