"""Jobs outlive the server, take turns, stop, go on and say how they ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from erasure.errors import ConfigError
from pipelines.ui import job_process
from pipelines.ui import jobs as jobs_module
from pipelines.ui.jobs import Job, Jobs
from pipelines.ui.own_processes import started


def until(done: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def ended(jobs: Jobs, job: Job) -> str:
    """The state in which a job ends, as another server sees it."""
    until(lambda: jobs.named(job.name).state not in ("waiting", "running"))
    return jobs.named(job.name).state


_STRANGE = (
    {"title": "a", "lines": [], "run": "a"},
    {"title": "a", "lines": [[]], "run": "a"},
    {"title": "a", "lines": [[5]], "run": "a"},
    {"title": "a", "lines": ["prompts"], "run": "a"},
    {"title": 5, "lines": [["prompts"]], "run": "a"},
)


def written(jobs: Jobs, name: str, **files: object) -> Job:
    """A job that only stands written down, with these files."""
    folder = jobs.runs / ".jobs" / name
    folder.mkdir(parents=True)
    about = {"title": name, "lines": [["prompts"]], "run": "church"}
    for file, content in {"job": about, **files}.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    return jobs.named(name)


def name_now() -> str:
    return f"{time.time_ns():020}-abcdef"


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


@pytest.mark.slow
def test_jobs_take_turns_and_what_they_said_is_kept(jobs: Jobs) -> None:
    first = jobs.start("look", [["prompts", "canvas", "--limit", "1"]], "church")
    second = jobs.start("fail", [["prompts", "nothing"], ["prompts"]], "church")
    assert ended(jobs, first) == "done"
    assert ended(jobs, second) == "failed"
    facts = Jobs(jobs.runs).named(second.name).facts()
    assert facts["exit"] == 2
    begun = (second.folder / "turn").stat().st_mtime_ns
    assert begun >= (first.folder / "result.json").stat().st_mtime_ns
    assert facts["messages"].startswith("erasure: ")
    assert facts["output"] == ""  # the second command was not begun
    assert "an image of a" in jobs.named(first.name).facts()["output"]


@pytest.mark.slow
def test_an_erasure_is_stopped_and_goes_on(jobs: Jobs, tiny_recipe: Path) -> None:
    out = jobs.runs / "church"
    line = ["erase", "--recipe", str(tiny_recipe), "--steps", "4000", "--out", str(out)]
    job = jobs.start("erase church", [line], "church")

    def trains() -> bool:
        progress = jobs.named(job.name).facts()["progress"]
        return bool(progress) and progress["stage"] == "train" and progress["done"] > 0

    until(trains)
    assert jobs.named(job.name).state == "running"
    jobs.stop(job.name)
    assert ended(jobs, job) == "stopped"
    assert (out / "state.safetensors").is_file()
    again = jobs.resume(job.name)
    assert again.lines[0][-1] == "--resume"
    jobs.stop(again.name)
    assert ended(jobs, again) == "stopped"


@pytest.mark.slow
def test_a_job_that_waits_is_stopped_before_it_begins(jobs: Jobs) -> None:
    first = jobs.start("look", [["prompts"]], "a")
    second = jobs.start("look", [["prompts"]], "b")
    jobs.stop(second.name)
    assert ended(jobs, second) == "stopped"
    assert ended(jobs, first) == "done"
    with pytest.raises(ConfigError, match="has ended"):
        jobs.stop(first.name)
    with pytest.raises(ConfigError, match="go on"):
        jobs.resume(first.name)
    with pytest.raises(ConfigError, match="no job"):
        jobs.stop("../x")


def test_what_is_no_job_is_passed_over(jobs: Jobs) -> None:
    strange = ("[]", '{"lines": 3}', "[" * 50_000, "{", *map(json.dumps, _STRANGE))
    for name, content in enumerate(strange):
        folder = jobs.runs / ".jobs" / str(name)
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(content)
    assert list(jobs.all()) == []


def test_a_job_that_lost_its_process_while_it_waited_holds_up_no_other(jobs: Jobs) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    process = {"pid": gone.pid, "started": started(gone.pid) or "1"}
    gone.wait()
    lost = written(jobs, name_now(), process=process)
    assert lost.state == "lost"
    never = written(jobs, f"{time.time_ns() - 10**12:020}-abcdef")  # the machine went down with it
    assert never.state == "lost"
    assert written(jobs, name_now()).state == "waiting"


def test_a_process_that_ended_and_that_nobody_asked_for_runs_no_more(jobs: Jobs) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    until(lambda: started(child) == "", 20)
    assert written(jobs, name_now(), process={"pid": child, "started": "1"}).state == "lost"
    os.waitpid(child, 0)


COMMANDS = {  # what is noted of a command, and whether it runs -> the state of a job left alone
    "nothing": (None, False, "lost"),
    "runs": ({"left": 0, "exit": None}, True, "running"),
    "was killed": ({"left": 0, "exit": None}, False, "lost"),
    "did it": ({"left": 0, "exit": 0}, False, "done"),
    "did its part": ({"left": 1, "exit": 0}, False, "lost"),
    "failed": ({"left": 0, "exit": 1}, False, "failed"),
    "strange": ({"left": 0, "exit": "0"}, False, "lost"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_a_job_whose_own_process_was_killed_is_known_by_its_command(jobs: Jobs, case: str) -> None:
    note, runs, state = COMMANDS[case]
    me = {"pid": os.getpid(), "started": started(os.getpid())}
    gone = {"pid": os.getpid(), "started": "1"}
    command = {} if note is None else {"command": note | (me if runs else gone)}
    job = written(jobs, name_now(), process=gone, **command)
    (job.folder / "turn").touch()
    assert job.state == state
    (job.folder / "asked").touch()
    assert job.state == ("stopped" if state == "failed" else state)


@pytest.mark.skipif(sys.platform == "win32", reason="the page runs where processes fork")
def test_a_command_outlives_the_process_of_its_job_and_is_stopped_all_the_same(
    jobs: Jobs, tiny_recipe: Path
) -> None:
    out = jobs.runs / "church"
    line = ["erase", "--recipe", str(tiny_recipe), "--steps", "4000", "--out", str(out)]
    job = jobs.start("erase church", [line], "church")
    until((job.folder / "command.json").is_file, 60)
    process = json.loads((job.folder / "process.json").read_text())["pid"]
    os.kill(process, signal.SIGKILL)
    until(lambda: not started(process), 20)
    assert job.state == "running"
    with pytest.raises(ConfigError, match="already makes the run"):
        jobs.start("erase church", [line], "church")
    until(lambda: (job.facts()["progress"] or {}).get("stage") == "train")
    jobs.stop(job.name)
    assert ended(jobs, job) == "stopped"
    assert job.facts()["exit"] == 1
    assert job.facts()["can_resume"] is True
    assert (out / "state.safetensors").is_file()


def test_what_a_job_failed_to_write_does_not_count_as_written_by_the_page(jobs: Jobs) -> None:
    for state in ("done", "failed", "stopped"):
        lines = [["export", state], ["patch", state]]
        about = {"title": state, "lines": lines, "run": "church"}
        written(jobs, name_now(), job=about, result={"state": state, "exit": 2})
    of_failed = [line[0] for line in jobs.lines() if line[1] == "failed"]
    assert of_failed == ["export"]
    assert len(list(jobs.lines())) == 5


def test_a_result_without_a_state_ends_its_job(jobs: Jobs) -> None:
    for result in ({}, {"state": 5}, {"state": ["done"]}):
        assert written(jobs, name_now(), result=result).facts()["state"] == "lost"


def test_a_job_that_was_stopped_before_its_process_looked_does_not_begin(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = {"pid": os.getpid(), "started": started(os.getpid())}
    job = written(jobs, name_now(), process=me)
    jobs.stop(job.name)

    def begun(*line: object, **more: object) -> int:
        raise AssertionError("the command was started")

    monkeypatch.setattr(job_process.subprocess, "call", begun)
    monkeypatch.setattr(job_process.signal, "signal", lambda *_: None)
    job_process.main(job.folder)
    assert jobs.named(job.name).state == "stopped"


def test_a_job_whose_turn_came_while_it_was_stopped_is_stopped_all_the_same(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = {"pid": os.getpid(), "started": started(os.getpid())}
    job = written(jobs, name_now(), process=me)
    asked_to_end = []
    write = jobs_module.write_json

    def late(path: Path, value: object, **more: int | None) -> None:
        (job.folder / "turn").touch()
        write(path, value, **more)

    monkeypatch.setattr(jobs_module, "write_json", late)
    monkeypatch.setattr(jobs_module.os, "killpg", lambda pid, _: asked_to_end.append(pid))
    jobs.stop(job.name)
    assert asked_to_end == [os.getpid()]


def test_a_job_without_a_process_is_told_in_a_sentence(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*line: object, **more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1)

    monkeypatch.setattr(jobs_module.subprocess, "run", full)
    with pytest.raises(ConfigError, match="did not start"):
        jobs.start("look", [["prompts"]], "church")


def test_two_jobs_that_have_not_ended_do_not_make_one_run(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []

    def begin(*line: object, **more: object) -> subprocess.CompletedProcess[str]:
        begun.append(line)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(jobs_module.subprocess, "run", begin)
    line = [["erase", "demo", "--out", "church"]]
    first = jobs.start("erase church", line, "church")
    with pytest.raises(ConfigError, match="already makes the run 'church'"):
        jobs.start("erase church", line, "church")
    jobs.start("draw a dog", [["compare", "demo", "church"]], "church")  # it only looks at the run
    jobs.start("erase dog", line, "dog")
    jobs.stop(first.name)
    again = jobs.resume(first.name)
    with pytest.raises(ConfigError, match="already makes the run 'church'"):
        jobs.resume(first.name)  # pressed in another tab
    jobs.stop(again.name)
    assert len(begun) == 4


def test_the_process_of_a_job_that_waits_holds_no_torch() -> None:
    line = "import sys, pipelines.ui.job_process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", line]).returncode == 0
