"""The page of a comparison in headless Chromium: sorts, filters, by keys, dark, on a phone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import CONTRAST
from support.results.compared import attack, copied, evaluate
from support.results.evaluated import MARKUP, image, images, rate

from eval.rates.intervals import wilson
from pipelines.comparison.comparing import compare_runs
from pipelines.comparison.page.page import write_comparison
from pipelines.evaluation.outcome.summary import Summary

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

HOSTILE = "x<img src=x onerror=alert(1)>&quot;"
"""What a folder may be called."""
READ = (
    "h1",
    ".overline span",
    ".note",
    ".notice",
    "table.runs td",
    "table.runs small",
    "thead button",
    ".of",
    ".count",
    "table.map th.erased",
    "table.map .hit",
    "table.map .miss",
    "table.map thead span",
    "table.blocks .bar span",
    "table.blocks .bar small",
    ".beside th",
    ".beside small",
    ".fates td",
    ".legend .key",
    "footer p",
)
"""What is read; each must be there."""


@pytest.fixture(scope="module")
def report(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: two with evaluation and audit, one with neither and a hostile name."""
    folder = tmp_path_factory.mktemp("compared")
    paths = [copied(tiny_run, folder / name) for name in ("salun", "uce", HOSTILE)]
    for n, path in enumerate(paths[:2]):
        place = folder / f"{path.name}.evaluation"
        share = {"ua": wilson(2 - n, 2), "ra": wilson(n, 6)}
        summary = Summary(verdict="church is weakened.", after=share)
        more = [image(place, f"more-{k}", f"more {k:02}", "dog") for k in range(9)]
        changes = {"summary": summary, "images": (*images(place), *more)}
        evaluate(path, place, classes=(rate("church", 1, erased=True),), **changes)
        attack(path, folder / f"{path.name}.audit", hits=20 * n)
    record = paths[1] / "erasure.json"
    values = json.loads(record.read_text(encoding="utf-8"))
    values["edits"][-1] |= {"moved": 9, "config": {"method": MARKUP}}
    record.write_text(json.dumps(values), encoding="utf-8")
    return write_comparison(compare_runs(paths), folder / "compared")


def names(page: "Page") -> list[str]:
    return page.evaluate(  # type: ignore[no-any-return]
        "[...document.querySelectorAll('[data-runs] tbody tr:not([hidden]) th')]"
        ".map((e) => e.dataset.value)"
    )


def heading(page: "Page", text: str) -> "Locator":
    """Locate the button in the head of the column that has exactly this name."""
    return page.locator("[data-runs] thead button").filter(has_text=re.compile(f"^{text}$"))


def test_the_table_sorts_both_ways_and_what_is_missing_comes_last(
    opened: "Callable[..., Page]",
) -> None:
    page = opened()
    assert names(page) == ["salun", "uce", HOSTILE]
    head = heading(page, "UA")
    head.click()
    assert names(page) == ["uce", "salun", HOSTILE]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("UA")
    head.click()
    assert names(page) == ["salun", "uce", HOSTILE]
    heading(page, "weights moved").click()
    assert names(page)[0] == "uce"  # 9, less than the others, whose text would come first
    assert page.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 1


@pytest.mark.slow
def test_the_table_is_filtered_by_words_and_by_method(opened: "Callable[..., Page]") -> None:
    page = opened()
    page.locator("[data-search]").fill("SALUN")
    assert "salun" in names(page)
    page.locator("[data-search]").fill("nowhere")
    assert names(page) == []
    assert page.locator("[data-empty]").is_visible()
    page.locator("[data-search]").fill("")
    page.locator("[data-filter=method]").select_option(MARKUP)
    assert names(page) == ["uce"]
    assert page.locator("[data-count]").inner_text() == "1 of 3 runs"


def test_the_page_is_used_by_keys_alone(opened: "Callable[..., Page]") -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    head = heading(page, "RA")
    head.focus()
    page.keyboard.press("Enter")
    assert names(page) == ["salun", "uce", HOSTILE]
    page.keyboard.press("Space")
    assert names(page) == ["uce", "salun", HOSTILE]
    more = page.get_by_role("button", name="Show all")
    assert page.locator("[data-beside] tbody tr:visible").count() == 8
    more.focus()
    page.keyboard.press("Enter")
    assert page.locator("[data-beside] tbody tr:visible").count() == 13
    page.locator("[data-changed]").focus()
    page.keyboard.press("Space")
    rows = page.locator("table.map").first.locator("tbody tr:visible th")
    assert rows.all_inner_texts() == ["church", "dog"]


@pytest.mark.slow
def test_every_table_has_headers_that_a_reader_can_announce(opened: "Callable[..., Page]") -> None:
    page = opened()
    for table in page.locator("table").all():
        assert table.locator("thead th[scope=col]").count() > 1
        rows = table.locator("tbody tr").count()
        assert table.locator("tbody th[scope=row]").count() == rows > 0
    assert page.locator("svg:not([aria-label])").count() == 0
    assert page.locator("img:not([alt])").count() == 0


def test_hostile_names_are_text_and_run_nothing(opened: "Callable[..., Page]") -> None:
    page = opened()  # a dialog or a request would fail the fixture
    assert HOSTILE in page.locator("[data-runs] tbody").inner_text()
    assert MARKUP in page.locator("[data-runs] tbody").inner_text()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.crossed
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_and_can_be_read(
    opened: "Callable[..., Page]", scheme: str, width: int
) -> None:
    page = opened(width, 844, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    ratios = page.evaluate(CONTRAST, list(READ))
    assert [name for name, ratio in ratios.items() if ratio is None] == []
    # WCAG 2 AA asks 4.5 of text in normal size.
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}


def test_what_attacks_came_to_is_seen_before_the_table_is_scrolled(browser: "Browser") -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 960})
    page.goto((Path(__file__).parents[2] / "docs" / "compare.html").as_uri())
    heads = page.locator("[data-runs] thead button").all_inner_texts()
    assert heads[:5] == ["run", "erased", "method", "weakest access", "UA"]
    widths = page.evaluate(
        "(() => { const e = document.querySelector('[data-runs]').closest('.scroller');"
        " return [e.scrollWidth, e.clientWidth]; })()"
    )
    assert widths[0] == widths[1]
    assert "1 attack revived it" in page.locator("[data-runs]").inner_text()
    page.close()


def test_without_scripts_all_is_there(browser: "Browser", report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("[data-runs] tbody tr:visible").count() == 3
    assert page.locator("[data-beside] tbody tr:visible").count() == 13
    assert page.locator("table.map:visible").count() == 3
    assert page.locator("[data-controls]").is_hidden()
    context.close()
