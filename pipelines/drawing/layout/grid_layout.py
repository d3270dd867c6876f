"""Where things stand in a grid of prompts by seeds: sizes, bands of seeds, pages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image

from pipelines.drawing.layout.lettering import clean, line_height, width_of, wrap
from pipelines.drawing.layout.sheets import MARGIN, bands, scaled_size

# Pixels. First the sizes of type.
PROMPT: Final = 19
SEED: Final = 18
SMALL: Final = 15
TITLE: Final = 25
NARROWEST_PROMPT: Final = 140
WIDEST_PROMPT: Final = 250
BAR: Final = 5  # at the left of an erased row
PAD: Final = 14  # between the bar, its text and the pictures
INNER: Final = 6  # between before and after
OUTER: Final = 22  # between seeds
AIR: Final = 10  # above and below the pictures of a row
HEADING: Final = 66
BAND_GAP: Final = 26


@dataclass(frozen=True, slots=True)
class Pair:
    """One seed's pictures, before and after erasing."""

    seed: int
    before: Image.Image
    after: Image.Image
    before_caption: str = ""
    """What a classifier says, such as `church 0.99`; drawn below the picture."""
    after_caption: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt's pictures."""

    prompt: str
    erased: bool
    """Whether the prompt names what was erased; such rows are marked."""
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows under one heading of seeds."""

    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Pixels, the same on every page."""

    side: int
    """The longest side of a picture."""
    cell: tuple[int, int]
    """Width and height that the largest of the scaled pictures takes."""
    prompt: int
    """Width of the prompts' column."""
    caption: int
    """Height of the captions; 0 where there are none."""
    title: tuple[str, ...]
    seeds: tuple[tuple[int, ...], ...]
    """Seeds, band by band; no band has more than the first."""

    @property
    def left(self) -> int:
        """Where the pictures begin."""
        return MARGIN + BAR + PAD + self.prompt + PAD

    @property
    def pair(self) -> int:
        """Width of before and after together."""
        return 2 * self.cell[0] + INNER

    @property
    def row(self) -> int:
        """Height of a row."""
        return self.cell[1] + self.caption + 2 * AIR

    @property
    def top(self) -> int:
        """Where the first band's headings begin."""
        return MARGIN + (len(self.title) * line_height(TITLE) + 8 if self.title else -10)

    @property
    def width(self) -> int:
        """Width of a page."""
        return self.left + len(self.seeds[0]) * (self.pair + OUTER) - OUTER + PAD + MARGIN

    def height(self, blocks: Sequence[Block]) -> int:
        """Height of a page of these blocks."""
        rows = sum(len(block.rows) for block in blocks)
        gaps = (len(blocks) - 1) * BAND_GAP
        return self.top + len(blocks) * HEADING + rows * self.row + gaps + MARGIN

    def corner(self, top: int, place: int) -> tuple[int, int]:
        """Left and top of the pictures of a band's seed number `place`, in the row at `top`."""
        return self.left + place * (self.pair + OUTER), top + AIR


def arranged(rows: Sequence[Row], side: int, title: str, max_width: int) -> Layout:
    """Find room for every prompt, seed and caption, with pictures of `side` pixels."""
    pairs = [pair for row in rows for pair in row.pairs]
    sizes = [scaled_size(image, side) for pair in pairs for image in (pair.before, pair.after)]
    widest = max(width_of(clean(row.prompt)[:WIDEST_PROMPT], PROMPT) for row in rows)
    captions = any(clean(pair.before_caption + pair.after_caption) for pair in pairs)
    seeds = tuple(dict.fromkeys(pair.seed for pair in pairs))
    unwrapped = Layout(
        side=side,
        cell=(max(width for width, _ in sizes), max(height for _, height in sizes)),
        prompt=min(max(NARROWEST_PROMPT, widest), WIDEST_PROMPT),
        caption=line_height(SMALL) + 5 if captions else 0,
        title=(),
        seeds=(seeds,),
    )
    room = max_width - unwrapped.left - PAD - MARGIN + OUTER
    wrapped = replace(unwrapped, seeds=bands(seeds, room // (unwrapped.pair + OUTER)))
    return replace(wrapped, title=tuple(wrap(title, TITLE, wrapped.width - 2 * MARGIN, 2)))


def paginated(rows: Sequence[Row], layout: Layout, max_height: int) -> list[list[Block]]:
    """Fill pages of at most `max_height`, or of one row, with each band's rows in turn."""
    pages: list[list[Block]] = [[]]
    for seeds in layout.seeds:
        for n, row in enumerate(rows):
            page = pages[-1]
            alone = Block(seeds, (row,))
            longer = [*page[:-1], Block(seeds, (*page[-1].rows, row))] if n else [*page, alone]
            if page and layout.height(longer) > max_height:
                pages.append([alone])
            else:
                pages[-1] = longer
    return pages
