"""Compare runs: from the folders that were given to all that the page and the table show."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from erasure.storage.disk import disk_errors
from erasure.storage.files import write_json
from pipelines.comparison.attacks import AttackGroup, attack_groups
from pipelines.comparison.blocks import Blocks, blocks_of
from pipelines.comparison.heat import HeatMaps, heat_maps
from pipelines.comparison.protocols import remarks, require_one_protocol
from pipelines.comparison.side_by_side import SideBySide, side_by_side
from pipelines.comparison.sources import Compared, gather
from pipelines.comparison.table import ComparedRuns, table_of, write_csv

TABLE: Final = "compare.csv"
VALUES: Final = "compare.json"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side, as far as their folders tell."""

    rows: tuple[Compared, ...]
    """In the order in which they were given."""
    table: ComparedRuns


@dataclass(frozen=True, slots=True)
class Details:
    """What the page shows beside the table; counting it opens models and reads pictures."""

    heat: tuple[HeatMaps, ...]
    """Concept by concept what was recognised, a value a head of the judge."""
    blocks: tuple[tuple[str, Blocks], ...]
    """Name of a run -> where its mask lies and where weights moved."""
    attacks: tuple[AttackGroup, ...]
    pictures: SideBySide | None


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read runs, evaluations and audits, and put their figures into one table.

    ```python
    from pathlib import Path

    from pipelines.comparison.comparing import compare_runs
    from pipelines.comparison.page.page import write_comparison

    compared = compare_runs([Path("out/church"), Path("out/dog")])
    print(compared.table.rows[0].cells["ua"].after)
    write_comparison(compared, Path("out/compared"))
    ```

    Args:
        paths: two or more folders: of runs, of evaluations (or their `results.json`) or of audits.
            What lies in a run or beside it under the names `evaluation`, `NAME.evaluation`,
            `audit`, `NAME.audit` and `NAME.audits` is taken along.

    Returns:
        A row a run. One without an evaluation has a row without figures, and a note that says so.

    Raises:
        EvalError: fewer than two, one cannot be read, or two evaluations are of different
            protocols (suite, prompts, seeds, judges, drawing): the field is named with both values.
        CheckpointError: the record of a run is damaged.
    """
    rows = gather(paths)
    require_one_protocol([row.evaluation for row in rows if row.evaluation is not None])
    return Comparison(rows, table_of(rows, list(remarks(rows))))


def details_of(comparison: Comparison) -> Details:
    """Count what the table leaves out; models are opened, and nothing is downloaded."""
    rows = comparison.rows
    return Details(
        heat=tuple(heat_maps(rows)),
        blocks=tuple((row.name, blocks_of(row.run)) for row in rows if row.run is not None),
        attacks=tuple(attack_groups(rows)),
        pictures=side_by_side(rows),
    )


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write `compare.csv` and `compare.json`, each whole or not at all.

    Raises:
        DiskError: the disk refuses.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_csv(comparison.table, folder / TABLE)
    write_json(folder / VALUES, comparison.table.to_dict())
