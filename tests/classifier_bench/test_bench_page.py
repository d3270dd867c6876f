"""What the page of a benchmark says; how it behaves in a browser is tested beside this."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.results.benched import SETTING, bench, cell

from pipelines.classifiers.bench.bench_table import table
from pipelines.classifiers.bench.page import bench_view
from pipelines.classifiers.bench.page.bench_page import Bench, write_page

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """The text outside scripts and styles, and what is loaded; unbalanced tags fail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.loads: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        self.text += " "
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text += data


Read = Callable[[Bench], str]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write the page; its text with single spaces."""

    def call(made: Bench) -> str:
        path = write_page(made, tmp_path)
        assert path == tmp_path / "report.html"
        return " ".join(Page(path.read_text(encoding="utf-8")).text.split())

    return call


def test_the_summary_names_what_is_nearest_and_how_sure_that_is(read: Read) -> None:
    text = read(bench())
    for part in (
        "3 approximate methods 1 setting seeds 0, 1",
        "Nearest to retraining: salun",
        "10% Avg Gap 0.50 salun second 1.25 rl run time 30 s 30 % of retraining",
        "The two are nearer to each other than the deviation over seeds.",
    ):
        assert part in text


def test_the_table_has_scores_deviations_gaps_time_steps_and_the_share_that_moved(
    read: Read,
) -> None:
    text = read(bench())
    row = "salun nearest 7.00 ±1.41 +2.00 100.00 ±0.00 0.00 94.00 ±0.00 0.00 13.00 ±0.00 0.00"
    assert f"{row} 0.50 by seed 0.50 ±0.35 30 30 % 316 50 %" in text
    assert "retrain 5.00 ±0.00 100.00 ±0.00 94.00 ±0.00 13.00 ±0.00 0.00 100 100 %" in text
    assert "bs failed: the inputs run from 0 to 16" in text


def test_models_of_their_own_stand_apart_with_what_they_were_and_what_they_say(
    read: Read,
) -> None:
    ranked, own = read(bench()).split("Own training run ", 1)
    assert "sisa" not in ranked
    assert "so they are not ranked with the others" in own
    assert "sisa 1 of 2 seeds 9.00 +4.00 was 3.00" in own
    assert "25 % 60" in own
    assert "sisa 2 of 5 shards were trained again" in own
    assert "own training run time of retraining" in own  # the key of the chart


def test_settings_recipe_seeds_versions_and_failures_are_there(read: Read) -> None:
    text = read(bench())
    for part in (
        "salun epochs 2, lr 0.013, density 0.5 best of 6",
        "rl epochs 2, lr 0.01 preset",
        "sisa shards 5 not searched",
        "bs digits 120/mlp 0.05/10% the inputs run from 0 to 16",
        "epochs 20",
        "seeds 0, 1",
        "torch 2.",
        "fingerprint",
        "train 120 examples",
        "weights 1,000",
        "forgetting and retraining",
        "search 3.0 s in 6 runs",
    ):
        assert part in text


def test_an_unfinished_benchmark_says_so(read: Read) -> None:
    made = bench()
    assert "cells are done" not in read(made)
    assert "10 of 40 cells are done." in read(replace(made, total=40))
    nothing = replace(made, rows=table([cell("ft")]), cells=[cell("ft")])
    assert "No method has been held against retraining yet" in read(nothing)


def test_the_page_loads_nothing_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    made = bench()
    bad = replace(cell("x", error="<script>alert(1)</script> & more"), scores=None)
    path = write_page(replace(made, rows=table([*made.cells, bad])), tmp_path)
    html = path.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert html.count("<script>") == 1
    assert {url for url in Page(html).loads if not url.startswith("#")} == {"data:,"}
    assert re.search(r"default-src 'none'.*script-src 'sha256-[\w+/=]+'", unescape(html))
    assert len(html) < 200_000


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a/b/10%"], ["10%"]),
        (["a/b/10%", "a/b/class:0"], ["10%", "class:0"]),
        (["a/b/10%", "c/b/10%", "c/b/50%"], ["a/10%", "c/10%", "c/50%"]),
        (["a/x/y:f/10%", "a/b/10%"], ["a/x/y:f/10%", "a/b/10%"]),
    ],
)
def test_settings_are_named_by_what_tells_them_apart(names: list[str], short: list[str]) -> None:
    rows = [row for name in names for row in table([replace(cell("ft"), setting=name)])]
    assert [one.short for one in bench_view.settings(rows, {})] == short


def winners(*best: str) -> list[Any]:
    """A setting for each name, which is nearest in it."""
    cells = []
    for number, name in enumerate(best):
        for one in (cell("retrain"), cell("far", ua=50.0), cell(name, ua=6.0)):
            cells.append(replace(one, setting=f"a/b/{number}%"))
    return bench_view.settings(table(cells), {})


@pytest.mark.parametrize(
    ("best", "words"),
    [
        (["ft"], "Nearest to retraining: ft"),
        (["ft", "ga", "ft"], "Nearest to retraining: ft, in 2 of 3 settings"),
        (["ft", "ga"], "Nearest to retraining: ft and ga, each in 1 of 2 settings"),
    ],
)
def test_the_headline_counts_settings(best: list[str], words: str) -> None:
    assert bench_view.headline(winners(*best)) == words


def test_gaps_of_one_seed_are_not_called_close() -> None:
    (winner,) = winners("ft")
    assert not winner.close
    assert winner.lines[0].scores[0].deviation == ""


def test_a_name_of_an_architecture_may_hold_slashes(read: Read) -> None:
    made = bench()
    odd = [replace(one, setting="digits/my/own:make/10%") for one in made.cells]
    assert "digits/my/own:make/10%" in read(replace(made, rows=table(odd), weights={}))


def test_the_setting_is_that_of_the_rows() -> None:
    assert {row.setting for row in bench().rows} == {SETTING}
