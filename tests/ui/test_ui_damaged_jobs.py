"""Files of jobs that are damaged or of another's making: each is told as far as it can be read, and
hides no other job."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.ui.jobs import Jobs
from pipelines.ui.own_processes import runs, started

ABOUT = {"title": "mine", "lines": [["prompts"]], "run": "church"}
ENDED = {"state": "done", "exit": 0}


def listed(folder: Path, file: str, content: str | None) -> list[dict[str, Any]]:
    """All jobs as the page gets them: a whole one that has ended, and one with such a file; None
    for a pipe."""
    for number, name in enumerate(("whole", "mine")):
        place = folder / ".jobs" / f"{time.time_ns() + number:020}-abcdef"
        place.mkdir(parents=True)
        (place / "job.json").write_text(json.dumps({**ABOUT, "title": name}))
        if name == "whole":
            (place / "result.json").write_text(json.dumps(ENDED))
        elif content is None:
            (place / file).unlink(missing_ok=True)
            os.mkfifo(place / file)
        else:
            (place / file).write_text(content)
    return [job.facts() for job in Jobs(folder).all()]


@pytest.mark.parametrize(
    ("file", "content", "state"),
    [
        ("process.json", '{"pid": 1' + 30 * "0" + ', "started": "1"}', "lost"),
        ("process.json", '{"pid": -1, "started": "at some time"}', "lost"),
        ("process.json", '{"pid": 0, "started": "at some time"}', "lost"),
        ("process.json", '{"pid": true, "started": "at some time"}', "lost"),
        ("result.json", '{"state": "done", "exit": NaN}', "done"),
        ("result.json", '{"state": "done", "exit": 1e999}', "done"),
        ("progress.jsonl", "[" * 3_999 + "\n", "waiting"),
        ("progress.jsonl", '{"done": NaN, "total": Infinity}\n', "waiting"),
        ("job.json", json.dumps({**ABOUT, "run": "x" * 5_000}), None),
        ("job.json", json.dumps({**ABOUT, "run": "../.."}), None),
        ("job.json", json.dumps({**ABOUT, "run": "a\0b"}), None),
    ],
)
def test_a_damaged_file_of_one_job_hides_no_other(
    tmp_path: Path, file: str, content: str, state: str | None
) -> None:
    jobs = listed(tmp_path, file, content)
    assert [job["state"] for job in jobs] == (["done"] if state is None else ["done", state])
    json.dumps(jobs, allow_nan=False)  # a browser reads no other numbers


@pytest.mark.parametrize("file", ["job.json", "result.json", "progress.jsonl", "output.txt"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, file: str) -> None:
    states = [job["state"] for job in listed(tmp_path, file, None)]
    assert states == ["done"] + ["waiting"] * (file != "job.json")


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="Linux alone names processes so")
def test_a_number_that_a_process_without_a_name_in_text_has_now_is_another_s() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/comm").write_bytes(b"\xff\xfe")
        os.write(writing, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    try:
        assert not runs({"pid": child, "started": "1"})
        assert runs({"pid": child, "started": started(child)})
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="the page runs where processes fork")
def test_a_command_whose_job_does_not_name_its_process_sends_no_signal_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = {"pid": os.getpid(), "started": started(os.getpid()), "left": 0, "exit": None}
    signalled = []
    monkeypatch.setattr(os, "killpg", lambda group, _: signalled.append(group))
    for process in ({}, {"pid": 0}, {"pid": -1}, {"pid": "1"}):
        listed(tmp_path, "process.json", json.dumps(process))
        job = list(Jobs(tmp_path).all())[-1]
        (job.folder / "command.json").write_text(json.dumps(me))
        assert job.state == "running"
        Jobs(tmp_path).stop(job.name)
        assert (job.folder / "asked").exists()
    assert signalled == []
