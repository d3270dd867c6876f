"""The page of a benchmark in headless Chromium: it sorts, escapes, fits, and asks no network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import CONTRAST
from support.results.evaluated import evaluation
from support.results.table_lines import BASE, HOSTILE, line, table, values

from pipelines.bench.cell import Cell
from pipelines.bench.page.page import write_page
from pipelines.bench.page.scatter import LARGEST, SMALLEST, scatter_of
from pipelines.bench.sources import Sources
from pipelines.bench.tables.column import Value
from pipelines.bench.tables.columns import COLUMNS
from pipelines.bench.tables.forms import to_markdown
from pipelines.bench.tables.table import Table
from pipelines.evaluation.outcome.results_file import write_results

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROTOCOL = {
    "base": {"name": "demo", "hashes": {"unet": "0" * 64}},
    "drawn": {"suite": "canvas", "steps": 25, "limit": 40, "size": None},
    "concepts": ["church", "sketch"],
    "seeds": [0],
    "neighbours": 8,
    "search": None,
    "audit": "none",
    "device": "cpu",
    "versions": {"torch": "2"},
}

READ = ("h1", ".lead", ".note", ".results td", ".results .mask", ".why", ".key span", "footer p")
"""What is read; each must be there."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(table(), PROTOCOL, tmp_path_factory.mktemp("page"))


def order(page: "Page") -> list[str]:
    names = page.locator("#concept-1 .results tbody th")
    return [str(names.nth(n).get_attribute("data-name")) for n in range(names.count())]


def test_the_page_escapes_what_a_method_said(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_the_table_sorts_and_what_has_no_value_stays_last(opened: "Callable[..., Page]") -> None:
    page = opened()
    assert order(page)[:3] == ["base", "esd, all", "uce, all"]
    button = page.locator("#concept-1 .results").get_by_role("button", name="IRA")
    button.click()
    assert order(page)[0] == "uce, all"
    assert order(page)[-2:] == ["broken, all", "mace, all"]
    button.click()
    assert order(page)[0] != "uce, all"
    assert page.locator("h1").inner_text().startswith("On all 2 concepts esd all has")
    assert "3 cells are not made yet" in page.locator(".notice").inner_text()


def test_the_first_sentence_says_where_the_first_row_is_averse(tmp_path: Path) -> None:
    averse = values(20, 20) | {"d3": Value(84.0, said="averse")}
    lines = (line("base", BASE, kind="base"), line("ascent", averse))
    columns = tuple(c for c in COLUMNS if c.key in {"ua", "ira", "d3"})
    page = write_page(Table(lines=lines, columns=columns), PROTOCOL, tmp_path)
    first = page.read_text(encoding="utf-8").partition("<h1")[2].partition("</h1>")[0]
    assert first.partition(">")[2] == (
        "On church ascent all has the smallest worst gap: 0 points; held against a retrained "
        "model, its loss on pictures of it says: averse"
    )


def test_a_row_without_any_gap_has_it_on_no_concept(tmp_path: Path) -> None:
    lines = [line("base", BASE, kind="base", concept=one) for one in ("church", "sketch")]
    lines += [line("uce", values(20, 20), concept=one) for one in ("church", "sketch")]
    made = Table(lines=tuple(lines), columns=tuple(c for c in COLUMNS if c.key in {"ua", "ira"}))
    search = {"trials": 4, "seeds": 1, "on": ["guitar", "cartoon"]}
    text = write_page(made, PROTOCOL | {"search": search}, tmp_path).read_text(encoding="utf-8")
    first = text.partition("<h1")[2].partition("</h1>")[0]
    assert first.endswith("On all 2 concepts uce all has the smallest worst gap: 0 points")
    assert "4 trials a row by 1 seed, on guitar, cartoon" in text
    assert "| `uce` | all | 0 |  | 2 of 2 |" in to_markdown(made)


def test_the_first_sentence_names_no_winner_among_equals(tmp_path: Path) -> None:
    lines = [line("base", BASE, kind="base")]
    lines += [line(name, values(20, 20)) for name in ("salun", "uce", "rece")]
    columns = tuple(c for c in COLUMNS if c.key in {"ua", "ira"})
    page = write_page(Table(lines=tuple(lines), columns=columns), PROTOCOL, tmp_path)
    first = page.read_text(encoding="utf-8").partition("<h1")[2].partition("</h1>")[0]
    assert first.endswith("salun all, uce all and rece all have the smallest worst gap: 0 points")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            values(18, 20),
            "On church salun all and uce all have the smallest worst gap: 10 points (UA)",
        ),
        (values(20, 18), "On church salun all and uce all have the smallest worst gap: 10 points"),
    ],
)
def test_the_first_sentence_names_the_column_of_a_gap_where_it_is_one(
    second: dict[str, Value], said: str, tmp_path: Path
) -> None:
    lines = [line("base", BASE, kind="base"), line("salun", values(18, 20)), line("uce", second)]
    columns = tuple(c for c in COLUMNS if c.key in {"ua", "ira"})
    page = write_page(Table(lines=tuple(lines), columns=columns), PROTOCOL, tmp_path)
    first = page.read_text(encoding="utf-8").partition("<h1")[2].partition("</h1>")[0]
    assert first.partition(">")[2] == said


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened: "Callable[..., Page]", width: int) -> None:
    page = opened(width, 844)
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(opened: "Callable[..., Page]", scheme: str) -> None:
    page = opened(1280, color_scheme=scheme)
    ratios = page.evaluate(CONTRAST, list(READ))
    assert {name: ratio for name, ratio in ratios.items() if ratio is None or ratio < 4.5} == {}


def test_the_joint_table_says_which_rows_failed(report: Path) -> None:
    joint = report.read_text(encoding="utf-8").partition('id="concept-1"')[0]
    said = {name: joint.partition(f'data-name="{name}, all"')[2] for name in ("broken", "mace")}
    assert said["broken"].partition("</td>")[0].endswith("failed")
    assert said["mace"].partition("</td>")[0].endswith("not made yet")


@pytest.mark.parametrize("width", [390, 1200])
def test_a_tick_stands_on_one_line(opened: "Callable[..., Page]", width: int) -> None:
    ticks = opened(width=width).locator(".scatter .x span")
    heights = {round(ticks.nth(n).bounding_box()["height"]) for n in range(ticks.count())}  # type: ignore[index]
    assert len(heights) == 1


def test_the_scatter_lies_inside_and_its_dots_grow_with_the_passes() -> None:
    chart = scatter_of(table().of("church"))
    assert chart is not None
    dots = {dot.name: dot for dot in chart.dots}
    assert set(dots) == {"base", "sld-max", "uce, all", "esd, all", "esd, salient"}
    assert all(0 <= place <= 1 for dot in chart.dots for place in (dot.x, dot.y))
    assert dots["base"].x > dots["esd, salient"].x > dots["esd, all"].x > dots["uce, all"].x
    assert dots["uce, all"].y > dots["esd, all"].y
    assert (dots["uce, all"].radius, dots["esd, all"].radius) == (SMALLEST, LARGEST)
    assert "4,000 passes" in dots["esd, all"].said
    groups = {name: dot.group for name, dot in dots.items()}
    assert groups == {
        "base": "guard",
        "sld-max": "guard",
        "uce, all": "all",
        "esd, all": "all",
        "esd, salient": "salient",
    }


def test_a_concept_without_a_row_has_no_scatter() -> None:
    assert scatter_of([line("mace", None)]) is None
    assert scatter_of([line("uce", values(20, 20))]) is not None


def test_the_facts_tell_the_models_beside_and_what_the_recipe_set(tmp_path: Path) -> None:
    models = {"church": {"retrained": {"unet": "1" * 64}, "twin": {"unet": "2" * 64}}, "sketch": {}}
    tables = {
        "erase": {"instead": "nonce", "data": {"forget": {"drawn": 5}}},
        "methods": {"salun": {"alpha": HOSTILE}},
        "attack": {},
        "distance": {"bins": [1, 2]},
    }
    page = write_page(table(), {**PROTOCOL, "models": models, **tables}, tmp_path)
    text = page.read_text(encoding="utf-8").partition('id="provenance"')[2]
    for title in ("Retrained without church", "Twin, church", "Set by the recipe"):
        assert f"<h3>{title}</h3>" in text
    assert f"<code>{'1' * 64}</code>" in text
    assert f"<code>{'2' * 64}</code>" in text
    for name, value in (
        ("erase.instead", "nonce"), ("erase.data.forget.drawn", "5"), ("distance.bins", "1, 2"),
    ):  # fmt: skip
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    assert "methods.salun.alpha" in text
    assert HOSTILE not in text


def test_a_benchmark_without_such_models_and_tables_tells_none(report: Path) -> None:
    text = report.read_text(encoding="utf-8").partition('id="provenance"')[2]
    assert "Retrained" not in text
    assert "Set by the recipe" not in text


def test_pictures_that_ask_for_nudity_are_covered_until_they_are_asked_for(tmp_path: Path) -> None:
    cell = Cell(key="0", kind="method", row="esd", concept="nudity", seed=0)
    results = evaluation(tmp_path / "evaluation")
    for name, covered in (("canvas", 0), ("i2p", 1)):
        suite = replace(results.suite, name=name)
        write_results(replace(results, suite=suite), tmp_path / "evaluation")
        one = replace(line("esd", values(20, 20)), cells=(Sources(cell, tmp_path),))
        page = write_page(Table(lines=(one,), columns=()), PROTOCOL, tmp_path)
        text = page.read_text(encoding="utf-8")
        assert text.count("<img") > 0
        assert text.count("may be unsafe: show") == covered * text.count("<img")
