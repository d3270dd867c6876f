"""The page of a benchmark in headless Chromium: it sorts, fits, is readable, asks no network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import CONTRAST
from support.results.benched import bench

from pipelines.classifiers.bench.bench_table import table
from pipelines.classifiers.bench.page.bench_page import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

READ = (
    "h1",
    ".lead",
    ".overline span",
    ".note",
    "nav a",
    ".figure a",
    ".results td",
    ".results small",
    ".results .badge",
    ".results .badge.second",
    ".results .why",
    "thead button",
    ".statements dt",
    ".key span",
    ".gaps td",
    ".folded summary",
    ".folded td",
    ".reasons .where",
    ".fact-group dt",
    "footer p",
)
"""What is read; each must be there."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two settings."""
    made = bench()
    more = [replace(one, setting="digits 120/mlp 0.05/class:3") for one in made.cells]
    both = replace(made, rows=table([*made.cells, *more]))
    return write_page(both, tmp_path_factory.mktemp("bench"))


def methods(page: "Page") -> list[str]:
    names = page.locator("#setting-1 .results").first.locator("tbody th")
    return [str(names.nth(n).get_attribute("data-name")) for n in range(names.count())]


def test_the_table_sorts_both_ways_and_what_failed_stays_last(
    opened: "Callable[..., Page]",
) -> None:
    page = opened()
    assert methods(page) == ["retrain", "salun", "rl", "ft", "bs"]  # by Avg Gap
    first = page.locator("#setting-1 .results").first
    time = first.get_by_role("button", name="RTE (s)")
    time.click()
    assert methods(page) == ["ft", "rl", "salun", "retrain", "bs"]
    time.click()
    assert methods(page) == ["retrain", "salun", "rl", "ft", "bs"]
    assert first.locator("th[aria-sort=descending]").inner_text().startswith("RTE")
    assert first.locator("th[aria-sort=ascending]").count() == 0
    first.get_by_role("button", name="method").click()
    assert methods(page) == ["bs", "ft", "retrain", "rl", "salun"]
    other = page.locator("#setting-2 .results").first.locator("tbody th").first
    assert other.get_attribute("data-name") == "retrain"  # the other table is as it was


@pytest.mark.default("320")
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(opened: "Callable[..., Page]", width: int) -> None:
    page = opened(width, 844)
    for details in page.locator("details").all():
        details.evaluate("(e) => { e.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    wide = """() => [...document.querySelectorAll(".results")].filter((table) =>
      table.parentElement.scrollWidth > table.parentElement.clientWidth).length"""
    # Between a phone and a screen the tables scroll in their own frame.
    assert page.evaluate(wide) == 0 or width == 768


@pytest.mark.crossed
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_all_text_has_contrast(opened: "Callable[..., Page]", scheme: str, width: int) -> None:
    page = opened(width, color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("(e) => { e.open = true; }")
    ratios = page.evaluate(CONTRAST, list(READ))
    assert [name for name, ratio in ratios.items() if ratio is None] == []
    # WCAG 2 AA asks 4.5 of text in normal size.
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (1280, "wide")])
def test_names_in_the_chart_stay_in_it_and_apart(
    opened: "Callable[..., Page]", width: int, shown: str
) -> None:
    page = opened(width)
    boxes = page.evaluate(
        """(shown) => {
          const chart = document.querySelector(".scatter svg").getBoundingClientRect();
          return [...document.querySelector(`.${shown}-labels`).querySelectorAll("text")]
            .map((text) => text.getBoundingClientRect())
            .map((b) => [b.left - chart.left, chart.right - b.right, b.top, b.bottom]);
        }""",
        shown,
    )
    assert len(boxes) == 5
    for n, (left, right, top, bottom) in enumerate(boxes):
        assert min(left, right) >= 0
        for other_left, other_right, other_top, other_bottom in boxes[:n]:
            span = page.evaluate("document.querySelector('.scatter svg').clientWidth")
            beside = left >= span - other_right or other_left >= span - right
            assert beside or top >= other_bottom - 3 or other_top >= bottom - 3
    hidden = {"narrow": "wide", "wide": "narrow"}[shown]
    assert page.locator(f".{hidden}-labels").first.is_hidden()


@pytest.mark.slow
def test_a_model_of_its_own_has_another_mark(opened: "Callable[..., Page]") -> None:
    page = opened()
    chart = page.locator("#setting-1 .scatter")
    assert chart.locator(".own path").count() == 1
    assert chart.locator("g > circle").count() == 4
    assert chart.locator(".accent circle").count() == 1


@pytest.mark.slow
def test_paper_has_dark_ink_and_no_navigation(opened: "Callable[..., Page]") -> None:
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_without_scripts_the_tables_are_there(browser: "Browser", report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".results tbody tr:visible").count() == 12
    context.close()
