"""The page of an evaluation in headless Chromium: it moves, sorts, filters, hides and fits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import CONTRAST
from support.results.evaluated import CHURCH, DETECTIONS, DOG, MARKUP, evaluation, exposed, image

from pipelines.evaluation.report.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READ = (
    "h1",
    ".lead",
    ".overline span",
    ".note",
    "nav a",
    ".big strong",
    ".big span",
    ".figure dt",
    ".counts",
    ".badge",
    ".prompt",
    ".told dt",
    ".told dd",
    ".seeds",
    ".segments input:checked + span",
    ".segments input:not(:checked) + span",
    "[data-table] td",
    "[data-table] .of",
    "thead button",
    ".was",
    ".heat .cell",
    "caption",
    ".fact-group dt",
    ".fact-group code",
    "footer p",
)
"""What is read; each must be there."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section, 34 prompts, one of them with an unsafe picture, one very long."""
    folder = tmp_path_factory.mktemp("report")
    results = evaluation(folder, detections={"nudenet": DETECTIONS})
    more = [image(folder, f"more-{n}", f"more {n:02}", "dog") for n in range(28)]
    unsafe = image(folder, "unsafe", "something unsafe", "church", before=exposed())
    long = image(folder, "long", "x" * 300, "dog")
    losses = [(n, 1 / n) for n in range(1, 40)]
    made = replace(results, images=(*results.images, unsafe, long, *more))
    return write_report(made, folder, density={"down.0": 0.25, "mid": 0.5}, losses=losses)


def share_before(page: "Page") -> float:
    """Width of the first card's picture before that is visible, in [0, 1]."""
    return float(
        page.evaluate(
            """() => {
              const picture = document.querySelector(".pair:not([hidden]) img.before");
              const shape = getComputedStyle(picture).clipPath;
              const right = /inset\\(0(?:px)? (?:calc\\()?([\\d.]+)%/.exec(shape);
              return right ? 1 - right[1] / 100 : 1;
            }"""
        )
    )


def prompts(page: "Page") -> list[str]:
    return page.locator("[data-table] tbody th > :first-child").all_inner_texts()


def test_the_page_opens_without_a_word_on_the_console(opened: "Callable[..., Page]") -> None:
    page = opened()
    assert page.title() == "church erased: out/church"
    assert page.locator(".card:visible").count() == 12
    sizes = page.evaluate("[...document.images].map((i) => i.naturalWidth)")
    assert set(sizes) == {64}


def test_the_slider_moves_by_keys_and_by_pointer(opened: "Callable[..., Page]") -> None:
    page = opened()
    slider = page.locator("[data-cut]").first
    assert share_before(page) == pytest.approx(0.5)
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert share_before(page) == pytest.approx(0.6)
    page.keyboard.press("Home")
    assert share_before(page) == pytest.approx(0.0)
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert share_before(page) == pytest.approx(0.8, abs=0.02)  # the thumb is 2 px wide
    assert slider.get_attribute("aria-valuetext") == f"{slider.input_value()} % before"


@pytest.mark.slow
def test_what_lies_left_of_the_line_is_before(opened: "Callable[..., Page]") -> None:
    corner = """(picture) => {
      const canvas = document.createElement("canvas").getContext("2d");
      canvas.drawImage(picture, 0, 0);
      return [...canvas.getImageData(1, 1, 1, 1).data].slice(0, 3);
    }"""
    card = opened().locator(".card").first
    assert card.locator("img.before:visible").evaluate(corner) == [0x22, 0x66, 0xCC]
    assert card.locator("img.after:visible").evaluate(corner) == [0xDD, 0x88, 0x22]
    # Cut from the right, so that it is what stays on the left.
    cut = card.locator("img.before:visible").evaluate("(e) => getComputedStyle(e).clipPath")
    assert cut.startswith("inset(0")


@pytest.mark.slow
def test_all_sliders_move_at_once(opened: "Callable[..., Page]") -> None:
    page = opened()
    page.locator("[data-all]").fill("25")
    values = page.evaluate("[...document.querySelectorAll('[data-cut]')].map((i) => i.value)")
    assert set(values) == {"25"}
    assert share_before(page) == pytest.approx(0.25)


@pytest.mark.slow
def test_a_seed_is_chosen(opened: "Callable[..., Page]") -> None:
    page = opened()
    card = page.locator(".card").first
    assert card.locator(".pair:visible").get_attribute("data-seed") == "1"  # still found
    card.get_by_role("button", name="0", exact=True).click()
    assert card.locator(".pair:visible").get_attribute("data-seed") == "0"
    assert card.locator("[aria-pressed=true]").inner_text() == "0"


@pytest.mark.slow
def test_cards_are_filtered_and_more_are_shown(opened: "Callable[..., Page]") -> None:
    page = opened()
    page.locator("[data-more] button").click()
    assert page.locator(".card:visible").count() == 34
    assert page.locator("[data-more]").is_hidden()
    page.locator("[name=gallery][value=erased]").check()
    assert page.locator(".card:visible").count() == 2
    page.locator("[name=gallery][value=telling]").check()
    assert page.locator(".card:visible .prompt").all_inner_texts() == [
        CHURCH,
        "something unsafe",  # asked for a church, and one is seen
        DOG,
    ]


def test_a_blurred_picture_is_shown_on_click_and_by_key(opened: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = opened()
    card = page.locator(".card", has_text="something unsafe")
    picture, veil = card.locator("img.before"), card.locator("[data-veil]")
    assert "blur" in picture.evaluate("(e) => getComputedStyle(e).filter")
    assert card.locator("[data-cut]").is_hidden()
    veil.click()
    expect(picture).to_have_css("filter", "none")  # waits, and asks the page to evaluate nothing
    assert veil.is_hidden()
    assert card.locator("[data-cut]").evaluate("(e) => e === document.activeElement")
    page.locator("[data-unveil]").click()  # shows all
    page.locator("[data-unveil]").click()  # blurs all again
    veil.press("Enter")
    assert veil.is_hidden()


def test_the_table_sorts_both_ways(opened: "Callable[..., Page]") -> None:
    page = opened()
    first = prompts(page)
    assert first[0] == CHURCH
    assert len(first) == 25
    page.get_by_role("button", name="after").first.click()
    counts = page.locator("tbody tr td:nth-child(4)").all_inner_texts()
    assert counts[:5] == ["0/2", "0/2", "1/2", "2/2", "n/a"]  # what was not counted comes last
    page.get_by_role("button", name="after").first.click()
    counts = page.locator("tbody tr td:nth-child(4)").all_inner_texts()
    assert counts[:5] == ["2/2", "1/2", "0/2", "0/2", "n/a"]
    page.locator("[data-search]").fill("more")
    names = [f"more {n:02}" for n in range(28)]
    head = page.get_by_role("button", name="prompt")
    head.click()
    assert prompts(page) == names[:25]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("prompt")
    head.click()
    assert prompts(page) == names[:2:-1]
    assert page.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.slow
def test_the_table_is_searched_and_turned(opened: "Callable[..., Page]") -> None:
    page = opened()
    assert page.locator("[data-pager] span").inner_text() == "1 to 25 of 34"
    page.get_by_role("button", name="Next").click()
    assert page.locator("[data-pager] span").inner_text() == "26 to 34 of 34"
    page.locator("[data-search]").fill("<SCRIPT>")
    assert prompts(page) == [MARKUP]
    page.locator("[data-search]").fill("nowhere")
    assert page.locator("[data-pager] span").inner_text() == "no prompt fits"
    page.locator("[data-search]").fill("")
    page.locator("[name=rows][value=erased]").check()
    assert prompts(page) == [CHURCH, "something unsafe"]


@pytest.mark.slow
def test_a_prompt_leads_to_its_pictures(opened: "Callable[..., Page]") -> None:
    page = opened()
    card = page.locator(".card", has_text="more 27")
    assert card.is_hidden()
    page.locator("[data-search]").fill("more 27")
    page.get_by_role("link", name="more 27").click()
    assert card.is_visible()
    assert card.evaluate("(e) => e.getBoundingClientRect().top < innerHeight")


@pytest.mark.default("320")
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(opened: "Callable[..., Page]", width: int) -> None:
    page = opened(width, 844)
    page.locator("[data-more] button").click()
    for details in page.locator("details").all():
        details.evaluate("(e) => { e.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("scrollTo(1000, 0)")
    assert page.evaluate("scrollX") == 0


@pytest.mark.crossed
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_all_text_has_contrast(opened: "Callable[..., Page]", scheme: str, width: int) -> None:
    page = opened(width, color_scheme=scheme)
    ratios = page.evaluate(CONTRAST, list(READ))
    assert [name for name, ratio in ratios.items() if ratio is None] == []
    # WCAG 2 AA asks 4.5 of text in normal size.
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(251, 250, 248)") is (scheme == "light")


@pytest.mark.slow
def test_still_pictures_for_those_who_want_no_motion(opened: "Callable[..., Page]") -> None:
    moving = "getComputedStyle(document.querySelector('.frame img')).transitionDuration"
    assert opened(reduced_motion="reduce").evaluate(moving) == "0s"
    assert opened(reduced_motion="no-preference").evaluate(moving) != "0s"


@pytest.mark.slow
def test_paper_has_no_controls_and_dark_ink(opened: "Callable[..., Page]") -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator("[data-gallery-controls]").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_without_scripts_all_cards_are_there(browser: "Browser", report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".card:visible").count() == 34
    assert page.get_by_text("This table needs JavaScript").is_visible()
    context.close()
