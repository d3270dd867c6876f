"""The page in headless Chromium: what is shown, by keys, narrow, dark; a whole erasure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contrast import CONTRAST
from support.results.compared import attack, copied, evaluate

from eval.rates.intervals import wilson
from pipelines.evaluation.outcome.summary import Summary
from pipelines.ui.jobs import FOLDER, Job, Jobs
from pipelines.ui.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_run_is_shown_with_its_proof_and_its_pictures(shown: "Callable[..., Page]") -> None:
    page = shown()
    page.locator("#runs button").first.click()
    proof = page.locator("#run p.good")
    proof.wait_for()
    assert "others bit-identical" in proof.inner_text()
    assert page.locator("#run .pair").count() > 0
    assert not {"false", "null", "undefined"} & set(page.locator("#run").inner_text().split())
    assert "--concept=church" in page.locator("#line").inner_text()


def test_numbers_stand_under_headings_with_their_intervals(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    share = {"ua": wilson(9, 10), "ira": wilson(8, 10)}
    before = {"ua": wilson(0, 10), "ira": wilson(10, 10)}
    summary = Summary(verdict="church is weakened.", after=share, before=before)
    evaluate(runs / "church", runs / "church.evaluation", summary=summary)
    page = shown(390)
    page.locator("#runs button").first.click()
    table = page.locator("#run table")
    table.wait_for()
    assert table.locator("thead th").all_inner_texts() == ["after", "95 % interval", "before"]
    row = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert row == [
        "UA: of what was erased, not recognised", "90.0 %", "59.6 % to 98.2 %", "0.0 %",
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    name = table.locator("tbody th").first  # its figures stand below it
    assert name.evaluate("e => e.offsetWidth === e.closest('table').offsetWidth")


def test_names_from_files_are_text_and_never_markup(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    record = json.loads((runs / "church" / "erasure.json").read_text())
    markup = "<img src=x onerror=alert(1)>"
    for edit in record["edits"]:
        edit["concept"] = markup
    for cell in record["grid"]["cells"]:
        cell["prompt"] = markup
    (runs / "church" / "erasure.json").write_text(json.dumps(record))
    page = shown()
    page.locator("#runs button").first.click()
    page.locator("#run h3").first.wait_for()
    assert markup in page.locator("#run h3").first.inner_text()
    assert page.locator("#run img[src=x]").count() == 0


def test_the_whole_page_is_used_by_keys_alone(shown: "Callable[..., Page]") -> None:
    page = shown()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"model", "concepts", "intent", "method", "name", "price", "start"} <= reached
    page.locator("#runs button").first.focus()
    page.keyboard.press("Enter")
    slider = page.locator("#run input[type=range]").first
    slider.wait_for()
    slider.focus()
    page.keyboard.press("End")
    assert slider.input_value() == "100"


@pytest.mark.default("dark")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(
    shown: "Callable[..., Page]", scheme: str
) -> None:
    page = shown(390, 800, color_scheme=scheme)
    page.locator("#runs button").first.click()
    page.locator("#run .pair").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    places = [".more", "#runs button span", "#run p.good", "button.strong", "figcaption"]
    places += ["svg.curve text"]
    for place, contrast in page.evaluate(CONTRAST, places).items():
        assert contrast >= 4.5, place


def test_the_losses_stand_on_axes_with_numbers(shown: "Callable[..., Page]", runs: Path) -> None:
    rows = [(step, 0.01 + 0.002 * step) for step in range(1, 41)]
    text = "".join(f"{step},{loss}\n" for step, loss in rows)
    (runs / "church" / "loss.csv").write_text(f"step,loss\n{text}")
    page = shown(1400, 1000)
    page.locator("#runs button").first.click()
    page.locator("#run svg.curve").wait_for()
    assert page.locator("#run svg.curve .title").all_text_contents() == ["step", "loss"]
    across = page.locator("#run svg.curve .x:not(.title)").all_text_contents()
    up = page.locator("#run svg.curve .y").all_text_contents()
    assert across == ["10", "20", "30", "40"]
    assert up == ["0.02", "0.04", "0.06", "0.08"]
    # A number stands where its loss lies: 0.05 is half way between 0.04 and 0.06.
    path = page.locator("#run svg.curve .loss").get_attribute("d")
    assert path is not None
    points = [tuple(map(float, point.split(","))) for point in path.removeprefix("M").split("L")]
    heights = [
        float(line.get_attribute("y1") or "nan")
        for line in page.locator("#run svg.curve .grid").all()
    ]
    assert points[19][1] == pytest.approx((heights[1] + heights[2]) / 2, abs=0.01)
    assert "from 0.0120 at step 1 to 0.0900 at step 40" in (
        page.locator("#run svg.curve").get_attribute("aria-label") or ""
    )
    inside = page.evaluate(INSIDE)
    assert inside, "a text of the curve is cut off"


INSIDE = """
() => {
  const frame = document.querySelector("#run svg.curve").getBoundingClientRect();
  return [...document.querySelectorAll("#run svg.curve text")].map((e) => e.getBoundingClientRect())
    .every((b) => b.left >= frame.left && b.right <= frame.right && b.top >= frame.top
      && b.bottom <= frame.bottom);
}
"""


def test_the_concepts_of_a_run_are_audited_by_choice_or_each(
    shown: "Callable[..., Page]", runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((runs / "church" / "erasure.json").read_text())
    for edit in record["edits"]:
        edit |= {"concept": "church, dog", "concepts": ["church", "dog"]}
    (runs / "church" / "erasure.json").write_text(json.dumps(record))
    attack(runs / "church", runs / "church.audits" / "dog", concept="dog")
    begun: list[str] = []

    def start(jobs: Jobs, title: str, lines: list[list[str]], run: str) -> Job:
        begun.append(title)
        return Job(jobs.runs / FOLDER / "x", title, tuple(map(tuple, lines)), run)

    monkeypatch.setattr(Jobs, "start", start)
    page = shown()
    page.locator("#runs button").first.click()
    page.get_by_role("link", name="the whole audit of dog").wait_for()
    assert "dog: dog is revived." in page.locator("#run").inner_text()
    page.get_by_role("button", name="Audit").click()
    page.locator("#said", has_text="Audit: started").wait_for()
    page.locator("#audited").select_option("dog")
    page.get_by_role("button", name="Audit").click()
    page.locator("button[aria-disabled=true]").first.wait_for(state="detached")
    assert begun == ["audit church: church", "audit church: dog", "audit church: dog"]


def test_words_without_a_break_fit_a_phone(shown: "Callable[..., Page]", runs: Path) -> None:
    long = "x" * 64
    copied(runs / "church", runs / long)
    path = runs / long / "erasure.json"
    record = json.loads(path.read_text())
    record["verdict"] = {"sentence": 3 * long}
    for edit in record["edits"]:
        edit["concept"] = 3 * long
    for cell in record["grid"]["cells"]:
        cell["prompt"] = 3 * long
    path.write_text(json.dumps(record))
    folder = runs / ".jobs" / f"{1:020}-abcdef"
    folder.mkdir(parents=True)
    about = {"title": f"erase {3 * long}", "lines": [["erase", 3 * long]], "run": long}
    (folder / "job.json").write_text(json.dumps(about))
    (folder / "result.json").write_text('{"state": "failed", "exit": 2}')
    (folder / "messages.txt").write_text(3 * long)
    page = shown(390, 800)
    page.locator("#runs button", has_text=long).click()
    page.locator("#run .pair").first.wait_for()
    page.locator("#jobs li", has_text="failed").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_of_an_unsafe_concept_are_covered_until_they_are_clicked(
    shown: "Callable[..., Page]", unsafe_runs: Path
) -> None:
    page = shown()
    page.locator("#runs button").first.click()
    first = page.locator("#run .pair").first
    first.wait_for()
    assert "blur" in first.locator("canvas").first.evaluate("e => getComputedStyle(e).filter")
    first.locator("button").click()
    assert first.locator("canvas").first.evaluate("e => getComputedStyle(e).filter") == "none"


def test_what_is_refused_is_said_on_the_page(shown: "Callable[..., Page]") -> None:
    page = shown()
    page.locator("#name").fill("church")
    page.locator("#start").click()
    page.locator("#said.bad").wait_for()
    assert "already" in page.locator("#said").inner_text()


def test_a_method_without_steps_asks_for_none(shown: "Callable[..., Page]") -> None:
    page = shown()
    page.locator("#steps").fill("40")
    page.locator("#method").select_option("uce")
    assert not page.locator("#steps").is_visible()
    assert not page.locator("#watch").is_visible()
    page.locator("#line span", has_text="uce").wait_for()
    assert "--steps" not in page.locator("#line").inner_text()
    page.locator("#method").select_option("esd")
    assert page.locator("#steps").is_visible()


def test_the_command_is_that_of_the_next_run_once_one_was_started(
    shown: "Callable[..., Page]",
) -> None:
    page = shown()
    begun = {"title": "erase church", "state": "waiting"}
    page.route("**/api/do/erase", lambda route: route.fulfill(json=begun))
    page.locator("#name").fill("mine")
    page.locator("#line span", has_text="/mine").wait_for()
    page.locator("#start").click()
    page.locator("#line span", has_text="/church-2").wait_for()
    assert page.locator("#name").input_value() == "church-2"


@pytest.mark.slow
def test_a_second_tab_sees_the_same_jobs(shown: "Callable[..., Page]", server: Server) -> None:
    one, two = shown(), shown()
    server.jobs.start("look at the prompts", [["prompts"]], "church")
    for page in (one, two):
        page.locator("#jobs li", has_text="look at the prompts").wait_for()


@pytest.mark.slow
def test_runs_that_are_ticked_are_compared_on_a_page_of_their_own(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    copied(runs / "church", runs / "other")
    page = shown()
    ticks = page.locator("#runs input[type=checkbox]")
    ticks.nth(0).focus()
    page.keyboard.press("Space")
    assert page.locator("#compare a").count() == 0
    page.wait_for_timeout(1200)  # the list is asked for again, and the focus stays
    assert ticks.nth(0).evaluate("e => e === document.activeElement")
    ticks.nth(1).check()
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Compare 2 runs").click()
    compared = popup.value
    compared.locator("[data-runs] tbody tr").first.wait_for()
    assert compared.locator("[data-runs] tbody tr").count() == 2
    assert compared.locator("[data-count]").inner_text() == "2 of 2 runs"  # its script runs


@pytest.mark.slow  # erases a church from the demo
def test_an_erasure_of_the_demo_is_clicked_through(
    shown: "Callable[..., Page]", server: Server
) -> None:
    from playwright.sync_api import expect

    page = shown()
    page.locator("#method").select_option("uce")
    page.locator("#concepts").fill("church")
    page.locator("#name").fill("by-uce")
    page.locator("#price").click()
    page.locator("#bill table").wait_for(timeout=120_000)
    page.locator("#start").click()
    page.locator("#jobs .more", has_text="done").wait_for(timeout=900_000)
    page.locator("#run p.good").wait_for()
    page.locator("#own-prompt").fill("a sketch of a church")
    page.get_by_role("button", name="Draw").click()
    page.locator("figcaption", has_text="a sketch of a church, seed 0").wait_for(timeout=300_000)
    page.get_by_role("button", name="Undo").click()
    undoing = page.locator("#jobs li", has_text="undo by-uce").locator("div > .more").first
    expect(undoing).to_have_text("done", timeout=300_000)
    undone = server.places.runs / "by-uce-undone"
    assert (undone / "model_index.json").is_file()
