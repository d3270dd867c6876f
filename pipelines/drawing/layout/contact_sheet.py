"""One picture of many: a labelled sheet of rows and columns, such as styles by objects."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from erasure.errors import ConfigError
from pipelines.drawing.layout.lettering import fit, line_height, width_of, wrap, write, write_lines
from pipelines.drawing.layout.sheets import (
    FRAME,
    INK,
    LINE,
    MARGIN,
    MAX_WIDTH,
    PAPER,
    bands,
    cell_sides,
    scaled,
    scaled_size,
)

_GAP = 6
_LABEL, _SMALL_LABEL, _TITLE = 17, 13, 25
_HEADING_HEIGHT = 34
_WIDEST_LABEL = 180


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Pixels: where things stand."""

    side: int
    cell: tuple[int, int]
    label: int
    title: tuple[str, ...]
    rows: int
    columns: tuple[tuple[int, ...], ...]
    """Column numbers, band by band."""

    @property
    def top(self) -> int:
        return MARGIN + (len(self.title) * line_height(_TITLE) + 8 if self.title else -6)

    @property
    def left(self) -> int:
        return MARGIN + self.label + 14

    @property
    def band_height(self) -> int:
        return _HEADING_HEIGHT + self.rows * (self.cell[1] + _GAP) + 18

    @property
    def size(self) -> tuple[int, int]:
        width = self.left + len(self.columns[0]) * (self.cell[0] + _GAP) - _GAP + MARGIN
        return width, self.top + len(self.columns) * self.band_height - 18 - _GAP + MARGIN

    def corner(self, band: int, row: int, place: int) -> tuple[int, int]:
        """Left and top of a cell."""
        top = self.top + band * self.band_height + _HEADING_HEIGHT
        return self.left + place * (self.cell[0] + _GAP), top + row * (self.cell[1] + _GAP)


def contact_sheet(
    images: Sequence[Sequence[Image.Image | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str = "",
    side: int | None = None,
    max_width: int = MAX_WIDTH,
) -> Image.Image:
    """Draw `images[row][column]` under their labels; columns wrap into bands of `max_width` px.

    Args:
        images: one row per row label, in it one picture (or None for a gap) per column label.
        row_labels: any text, drawn on at most three lines at the left.
        column_labels: any text, drawn on one line above each column.
        title: drawn above the sheet.
        side: pixels of a picture's longest side; chosen by `cell_sides` if None.
        max_width: pixels of the whole sheet; one column is drawn whatever it takes.

    Raises:
        ConfigError: the labels do not fit the pictures, or there is no picture.
    """
    pictures = [picture for row in images for picture in row if picture is not None]
    columns = len(column_labels)
    if len(images) != len(row_labels) or any(len(row) != columns for row in images):
        raise ConfigError(
            f"{len(row_labels)} x {columns} labels for {len(images)} rows of "
            f"{sorted({len(row) for row in images})} pictures; give one label a row and a column"
        )
    if not pictures:
        raise ConfigError("there is no picture to put on the sheet; give at least one")
    natural = cell_sides(pictures)[0]
    sheet = _arranged(pictures, row_labels, columns, title, side or natural, max_width)
    canvas = Image.new("RGB", sheet.size, PAPER)
    pen = ImageDraw.Draw(canvas)
    write_lines(pen, (MARGIN, MARGIN), sheet.title, _TITLE, colour=INK)
    for number, band in enumerate(sheet.columns):
        _draw_labels(pen, sheet, number, row_labels, [column_labels[c] for c in band])
        for row, cells in enumerate(images):
            for place, column in enumerate(band):
                _draw_cell(canvas, pen, sheet, sheet.corner(number, row, place), cells[column])
    return canvas


def _arranged(
    pictures: Sequence[Image.Image],
    row_labels: Sequence[str],
    columns: int,
    title: str,
    side: int,
    max_width: int,
) -> _Sheet:
    sizes = [scaled_size(picture, side) for picture in pictures]
    cell = max(w for w, _ in sizes), max(h for _, h in sizes)
    label = min(_WIDEST_LABEL, max(width_of(fit(t, _LABEL, 999), _LABEL) for t in row_labels))
    room = max_width - 2 * MARGIN - label - 14 + _GAP
    wrapped = bands(range(columns), room // (cell[0] + _GAP))
    width = label + 14 + len(wrapped[0]) * (cell[0] + _GAP) - _GAP
    lines = tuple(wrap(title, _TITLE, width, 2))
    return _Sheet(side, cell, label, lines, len(row_labels), wrapped)


def _draw_labels(
    pen: ImageDraw.ImageDraw,
    sheet: _Sheet,
    band: int,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> None:
    width, height = sheet.cell
    size = _LABEL if width > 100 else _SMALL_LABEL
    for place, label in enumerate(column_labels):
        left, top = sheet.corner(band, 0, place)
        where = left + width // 2, top - 9
        write(pen, where, fit(label, size, width + _GAP - 2), size, colour=INK, anchor="ms")
    if band:
        y = sheet.corner(band, 0, 0)[1] - _HEADING_HEIGHT - 8
        pen.line((MARGIN, y, sheet.size[0] - MARGIN, y), LINE)
    for row, label in enumerate(row_labels):
        lines = wrap(label, _LABEL, sheet.label, 3)
        first = -((len(lines) - 1) * line_height(_LABEL) // 2)
        where = MARGIN + sheet.label, sheet.corner(band, row, 0)[1] + height // 2 + first
        write_lines(pen, where, lines, _LABEL, colour=INK, anchor="rm")


def _draw_cell(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    sheet: _Sheet,
    corner: tuple[int, int],
    picture: Image.Image | None,
) -> None:
    width, height = sheet.cell
    if picture is None:
        right, bottom = corner[0] + width - 1, corner[1] + height - 1
        pen.rectangle((*corner, right, bottom), outline=LINE)
        return
    shown = scaled(picture, sheet.side)
    left = corner[0] + (width - shown.width) // 2
    top = corner[1] + (height - shown.height) // 2
    pen.rectangle((left - 1, top - 1, left + shown.width, top + shown.height), outline=FRAME)
    canvas.paste(shown, (left, top))
