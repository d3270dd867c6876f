"""Jobs outlive the server, take turns, stop, go on and say how they ended."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from erasure.errors import ConfigError
from pipelines.ui.jobs import Job, Jobs


def until(done: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def ended(jobs: Jobs, job: Job) -> str:
    """The state in which a job ends, as another server sees it."""
    until(lambda: jobs.named(job.name).state not in ("waiting", "running"))
    return jobs.named(job.name).state


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_jobs_take_turns_and_what_they_said_is_kept(jobs: Jobs) -> None:
    first = jobs.start("look", [["prompts", "canvas", "--limit", "1"]], "church")
    second = jobs.start("fail", [["prompts", "nothing"], ["prompts"]], "church")
    assert ended(jobs, first) == "done"
    assert ended(jobs, second) == "failed"
    facts = Jobs(jobs.runs).named(second.name).facts()
    assert facts["exit"] == 2
    begun = (second.folder / "process.json").stat().st_mtime_ns
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
    for name, content in (("a", "[]"), ("b", '{"lines": 3}'), ("c", "[" * 50_000), ("d", "{")):
        folder = jobs.runs / ".jobs" / name
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(content)
    assert list(jobs.all()) == []
