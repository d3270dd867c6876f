"""What is told to a person on stderr."""

import pytest

from pipelines.process.progress import Reporter


def test_no_lines_are_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter().tell([])
    Reporter(quiet=True).tell(["note: unheard"])
    Reporter().tell(["note: one", "note: two"])
    assert capsys.readouterr().err == "note: one\nnote: two\n"
