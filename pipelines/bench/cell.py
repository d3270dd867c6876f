"""One cell of a benchmark: a row, a concept and a seed, in a folder of its own."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from erasure.storage.files import write_json
from erasure.storage.regular_files import require_regular
from erasure.storage.tables import read_record, to_table
from pipelines.bench.rows import Kind, Row
from pipelines.json_values import object_of

log = logging.getLogger(__name__)
FORMAT: Final = "diffusion-erasure bench cell 1"
FILE_NAME: Final = "cell.json"
ERASE: Final = "erase"
"""The part whose failure leaves a cell without any value."""
EVALUATED: Final = "evaluate"
"""The part that draws and judges; without it a cell has no value either."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which cell, and where."""

    row: Row
    concept: str
    seed: int
    key: str
    """Hash of all that decides the result."""
    root: Path
    """The folder of all cells."""

    @property
    def folder(self) -> Path:
        """The folder of this cell; a name that a person can read, and the hash."""
        words = (self.row.name, self.row.weights, str(self.seed) if self.row.mask else "")
        return self.root / _slug(self.concept) / f"{_slug(*words)}-{self.key[:12]}"

    @property
    def said(self) -> str:
        """The cell in words, for progress."""
        seed = f", seed {self.seed}" if self.row.mask else ""
        return f"{self.concept}: {self.row.label}{seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What was noted of a cell when it was made; the rest lies in the files beside it."""

    key: str
    kind: Kind
    row: str
    mask: str = ""
    concept: str
    seed: int
    recipe: str = ""
    """The recipe of the erasure as others may see it, as TOML."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage of the erasure -> wall time."""
    processor: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds of a processor."""
    whole_seconds: float = 0.0
    """Wall time of all that was done for the cell, drawing and judging too."""
    peak: int | None = None
    """Bytes of memory while erasing; None where the system does not say."""
    device: str = "cpu"
    exported: int | None = None
    """Bytes of the patch; None where nothing can be exported."""
    parts: tuple[str, ...] = ()
    """What was done: erase, evaluate, neighbours, distance, audit."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Part -> why it has no values."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def failure(self) -> str:
        """Why the cell has no values; empty where it has some."""
        return self.errors.get(ERASE) or self.errors.get(EVALUATED) or ""

    def write(self, folder: Path) -> None:
        """Write `cell.json`, which makes the cell done; DiskError where the disk refuses."""
        values = {"format": FORMAT, **to_table(self)}
        write_json(folder / FILE_NAME, values, indent=1)


def read_cell(place: Place) -> Cell | None:
    """The cell where it is done; None where it is not, or its file is damaged."""
    path = place.folder / FILE_NAME
    require_regular(path, ConfigError)
    values = object_of(path)
    if values is None:
        return None
    if values.get("format") != FORMAT or values.get("key") != place.key:
        log.warning("%s is of another cell and is made again", path)
        return None
    try:
        cell: Cell = read_record(Cell, values, "cell", ConfigError)
    except ConfigError as err:
        log.warning("%s is damaged (%s) and is made again", path, err)
        return None
    return cell


def _slug(*words: str) -> str:
    """A name that any file system takes."""
    text = "-".join(word for word in words if word)
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60].lower() or "cell"
