"""What the page does by itself while somebody types, tabs or presses twice."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.results.compared import copied

from pipelines.ui.job_mark import mark_of
from pipelines.ui.jobs import FOLDER, Job
from pipelines.ui.own_processes import started
from pipelines.ui.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Page


def running(runs: Path, title: str) -> Path:
    """The folder of a job that this process seems to run."""
    folder = runs / FOLDER / f"{time.time_ns():020}-abcdef"
    folder.mkdir(parents=True)
    lines = [["erase", "demo"]]
    about = {"title": title, "lines": lines, "run": "next"}
    about |= {"mark": mark_of(folder.name, title, lines, "next")}
    (folder / "job.json").write_text(json.dumps(about))
    process = {"pid": os.getpid(), "started": started(os.getpid())}
    (folder / "process.json").write_text(json.dumps(process))
    (folder / "turn").touch()
    steps(folder, 1)
    return folder


def steps(folder: Path, done: int) -> None:
    """The job has come so far, and says so."""
    progress = {"stage": "train", "done": done, "total": 100, "seconds": done, "note": ""}
    (folder / "progress.jsonl").write_text(json.dumps(progress) + "\n")
    (folder / "messages.txt").write_text("".join(f"line {n}\n" for n in range(200)))


def test_a_job_that_goes_on_leaves_the_focus_and_what_was_opened(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    job = running(runs, "erase a dog")
    page = shown()
    page.locator("#jobs summary").click()
    messages = page.locator("#jobs pre").last
    messages.evaluate("e => { e.scrollTop = 300; }")
    page.get_by_role("button", name="Stop").focus()
    for done in (2, 3):
        steps(job, done)
        page.locator("#jobs li", has_text=f"train {done} of 100").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "Stop"
    assert messages.evaluate("e => e.checkVisibility() && e.scrollTop") == 300
    item = page.locator("#jobs li").element_handle()
    page.wait_for_timeout(1500)  # the jobs are asked for, and nothing has changed
    assert item is not None
    assert item.evaluate("e => e.isConnected")
    (job / "result.json").write_text('{"state": "stopped", "exit": 1}')
    page.get_by_role("button", name="Resume").wait_for()
    assert page.evaluate("document.activeElement.closest('#jobs') !== null")


def test_the_form_says_what_will_be_run(shown: "Callable[..., Page]", server: Server) -> None:
    page = shown()
    page.locator("summary", has_text="More settings").click()
    page.locator("#settings input").first.fill("0.5")
    page.locator("#method").select_option("uce")
    line = page.locator("#line", has_text="--method uce")
    line.wait_for()
    page.wait_for_timeout(500)
    assert "--method uce" in page.locator("#line").inner_text()
    assert "no setting" not in page.locator("#line").inner_text()


def test_the_form_says_what_a_kind_of_concept_changes(shown: "Callable[..., Page]") -> None:
    page = shown()
    more = page.locator("#intent-more")
    assert "embedded model has settings of its own" in more.inner_text()
    page.locator("#hub").fill("owner/name")
    page.locator("#method").select_option("esd")
    assert more.inner_text() == "By the ready recipe esd-object."
    page.locator("input[value=person]").check()
    assert more.inner_text() == "esd has no ready recipe for it: by its defaults."


def test_a_concept_without_latin_letters_has_a_name_that_is_taken(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    (runs / "church").rename(runs / "run")
    page = shown()
    page.locator("#concepts").fill("\u6559\u4f1a")
    assert page.locator("#name").input_value() == "run-2"


def test_what_was_typed_for_a_run_stays_when_it_is_drawn_again(
    shown: "Callable[..., Page]",
) -> None:
    page = shown()
    page.locator("#runs button").first.click()
    page.locator("#own-prompt").fill("a sketch of a dog")
    before = page.locator("#run .pairs").first.element_handle()
    page.evaluate("document.querySelector('#runs button').click()")
    assert before is not None
    page.wait_for_function("e => !e.isConnected", arg=before)
    assert page.locator("#own-prompt").input_value() == "a sketch of a dog"
    assert page.evaluate("document.activeElement.id") == "own-prompt"


def test_pictures_by_other_seeds_are_unfolded_and_stay_so_when_the_run_is_drawn_again(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    path = runs / "church" / "erasure.json"
    record = json.loads(path.read_text())
    cells = record["grid"]["cells"]
    prompts = {cell["prompt"] for cell in cells}
    cells += [{**cell, "seed": cell["seed"] + 1} for cell in cells]
    path.write_text(json.dumps(record))
    page = shown()
    page.locator("#runs button").first.click()
    first, rest = page.locator("#run .pairs").first, page.locator("#run details")
    first.wait_for()
    assert first.locator(".pair").count() == len(prompts)
    assert rest.locator(".pair").count() == len(cells) // 2 - len(prompts) > 0
    assert not rest.locator(".pair").first.is_visible()
    rest.locator("summary").focus()
    page.keyboard.press("Enter")
    rest.locator(".pair").first.wait_for()
    (runs / "church" / "density.png").unlink()  # so that the run is drawn again
    page.evaluate("document.querySelector('#runs button').click()")
    page.locator("#run img.whole").wait_for(state="detached")
    assert rest.locator(".pair").first.is_visible()


def test_a_run_beside_another_stays_there_when_it_is_drawn_again(
    shown: "Callable[..., Page]", runs: Path
) -> None:
    copied(runs / "church", runs / "other")
    page = shown()
    page.locator("#runs button", has_text="church").click()
    other = page.get_by_label("the other run")
    other.select_option("other")
    pairs = (
        page.locator("#run h3", has_text="Beside another run").locator("xpath=..").locator(".pair")
    )
    pairs.first.wait_for()
    (runs / "church" / "density.png").unlink()  # so that the run is drawn again
    page.evaluate("document.querySelector('#runs button[data-key=church]').click()")
    page.locator("#run img.whole").wait_for(state="detached")
    pairs.first.wait_for()
    assert other.input_value() == "other"


def test_a_button_that_is_pressed_twice_asks_once(
    shown: "Callable[..., Page]", server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def start(jobs: object, title: str, lines: list[list[str]], run: str) -> Job:
        begun.append(title)
        time.sleep(0.5)
        return Job(server.places.runs / FOLDER / "x", title, tuple(map(tuple, lines)), run)

    monkeypatch.setattr(type(server.jobs), "start", start)
    page = shown()
    page.locator("#name").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.locator("#said", has_text="erase church-2: church").wait_for()
    page.wait_for_timeout(700)
    assert begun == ["erase church-2: church"]
    assert page.evaluate("document.activeElement.id") == "name"


def test_what_uncovers_a_picture_can_be_read_on_any_picture(
    shown: "Callable[..., Page]", unsafe_runs: Path
) -> None:
    page = shown()
    page.locator("#runs button").first.click()
    word = page.locator("#run .uncover").first.get_by_text("show")
    ground = word.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground.startswith("rgb(")  # rgba: what lies behind shines through


def test_what_is_chosen_or_uncovered_by_keys_leaves_the_focus_where_one_goes_on(
    shown: "Callable[..., Page]", unsafe_runs: Path
) -> None:
    page = shown()
    page.locator("#runs button").first.focus()
    page.keyboard.press("Enter")
    show = page.locator("#run .uncover").first
    show.wait_for()
    assert page.evaluate("document.activeElement.dataset.key") == "church"
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    show.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.type") == "range"
    page.get_by_role("button", name="Audit").focus()
    (unsafe_runs / "church" / "density.png").unlink()  # so that the run is drawn again
    page.evaluate("document.querySelector('#runs button').click()")
    page.locator("#run img.whole").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Audit"


def test_a_page_of_a_server_that_was_started_again_says_where_to_go(
    shown: "Callable[..., Page]", server: Server, messages: list[str]
) -> None:
    page = shown()
    server.token = "another"  # as of a new server at the same port
    page.locator("#said.bad").wait_for()
    assert "open the address that the one of now has printed" in page.locator("#said").inner_text()
    page.close()
    assert messages
    assert all("status of 404" in message for message in messages)
    messages.clear()


def test_where_the_browser_does_not_copy_it_is_said_what_to_do(
    shown: "Callable[..., Page]",
) -> None:
    page = shown()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator("#copy").click()
    assert "select the command and copy it" in page.locator("#said").inner_text()
