"""What the folder of a run says of itself, as far as runs are compared by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.verify_records import read_record
from erasure.errors import ConfigError
from eval.errors import EvalError
from pipelines.configs.recipe_files import load_toml
from pipelines.json_values import finite_number
from pipelines.run.run_folder import MODEL, RECIPE, RECORD


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One finished run of `erasure erase`."""

    folder: Path
    edits: tuple[EditRecord, ...]
    """Oldest first; at least one."""
    seconds: float | None
    """Wall time of all stages; None where the record does not say."""

    @property
    def last(self) -> EditRecord:
        """The newest edit, which is the run's own."""
        return self.edits[-1]

    @property
    def concepts(self) -> tuple[str, ...]:
        """Everything that was erased, each once."""
        return tuple(dict.fromkeys(name for edit in self.edits for name in edit.each))

    @property
    def method(self) -> str:
        """How the newest edit was made; empty where its settings do not say."""
        return str(self.last.config.get("method", ""))

    @property
    def main_edits(self) -> tuple[EditRecord, ...]:
        """Those of the main component; none where text encoders alone were edited."""
        mains = {architecture.main for architecture in ARCHITECTURES.values()}
        return tuple(edit for edit in self.edits if edit.component in mains)

    def made(self, hashes: Mapping[str, str]) -> bool:
        """Whether these are the hashes of its weights, component by component."""
        results = {edit.component: edit.result_hash for edit in self.edits}
        return all(hashes.get(component) == own for component, own in results.items())


def run_of(path: Path) -> RunFacts | None:
    """Read the run in a folder, or around the folder `model` of a run.

    Returns:
        None where there is no record of a run.

    Raises:
        CheckpointError: the record is damaged.
        EvalError: it tells of no erasure.
    """
    in_run = path.name == MODEL and (path.parent / RECORD).is_file()
    folder = path.parent if in_run else path
    record = read_record(folder)
    if record is None:
        return None
    edits = Provenance.from_dict(record, str(folder / RECORD)).edits
    if not edits:
        raise EvalError(
            f"{folder / RECORD} tells of no erasure, so there is nothing to compare; give the "
            "folder of a run"
        )
    return RunFacts(folder, edits, _seconds(record.get("seconds")))


def base_of(folder: Path) -> str:
    """The model that a run began with, as its recipe has it; empty where there is none, or a text
    that no model can be called."""
    try:
        recipe = load_toml(folder / RECIPE)
    except ConfigError:
        return ""
    model = recipe.get("model", "")
    return model if isinstance(model, str) and "\0" not in model else ""


def _seconds(stages: Any) -> float | None:  # noqa: ANN401
    values = [finite_number(value) for value in stages.values()] if isinstance(stages, dict) else []
    known = [value for value in values if value is not None]
    return finite_number(sum(known)) if values and len(known) == len(values) else None
