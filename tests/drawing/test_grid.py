"""The before-and-after grid and the contact sheet: what is drawn, where, and that it fits."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from erasure.errors import ConfigError
from pipelines.drawing.layout.contact_sheet import contact_sheet
from pipelines.drawing.layout.grid import Grid, Pair, Row, draw_grid
from pipelines.drawing.layout.lettering import fit, line_height, width_of, wrap
from pipelines.drawing.layout.sheets import ACCENT, MARGIN, bands, cell_sides, scaled

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=120)


def picture(number: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture that no other number has."""
    image = Image.new("RGB", size, (number % 256, number // 256, 90))
    image.putpixel((0, 0), (255, 255, 0))
    return image


def row(
    prompt: str,
    seeds: int,
    *,
    erased: bool = False,
    size: tuple[int, int] = (64, 64),
    first: int = 0,
) -> Row:
    pairs = (
        Pair(seed, picture(first + 2 * seed, size), picture(first + 2 * seed + 1, size))
        for seed in range(seeds)
    )
    return Row(prompt, erased, tuple(pairs))


def test_a_covered_grid_blurs_what_was_erased_and_nothing_else() -> None:
    stripes = Image.effect_noise((64, 64), 90).convert("RGB")
    pair = (Pair(0, stripes, stripes),)
    grid = draw_grid([Row("a nude", True, pair), Row("a dog", False, pair)])
    (plain,), (covered,) = grid.pages, grid.covered(lambda cell: cell.erased).pages
    for cell in plain.cells:
        one, other = (np.asarray(page.image.crop(cell.box), float) for page in (plain, covered))
        assert bool(other.std() < one.std() / 4) == cell.erased
        assert np.array_equal(one, other) == (not cell.erased)


def box_sizes(grid: Grid) -> set[tuple[int, int]]:
    boxes = (cell.box for page in grid.pages for cell in page.cells)
    return {(right - left, bottom - top) for left, top, right, bottom in boxes}


def test_every_picture_stands_in_its_box() -> None:
    rows = [row("a church", 3, erased=True), row("a dog", 3, first=6)]
    (page,) = draw_grid(rows, title="Church").pages
    assert len(page.cells) == 12
    for cell in page.cells:
        (shown,) = (r for r in rows if r.prompt == cell.prompt)
        pair = shown.pairs[cell.seed]
        source = pair.before if cell.heading == "before" else pair.after
        assert page.image.crop(cell.box).tobytes() == scaled(source, 128).tobytes()
        assert cell.erased == shown.erased


def test_only_erased_rows_have_a_bar() -> None:
    rows = [row("a dog", 1), row("a church", 1, erased=True), row("a cat", 1)]
    (page,) = draw_grid(rows).pages
    for cell in page.cells:
        middle = (cell.box[1] + cell.box[3]) // 2
        marked = page.image.getpixel((MARGIN, middle)) == ImageColor.getrgb(ACCENT)
        assert marked == cell.erased == (cell.prompt == "a church")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((64, 64), (128, 128)),
        ((48, 48), (144, 144)),
        ((100, 50), (200, 100)),
        ((200, 200), (200, 200)),
        ((512, 512), (256, 256)),
        ((512, 768), (170, 256)),
        ((1, 1), (128, 128)),
    ],
)
def test_pictures_are_shown_at_a_size_to_look_at(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert box_sizes(draw_grid([row("a dog", 1, size=size)])) == {shown}


def test_large_pictures_shrink_to_fit_one_page() -> None:
    rows = [row(f"prompt {n}", 1, size=(512, 512)) for n in range(6)]
    grid = draw_grid(rows, max_height=1200)
    assert [page.image.height <= 1200 for page in grid.pages] == [True]
    assert box_sizes(grid) == {(160, 160)}


@given(
    prompts=st.integers(1, 4),
    seeds=st.integers(1, 6),
    max_width=st.sampled_from([1, 700, 2000]),
    max_height=st.sampled_from([1, 420, 900]),
)
@settings(max_examples=15)
def test_whatever_wraps_is_drawn_once_and_nothing_overlaps(
    prompts: int, seeds: int, max_width: int, max_height: int
) -> None:
    rows = [row(f"prompt {n}", seeds, erased=n == 0, size=(8, 8)) for n in range(prompts)]
    grid = draw_grid(rows, max_width=max_width, max_height=max_height)
    drawn = [(c.prompt, c.seed, c.heading) for page in grid.pages for c in page.cells]
    assert len(drawn) == len(set(drawn)) == prompts * seeds * 2
    for page in grid.pages:
        per_line = Counter(cell.box[1] for cell in page.cells)
        assert page.image.width <= max_width or set(per_line.values()) == {2}
        assert page.image.height <= max_height or len(per_line) == 1
        covered = Image.new("L", page.image.size)
        for cell in page.cells:
            assert 0 <= cell.box[0] < cell.box[2] <= page.image.width
            assert 0 <= cell.box[1] < cell.box[3] <= page.image.height
            assert covered.crop(cell.box).getextrema() == (0, 0)
            covered.paste(1, cell.box)


def test_a_seed_that_one_prompt_lacks_is_left_blank() -> None:
    (page,) = draw_grid([row("a dog", 2), row("a cat", 1), row("a cow", 0)]).pages
    assert [(c.prompt, c.seed) for c in page.cells[::2]] == [
        ("a dog", 0),
        ("a dog", 1),
        ("a cat", 0),
    ]


def test_captions_make_room_for_themselves() -> None:
    pair = Pair(0, picture(0), picture(1), "church 0.99", "castle 0.87 " * 20)
    (page,) = draw_grid([Row("a church", True, (pair,))]).pages
    (bare,) = draw_grid([row("a church", 1, erased=True)]).pages
    assert page.image.height > bare.image.height
    assert page.image.width == bare.image.width
    assert page.cells[0].caption == "church 0.99"


@given(prompt=ANY_TEXT)
@settings(max_examples=15)
def test_no_prompt_breaks_the_layout(prompt: str) -> None:
    (page,) = draw_grid([row(prompt, 1, erased=True), row("a dog " * 99, 1)]).pages
    (usual,) = draw_grid([row("a church", 1, erased=True), row("a dog " * 99, 1)]).pages
    assert page.image.size == usual.image.size
    assert [cell.box for cell in page.cells] == [cell.box for cell in usual.cells]


def test_saved_pages_are_png_and_described(tmp_path: Path) -> None:
    grid = draw_grid([row(f"prompt {n}", 1) for n in range(4)], title="All", max_height=420)
    files = grid.save(tmp_path / "grid.png")
    description = json.loads(json.dumps(grid.described(tmp_path / "grid.png")))
    assert sorted(tmp_path.iterdir()) == sorted(files)  # no `.part` stays
    assert [file.name for file in files] == [f["file"] for f in description["files"]]
    assert files[0].name == "grid.png"
    assert files[1].name == "grid-2.png"
    for file, page, entry in zip(files, grid.pages, description["files"], strict=True):
        with Image.open(file) as opened:
            assert opened.format == "PNG"
            assert opened.size == (entry["width"], entry["height"])
            assert opened.tobytes() == page.image.tobytes()
    assert description["title"] == "All"
    assert description["cells"][0].keys() == {
        *("file", "prompt", "erased", "seed", "heading", "caption", "box")
    }
    assert {cell["file"] for cell in description["cells"]} == {file.name for file in files}


@pytest.mark.parametrize("rows", [[], [row("a dog", 0)]])
def test_a_grid_without_pictures_is_refused(rows: list[Row]) -> None:
    with pytest.raises(ConfigError, match="no picture to draw"):
        draw_grid(rows)


def test_a_seed_given_twice_is_refused() -> None:
    twice = Row("a dog", False, row("a dog", 1).pairs * 2)
    with pytest.raises(ConfigError, match="seed twice"):
        draw_grid([twice])


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 x 5 px"):
        cell_sides([Image.new("RGB", (0, 5))])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_of_any_mode_become_rgb(mode: str) -> None:
    shown = scaled(Image.new(mode, (8, 8)), 128)
    assert (shown.mode, shown.size) == ("RGB", (128, 128))


def test_bands_are_few_and_even() -> None:
    assert bands(range(5), 3) == ((0, 1, 2), (3, 4))
    assert bands(range(7), 6) == ((0, 1, 2, 3), (4, 5, 6))
    assert bands(range(2), 0) == ((0,), (1,))
    assert bands(range(2), 9) == ((0, 1),)


@given(text=ANY_TEXT, size=st.sampled_from([13, 19]), width=st.integers(30, 300), lines=st.just(3))
@settings(max_examples=100)
def test_wrapped_text_keeps_to_its_place(text: str, size: int, width: int, lines: int) -> None:
    wrapped = wrap(text, size, width, lines)
    assert len(wrapped) <= lines
    assert all(0 < width_of(line, size) <= width for line in wrapped)
    assert fit(text, size, width) == (wrap(text, size, width, 1) or [""])[0]


def test_text_wraps_between_words_and_ends_in_an_ellipsis() -> None:
    assert wrap("an image of a church", 19, 400, 3) == ["an image of a church"]
    lines = wrap("an image of a church " * 9, 19, 120, 3)
    assert " ".join(lines).startswith("an image of a church an image")
    assert lines[-1].endswith("…")
    assert "".join(wrap("x" * 30, 19, 100, 9)) == "x" * 30
    assert line_height(20) > 20


def test_a_contact_sheet_shows_every_picture_under_its_label() -> None:
    images = [[picture(10 * r + c) for c in range(5)] for r in range(2)]
    sheet = contact_sheet(images, ["flat", "sketch"], list("abcde"), title="Sheet", max_width=500)
    assert sheet.width <= 500
    colours = {colour for _, colour in sheet.getcolors(sheet.width * sheet.height) or []}
    assert {image.getpixel((5, 5)) for line in images for image in line} <= colours


def test_a_contact_sheet_may_have_gaps_and_a_size() -> None:
    sheet = contact_sheet([[None, picture(1)]], ["dog"], ["flat", "a very long style"], side=64)
    assert sheet.height < 64 + 120


def test_a_contact_sheet_refuses_labels_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="one label a row and a column"):
        contact_sheet([[picture(0)]], ["dog", "cat"], ["flat"])
    with pytest.raises(ConfigError, match="one label a row and a column"):
        contact_sheet([[picture(0)]], ["dog"], ["flat", "sketch"])
    with pytest.raises(ConfigError, match="no picture"):
        contact_sheet([[None]], ["dog"], ["flat"])
