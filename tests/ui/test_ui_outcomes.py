"""What jobs and runs came to, as the page says it without a second click."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from support.results.compared import copied

if TYPE_CHECKING:
    from playwright.sync_api import Page

CUT = """
() => {
  const frame = document.querySelector("#run svg.curve").getBoundingClientRect();
  return [...document.querySelectorAll("#run svg.curve text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left || box.right > frame.right;
  }).map((text) => text.textContent);
}
"""


def test_losses_of_a_solve_are_points_that_no_line_joins(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    path = runs / "church" / "erasure.json"
    record = json.loads(path.read_text())
    record["edits"][-1]["config"]["method"] = "uce"
    path.write_text(json.dumps(record))
    rows = "".join(f"{number},{1 / number}\n" for number in range(1, 151))
    (runs / "church" / "loss.csv").write_text(f"step,loss\n{rows}")
    page = shown()
    page.locator("#runs button").first.click()
    page.locator("#run svg.curve .points").wait_for()
    drawn = page.locator("#run svg.curve .loss").get_attribute("d") or ""
    assert (drawn.count("h0"), "L" in drawn) == (150, False)
    titles = page.locator("#run svg.curve .title").all_text_contents()
    assert titles == ["step or weight matrix, in order", "loss"]
    assert page.evaluate(CUT) == []  # 150 stands at the very end of the axis


def test_a_job_that_is_done_says_where_it_wrote_and_its_notices(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    folder = runs / ".jobs" / f"{1:020}-abcdef"
    folder.mkdir(parents=True)
    about = {"title": "export church-lora.safetensors", "lines": [["export"]], "run": "church"}
    (folder / "job.json").write_text(json.dumps(about))
    (folder / "result.json").write_text('{"state": "done", "exit": 0}')
    (folder / "output.txt").write_text("written            runs/church-lora.safetensors\nrank  4\n")
    (folder / "messages.txt").write_text("model: a model\nnotice: a third is missed\n")
    page = shown()
    job = page.locator("#jobs li", has_text="export church-lora")
    lines = job.locator("p.more").all_inner_texts()
    assert lines == ["written: runs/church-lora.safetensors", "notice: a third is missed"]


def test_one_run_alone_offers_no_comparison(shown: "Callable[..., Page]", runs: Path) -> None:
    page = shown()
    assert page.locator("#runs input").count() == 0
    copied(runs / "church", runs / "other")
    page.locator("#runs input").nth(1).wait_for()
