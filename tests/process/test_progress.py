"""What is told to a person on stderr."""

import logging
from pathlib import Path

import pytest

from pipelines.commands.options import say
from pipelines.process.progress import PROGRESS_FILE, Reporter
from pipelines.run.model_facts import notice
from pipelines.words.markdown import row
from pipelines.words.terminal import PrintableFormatter

STEERING = "church\x1b[2J\x9b2K\rverified\n5 of 5\x07"
SHOWN = r"church\x1b[2J\x9b2K\rverified\n5 of 5\x07"


def test_no_lines_are_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().tell([])
    Reporter(quiet=True).tell(["note: unheard"])
    Reporter().tell(["note: one", "note: two"])
    assert capsys.readouterr().err == "note: one\nnote: two\n"


def test_the_name_of_a_stage_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("draw [/red]", "draw van gogh [painter]"):
        with Reporter().stage(name, 1) as tick:
            tick(note="[/bold]")
        assert capsys.readouterr().err.startswith(f"{name}: 1 in ")


def test_a_stage_goes_on_where_its_file_of_progress_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS_FILE, str(tmp_path / "gone" / "progress.jsonl"))
    with Reporter().stage("train", 2) as tick:
        tick()
        tick()
    assert not (tmp_path / "gone").exists()


def test_a_name_from_a_file_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say({"erased": STEERING, STEERING: [STEERING]}, as_json=False)
    Reporter().tell([STEERING])
    notice([STEERING])
    with Reporter().stage(STEERING, 1):
        pass
    said = capsys.readouterr()
    assert (said.out.count(SHOWN), said.err.count(SHOWN)) == (3, 3)
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "%s", (STEERING,), None)
    assert PrintableFormatter("%(message)s").format(record) == SHOWN
    written = said.out + said.err + row([STEERING])
    assert not {letter for letter in written if not letter.isprintable()} - {"\n"}
