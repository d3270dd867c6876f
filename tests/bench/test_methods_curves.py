"""Success of attacks against their cost: the column of half, and the charts of the page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.contrast import CONTRAST
from support.results.asked import PROTOCOL, attack, cell, curve, place, table_with

from pipelines.bench.page.curves import curves_of
from pipelines.bench.page.page import write_page
from pipelines.bench.tables.table import Table

if TYPE_CHECKING:
    from playwright.sync_api import Page

SEEN = {name: (3, 8) for name in ("base", "retrained-1", "random", "audited")}
LATE = curve((1, 50.0, 0), (2, 100.0, 1), (4, 200.0, 2), (8, 400.0, 3))
"""Half of four cases at 200 passes."""
ONCE = curve((1, 50.0, 4), (8, 400.0, 4))
NEVER = curve((1, 50.0, 0), (8, 400.0, 1))
HOSTILE = "<img src=x onerror=alert(1)>"


def words(**curves: Any) -> dict[str, Any]:  # noqa: ANN401
    lines = {"base": ONCE, "retrained-1": NEVER, "random": NEVER, "audited": LATE}
    return attack("words", SEEN, curves=lines | curves)


def tuned() -> dict[str, Any]:
    """Its third picture and those after it are drawn by the copy of the most steps."""
    seen = {name: SEEN[name] for name in ("base", "retrained-1", "audited")}
    lines = {"base": ONCE, "retrained-1": NEVER, "audited": LATE}
    arms = ("5 steps", "10 steps", "20 steps", "40 steps")
    return attack("relearning", seen, curves=lines, arms=arms)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Base, retrained model, a row that comes back and one that does not."""
    models = [cell(place(tmp_path, kind, kind)) for kind in ("base", "retrained")]
    uce = cell(place(tmp_path, "uce"), attacks=[words(), tuned()])
    esd = cell(place(tmp_path, "esd"), attacks=[words(audited=NEVER)])
    return table_with(*models, uce, esd)


def halves(table: Table, key: str) -> dict[str, float | None]:
    return {line.row.name: v.value for line in table.lines if (v := line.values.get(key))}


def test_the_cost_for_half_is_that_of_the_first_mark_at_half(table: Table) -> None:
    assert halves(table, "half-words") == {
        "base": 50.0, "retrained": None, "random weights": None, "uce": 200.0, "esd": None,
    }  # fmt: skip
    steps = {"base": 5.0, "retrained": None, "uce": 40.0}
    assert halves(table, "half-relearning") == steps
    assert {c.key for c in table.columns if c.key.startswith("half")} == {
        "half-words", "half-relearning",
    }  # fmt: skip


def test_a_row_has_a_cost_for_half_where_each_of_its_seeds_has_one(tmp_path: Path) -> None:
    def row(name: str, *curves: Any) -> Table:  # noqa: ANN401
        places = [place(tmp_path, name, seed=seed) for seed in range(len(curves))]
        made = zip(places, curves, strict=True)
        return table_with(*(cell(at, attacks=[words(audited=one)]) for at, one in made))

    assert halves(row("uce", LATE, ONCE), "half-words")["uce"] == 125.0
    assert halves(row("esd", LATE, NEVER), "half-words")["esd"] is None


def test_each_row_has_a_chart_with_the_base_and_the_retrained_model_in_it(table: Table) -> None:
    made = curves_of(table.of("church"))
    assert made is not None
    assert [one.name for one in made.attacks] == ["words", "relearning"]
    assert made.beside == ("base", "retrained")
    first, second = made.attacks
    assert {row.name: (row.half, row.state) for row in first.rows} == {
        "uce, all": ("half at 200 passes", "revived"),
        "esd, all": ("never half", "revived"),
    }
    assert [row.name for row in second.rows] == ["uce, all"]
    assert (first.cost, second.cost) == ("passes a case", "steps of tuning")
    for row in (*first.rows, *second.rows):
        kinds = {one.line: one.kind for one in row.chart.curves}
        assert kinds == {"base": "base", "retrained": "floor", "audited": "audited"}
    (uce,) = [row for row in first.rows if row.name == "uce, all"]
    assert [spent for _, spent in uce.chart.ticks] == [50, 100, 200]
    (steps,) = second.rows
    assert [spent for _, spent in steps.chart.ticks] == [5, 10, 20]


def test_without_a_retrained_model_random_weights_are_the_floor(tmp_path: Path) -> None:
    lines = {name: LATE for name in ("base", "random", "audited")}
    seen = {name: (1, 8) for name in lines}
    made = cell(place(tmp_path, "uce"), attacks=[attack("words", seen, curves=lines)])
    charts = curves_of(table_with(made).of("church"))
    assert charts is not None
    assert charts.beside == ("base", "random")


@pytest.mark.parametrize(
    "damaged",
    [
        "half",
        [5],
        [{"draws": "1"}],
        curve((1, 50.0, 0), (2, 25.0, 1)),
        curve((0, 50.0, 0)),
        [{**LATE[0], "share": {"count": 9, "total": 4}}],
        [{**LATE[0], "passes": float("inf")}],
    ],
)
def test_a_damaged_curve_is_no_curve_and_ends_no_page(damaged: object, tmp_path: Path) -> None:
    made = table_with(cell(place(tmp_path, "uce"), attacks=[words(audited=damaged)]))
    assert curves_of(made.of("church")) is None
    assert "half-words" not in next(one for one in made.lines if one.row.name == "uce").values
    write_page(made, PROTOCOL, tmp_path)


def test_a_page_without_an_audit_has_no_curves(tmp_path: Path) -> None:
    page = write_page(table_with(cell(place(tmp_path, "uce"))), PROTOCOL, tmp_path)
    assert "Attacks: success against cost" not in page.read_text(encoding="utf-8")


def test_what_an_attack_says_of_itself_is_text_and_nothing_else(tmp_path: Path) -> None:
    hostile = {**words(), "title": HOSTILE, "verdict": {"state": HOSTILE}}
    page = write_page(
        table_with(cell(place(tmp_path, "uce"), attacks=[hostile])), PROTOCOL, tmp_path
    )
    text = page.read_text(encoding="utf-8")
    assert "Attacks: success against cost" in text
    assert "<img src=x" not in text


@pytest.fixture
def report(table: Table, tmp_path: Path) -> Path:
    return write_page(table, PROTOCOL, tmp_path)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_charts_fit_and_can_be_read(opened: "Callable[..., Page]", width: int) -> None:
    page = opened(width, 844, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    charts = page.locator(".curves svg")
    assert charts.count() == 3
    assert all(charts.nth(n).bounding_box()["height"] > 60 for n in range(3))  # type: ignore[index]
    named = [".curves figcaption", ".curves h4", ".curves .x span", ".line-key", "summary"]
    ratios = page.evaluate(CONTRAST, named)
    assert {name: one for name, one in ratios.items() if one is None or one < 4.5} == {}
