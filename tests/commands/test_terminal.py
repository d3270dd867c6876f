"""What a terminal is given: lines of its width, and a word before a wait."""

import json
import re
from io import StringIO
from typing import Any

import pytest
from support import console
from support.console import erasure

from erasure.errors import CheckpointError
from eval.errors import EvalError
from eval.weights.pretrained import load_part
from pipelines.commands.classifiers.classify_bench import _print_table
from pipelines.commands.options import say
from pipelines.run import models

WIDTH = 60


class Terminal(StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("line", [("prompts",), ("methods", "esd"), ("prompts", "canvas")])
def test_lines_keep_to_the_width_of_a_terminal_and_are_whole_in_a_file(
    line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    filed = erasure(*line)
    monkeypatch.setattr(console, "StringIO", Terminal)
    shown = erasure(*line)
    assert (filed.code, shown.code) == (0, 0)
    assert max(map(len, filed.out.splitlines())) > WIDTH
    assert max(map(len, shown.out.splitlines())) <= WIDTH
    assert shown.out.split() == filed.out.split()


def test_the_table_of_the_bench_is_drawn_in_the_width_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = [f"column{n}" for n in range(9)]
    rows = [columns, ["---"] * 9, ["99.99±0.01"] * 9]
    table = "### digits\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for stream in (StringIO(), Terminal()):
        monkeypatch.setattr("sys.stdout", stream)
        _print_table(table)
        shown = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
        if stream.isatty():
            assert max(map(len, shown.splitlines())) <= WIDTH
        else:
            assert shown == table + "\n"
        assert shown.count("9") == 9 * 4  # no figure is cut


def test_counts_are_read_with_commas_by_people_and_are_numbers_for_machines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = {"moved": 178105, "strength": 0.5, "lossless": True}
    say(result, as_json=False)
    assert capsys.readouterr().out == "moved     178,105\nstrength  0.5\nlossless  yes\n"
    say(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result


def test_the_wait_for_a_hub_is_announced_before_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent(name: str, **_: Any) -> None:  # noqa: ANN401
        assert f"asking the hub for {name}" in caplog.text
        raise OSError("no network")

    class Kind:
        from_pretrained = staticmethod(absent)

    monkeypatch.setattr(models, "snapshot_download", absent)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(CheckpointError, match="no network"):
        models.find_model("nobody/no-model")
    with pytest.raises(EvalError, match="no network"):
        load_part(Kind, "nobody/no-judge")


def test_nothing_is_announced_where_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise OSError("switched off")

    monkeypatch.setattr(models, "snapshot_download", absent)
    with pytest.raises(CheckpointError):
        models.find_model("nobody/no-other-model")
    assert "hub" not in caplog.text
