"""A job is begun again only where this user began it on this machine, and its run is unfinished."""

import json
import shutil
import time
from pathlib import Path

import pytest

from erasure.errors import ConfigError
from pipelines.ui.job_mark import mark_of
from pipelines.ui.jobs import Job, Jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def name_now() -> str:
    return f"{time.time_ns():020}-abcdef"


def cut(jobs: Jobs) -> Job:
    """An erasure of this user's that was stopped."""
    name, title, lines = name_now(), "erase", [["erase", "demo"]]
    folder = jobs.runs / ".jobs" / name
    folder.mkdir(parents=True)
    about = {"title": title, "lines": lines, "run": "church"}
    mark = {"mark": mark_of(name, title, lines, "church")}
    (folder / "job.json").write_text(json.dumps(about | mark))
    (folder / "result.json").write_text(json.dumps({"state": "stopped", "exit": 130}))
    return jobs.named(name)


def test_a_job_whose_run_was_finished_since_does_not_go_on(jobs: Jobs) -> None:
    job = cut(jobs)
    assert job.facts()["can_resume"] is True
    (jobs.runs / "church").mkdir()
    (jobs.runs / "church" / "erasure.json").write_text("{}")
    assert job.facts()["can_resume"] is False
    with pytest.raises(ConfigError, match="not one that can go on"):
        jobs.resume(job.name)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("lines", [["erase", "demo", "--code", "evil.py:Method"]]),
        ("title", "erase a dog"),
        ("run", "dog"),
        ("mark", "0" * 64),
        ("mark", "\ud800"),
        ("mark", None),
        ("mark", 7),
    ],
)
def test_a_job_that_was_not_begun_here_is_not_begun_again(
    jobs: Jobs, key: str, other: object
) -> None:
    job = cut(jobs)
    path = job.folder / "job.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, key: other}))
    facts = jobs.named(job.name).facts()
    assert (facts["can_resume"], facts["from_elsewhere"]) == (False, True)
    with pytest.raises(ConfigError, match="was not begun here by you"):
        jobs.resume(job.name)
    path.write_text(json.dumps(about))
    assert jobs.named(job.name).facts()["can_resume"] is True
    shutil.copytree(job.folder, job.folder.with_name(name_now()))
    copied = list(jobs.all())[-1]
    assert copied.facts()["can_resume"] is False


def test_another_user_has_another_mark(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cut(jobs)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert jobs.named(job.name).facts()["from_elsewhere"] is True
    key = tmp_path / "other" / "diffusion-erasure" / "jobs.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert [path.name for path in key.parent.iterdir()] == ["jobs.key"]


def test_jobs_are_known_where_no_key_can_be_kept(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert cut(jobs).facts()["can_resume"] is True
