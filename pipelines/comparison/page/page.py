"""The page of a comparison: one file that holds its pictures, styles and script, no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from pipelines.comparison.attacks import lines_of
from pipelines.comparison.comparing import TABLE, VALUES, Comparison, details_of, write_tables
from pipelines.comparison.page.headline import headline
from pipelines.comparison.table import Cell, Row, Unit
from pipelines.evaluation.report.report_format import interval, measure, signed
from pipelines.evaluation.report.report_page import asset, rendered, write_html
from pipelines.run.run_folder import require_no_part

FILE_NAME: Final = "compare.html"
_HERE: Final = Path(__file__).parent
_STYLES: Final = 6
"""Lines of a chart that differ in colour and dashes; further ones begin again."""


def page_of(comparison: Comparison) -> str:
    """The page as text.

    The figures of the table stand in it without a script; that sorts, filters and hides.
    """
    details = details_of(comparison)
    style = "\n".join((asset("report.css"), asset("compare.css", _HERE)))
    script = asset("compare.js", _HERE)
    return rendered(
        "compare.html.j2",
        _HERE / "templates",
        style=style,
        script=script,
        table=comparison.table,
        headline=headline(comparison.table),
        details=details,
        words=_words,
        choices=_choices,
        sortable=_sortable,
        lines_of=lines_of,
        style_of=lambda index: f"line-{index % _STYLES}",
    )


def require_room(folder: Path, *, force: bool) -> None:
    """Refuse to replace an older comparison without being asked to.

    Raises:
        ConfigError: there is one, and `force` is not given; a file is in the way; or the folder is
            of a model or of a part of one.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give the path of a folder")
    require_no_part(folder, "comparison")
    if (folder / "model_index.json").is_file():
        raise ConfigError(
            f"{folder} is the folder of a model; give another --out, such as {folder}.comparison"
        )
    old = next((folder / n for n in (FILE_NAME, TABLE, VALUES) if (folder / n).exists()), None)
    if old is not None and not force:
        raise ConfigError(f"{old} exists; give another --out, or --force to replace it")


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write `compare.html`, `compare.csv` and `compare.json`.

    Returns:
        The path of the page.

    Raises:
        DiskError: the disk refuses.
    """
    page = page_of(comparison)
    write_tables(comparison, folder)
    return write_html(page, folder / FILE_NAME)


def _choices(rows: Sequence[Row], key: str) -> list[str]:
    """What a column may be filtered by, as its cells have it."""
    texts: Mapping[str, Sequence[str | None]] = {
        "erased": [", ".join(row.erased) for row in rows],
        "method": [row.method for row in rows],
    }
    return sorted({text for text in texts[key] if text})


def _words(cell: Cell, unit: Unit) -> tuple[str, list[str]]:
    """A figure, and what stands below it in small: interval, before, change and its interval."""
    below = []
    if cell.low is not None and cell.high is not None:
        shares = interval(cell.low, cell.high)
        values = f"{measure(cell.low, unit)} to {measure(cell.high, unit)}"
        below.append(shares if unit == "share" else values)
    if cell.before is not None:
        below.append(f"before {measure(cell.before, unit)}")
    if (change := cell.difference) is not None:
        below.append(f"{signed(change.value)} points")
        below.append(f"{signed(change.low)} to {signed(change.high)}")
    return measure(cell.after, unit), below


def _sortable(value: float | None) -> str:
    """A number as the script compares it; nothing for what is not there, which comes last."""
    return "" if value is None or value != value else repr(float(value))
