"""Before and after, side by side: a grid of prompts by seeds, as pictures and as plain data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from erasure.errors import ConfigError
from erasure.storage.files import atomic
from pipelines.drawing.layout.grid_layout import (
    AIR,
    BAND_GAP,
    BAR,
    HEADING,
    INNER,
    PAD,
    PROMPT,
    SEED,
    SMALL,
    TITLE,
    Block,
    Layout,
    Pair,
    Row,
    arranged,
    paginated,
)
from pipelines.drawing.layout.lettering import (
    clean,
    fit,
    line_height,
    width_of,
    wrap,
    write,
    write_lines,
)
from pipelines.drawing.layout.sheets import (
    ACCENT,
    FRAME,
    INK,
    LINE,
    MARGIN,
    MAX_HEIGHT,
    MAX_WIDTH,
    MUTED,
    PAPER,
    TINT,
    cell_sides,
    scaled,
)

_HEADINGS = ("before", "after")  # what the two pictures of a seed are called
_PILL = 27  # height of the label "erased"


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture as drawn."""

    prompt: str
    erased: bool
    seed: int
    heading: str
    caption: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom on its page, pixels, the last two exclusive."""


@dataclass(frozen=True, slots=True)
class Page:
    """One picture of a grid."""

    image: Image.Image
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """One page, or more where one would be too high to look at."""

    title: str
    pages: tuple[Page, ...]

    def files(self, path: Path) -> tuple[Path, ...]:
        """Where each page goes: `grid.png`, `grid-2.png`, ..."""
        more = (path.with_name(f"{path.stem}-{n + 2}{path.suffix}") for n in range(len(self.pages)))
        return (path, *more)[: len(self.pages)]

    def described(self, path: Path) -> dict[str, object]:
        """What `save(path)` draws, ready for JSON: each file and each picture in it."""
        files = [file.name for file in self.files(path)]
        drawn = zip(files, self.pages, strict=True)
        return {
            "title": self.title,
            "files": [
                {"file": f, "width": p.image.width, "height": p.image.height}
                for f, p in zip(files, self.pages, strict=True)
            ],
            "cells": [
                {
                    "file": file,
                    "prompt": cell.prompt,
                    "erased": cell.erased,
                    "seed": cell.seed,
                    "heading": cell.heading,
                    "caption": cell.caption,
                    "box": list(cell.box),
                }
                for file, page in drawn
                for cell in page.cells
            ],
        }

    def covered(self, unsafe: Callable[[Cell], bool]) -> "Grid":
        """The same with its unsafe pictures blurred, for whoever did not ask for them."""
        return Grid(self.title, tuple(_covered(page, unsafe) for page in self.pages))

    def save(self, path: Path) -> tuple[Path, ...]:
        """Write each page as PNG, each atomically; the files written, the first one `path`."""
        files = self.files(path)
        for file, page in zip(files, self.pages, strict=True):
            with atomic(file) as part:
                page.image.save(part, format="PNG")
        return files


def _covered(page: Page, unsafe: Callable[[Cell], bool]) -> Page:
    image = page.image.copy()
    for cell in filter(unsafe, page.cells):
        shown = image.crop(cell.box)
        image.paste(shown.filter(ImageFilter.GaussianBlur(max(shown.size) / 8)), cell.box[:2])
    return Page(image, page.cells)


def draw_grid(
    rows: Sequence[Row],
    *,
    title: str = "",
    max_width: int = MAX_WIDTH,
    max_height: int = MAX_HEIGHT,
) -> Grid:
    """Draw prompts by seeds, each seed before and after; erased prompts have a bar and a label.

    Seeds that do not fit `max_width` wrap into bands, each with all prompts. Large pictures shrink
    to 128 px until all fits one page of `max_height`; what then still does not fits more pages.

    Args:
        rows: in the order to draw; a seed that a row lacks is left blank.
        title: one or two lines above the grid.
        max_width: pixels; one seed is drawn whatever it takes.
        max_height: pixels; one row is drawn whatever it takes.

    Raises:
        ConfigError: there is no picture, or a prompt has a seed twice.
    """
    pictures = [image for row in rows for pair in row.pairs for image in (pair.before, pair.after)]
    if not pictures:
        raise ConfigError("there is no picture to draw; give at least one prompt and one seed")
    for row in rows:
        seeds = [pair.seed for pair in row.pairs]
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"{row.prompt!r} has a seed twice in {seeds}; give each seed once")
    for side in cell_sides(pictures):
        layout = arranged(rows, side, title, max_width)
        pages = paginated(rows, layout, max_height)
        if len(pages) == 1:
            break
    return Grid(title, tuple(_draw_page(page, layout) for page in pages))


def _draw_page(blocks: Sequence[Block], layout: Layout) -> Page:
    canvas = Image.new("RGB", (layout.width, layout.height(blocks)), PAPER)
    write_lines(ImageDraw.Draw(canvas), (MARGIN, MARGIN), layout.title, TITLE, colour=INK)
    cells: list[Cell] = []
    top = layout.top
    for block in blocks:
        _draw_headings(canvas, layout, top, block.seeds)
        top += HEADING
        for row in block.rows:
            _draw_prompt(canvas, layout, top, row)
            pairs = {pair.seed: pair for pair in row.pairs}
            for place, seed in enumerate(block.seeds):
                if seed in pairs:
                    corner = layout.corner(top, place)
                    cells += _draw_pair(canvas, layout, corner, row, pairs[seed])
            top += layout.row
        top += BAND_GAP
    return Page(canvas, tuple(cells))


def _draw_headings(canvas: Image.Image, layout: Layout, top: int, seeds: Sequence[int]) -> None:
    pen = ImageDraw.Draw(canvas)
    for place, seed in enumerate(seeds):
        left, _ = layout.corner(top, place)
        text = fit(f"seed {seed}", SEED, layout.pair)
        write(pen, (left + layout.pair // 2, top + 24), text, SEED, colour=INK, anchor="ms")
        pen.line((left, top + 34, left + layout.pair - 1, top + 34), FRAME)
        for n, heading in enumerate(_HEADINGS):
            middle = left + n * (layout.cell[0] + INNER) + layout.cell[0] // 2
            text = fit(heading, SMALL, layout.cell[0])
            write(pen, (middle, top + 54), text, SMALL, colour=MUTED, anchor="ms")
    bottom = top + HEADING - 1
    pen.line((MARGIN, bottom, layout.width - MARGIN - 1, bottom), LINE)


def _draw_prompt(canvas: Image.Image, layout: Layout, top: int, row: Row) -> None:
    """The row's ground, its prompt, the mark if it is erased, and the line below."""
    pen = ImageDraw.Draw(canvas)
    right, bottom = layout.width - MARGIN - 1, top + layout.row - 1
    if row.erased:
        pen.rectangle((MARGIN, top, right, bottom - 1), TINT)
        pen.rectangle((MARGIN, top, MARGIN + BAR - 1, bottom - 1), ACCENT)
    pen.line((MARGIN, bottom, right, bottom), LINE)
    step = line_height(PROMPT)
    room = layout.cell[1] - (_PILL + 7 if row.erased else 0)
    lines = wrap(row.prompt, PROMPT, layout.prompt, max(1, room // step))
    left = MARGIN + BAR + PAD
    used = max(1, len(lines)) * step + (_PILL + 7 if row.erased else 0)
    y = top + AIR + max(0, (layout.cell[1] - used) // 2)
    colour = INK if lines else MUTED
    write_lines(pen, (left, y), lines or ["(empty prompt)"], PROMPT, colour=colour)
    if row.erased:
        _draw_pill(canvas, (left, y + used - _PILL), "erased")


def _draw_pill(canvas: Image.Image, corner: tuple[int, int], text: str) -> None:
    """A label with round ends, drawn four times too large for the sake of smooth edges."""
    width = width_of(text, SMALL) + 22
    shape = Image.new("L", (4 * width, 4 * _PILL))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, *shape.size), 2 * _PILL, 255)
    canvas.paste(ACCENT, corner, shape.resize((width, _PILL), Image.Resampling.BOX))
    middle = corner[0] + width // 2, corner[1] + _PILL // 2
    write(ImageDraw.Draw(canvas), middle, text, SMALL, colour="white", anchor="mm")


def _draw_pair(
    canvas: Image.Image,
    layout: Layout,
    corner: tuple[int, int],
    row: Row,
    pair: Pair,
) -> list[Cell]:
    pen = ImageDraw.Draw(canvas)
    width, height = layout.cell
    cells = []
    sides = ((pair.before, pair.before_caption), (pair.after, pair.after_caption))
    for n, (image, caption) in enumerate(sides):
        shown = scaled(image, layout.side)
        x = corner[0] + n * (width + INNER)
        left, top = x + (width - shown.width) // 2, corner[1] + (height - shown.height) // 2
        box = (left, top, left + shown.width, top + shown.height)
        pen.rectangle((left - 1, top - 1, box[2], box[3]), outline=FRAME)
        canvas.paste(shown, (left, top))
        where = x + width // 2, corner[1] + height + layout.caption - 5
        write(pen, where, fit(caption, SMALL, width), SMALL, colour=MUTED, anchor="ms")
        cells.append(Cell(row.prompt, row.erased, pair.seed, _HEADINGS[n], clean(caption), box))
    return cells
