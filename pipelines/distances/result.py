"""What a measurement of distances writes and prints: distance.json, and a table of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.storage.files import write_json
from erasure.storage.tables import fields_to_table
from pipelines.distances.entries import Entry, Reading
from pipelines.distances.models import Role
from pipelines.result_file import read_result_file

FORMAT: Final = "diffusion-erasure distances 1"
FILE_NAME: Final = "distance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """All that was measured; `docs/distance.md` describes each key of the file."""

    concept: str
    models: Mapping[Role, Mapping[str, Any]]
    twin_of: str
    """`retrained` or `base`: of which model the twin is another seed."""
    rows: tuple[Role, ...]
    """The models that are held against the retrained one."""
    pictures: str
    """Where the held-out pictures come from."""
    judge: Mapping[str, Any]
    entries: tuple[Entry, ...]
    not_measured: tuple[str, ...]
    """What is missing and why, a sentence each."""
    notes: tuple[str, ...]
    protocol: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        return {"format": FORMAT, **fields_to_table(self)}


def write_distances(result: Distances, folder: Path) -> Path:
    """Write `distance.json`; DiskError where the disk refuses."""
    path = folder / FILE_NAME
    write_json(path, result.to_dict())
    return path


def read_distances(file: Path) -> Distances:
    """Read what `write_distances` wrote; a number that was infinite is None.

    Raises:
        EvalError: it is not there, damaged, or of another format.
    """
    result: Distances = read_result_file(
        Distances,
        file,
        (FORMAT,),
        name="distances",
        command="erasure distance --out",
        again="measure again",
    )
    return result


def table_of(result: Distances) -> list[str]:
    """Lines of text: an entry a row, a model a column, in units with 95 % intervals."""
    return [*_aligned(rows_of(result)), *notes_of(result)]


def rows_of(result: Distances) -> list[list[str]]:
    """The cells of the table, its header first."""
    rows = [["distance to the retrained model", "unit", *result.rows]]
    for entry in result.entries:
        if entry.headline:
            cells = [_cell(entry.readings.get(role), entry) for role in result.rows]
            unit = "-" if entry.unit is None else f"{entry.unit:.3g}{'*' if entry.floored else ''}"
            rows.append([f"{entry.title}: {entry.place}", unit, *cells])
    return rows


def notes_of(result: Distances) -> list[str]:
    """What to know when the table is read, a line each."""
    lines = [
        f"In units of the distance of two seeds, {_pair(result)} (1: cannot be told apart); D7 and "
        "D8 with their own values."
    ]
    if any(entry.floored and entry.headline for entry in result.entries):
        lines.append(
            "* two seeds came out nearer than chance lets one see; that chance is the unit"
        )
    lines += [f"not measured: {sentence}" for sentence in result.not_measured]
    lines += [f"note: {sentence}" for sentence in result.notes]
    return lines


def _pair(result: Distances) -> str:
    return "retrained and twin" if result.twin_of == "retrained" else "base and twin"


def _cell(reading: Reading | None, entry: Entry) -> str:
    if reading is None or reading.value is None:
        return "-"
    if entry.unit is None or reading.units is None:
        return f"{reading.value:.3g}"
    value = f"{reading.value:.2f} = " if entry.name == "D7" else ""
    interval = ""
    if reading.low is not None and reading.high is not None:
        interval = f" ({_short(reading.low)} to {_short(reading.high)})"
    state = f" {reading.state}" if reading.state else ""
    return f"{value}{_short(reading.units)}{interval}{state}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
