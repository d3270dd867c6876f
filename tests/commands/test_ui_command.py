"""`erasure ui` from the command line: what it refuses before it listens."""

import _thread
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest


@pytest.mark.parametrize("host", ["0.0.0.0", "", "no such host"])
def test_an_address_that_cannot_be_checked_or_had_is_refused(
    refused: Callable[..., None], host: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    refused(("ui", "--runs", runs, "--host", host, "--no-browser"), "listen", code=2)


def test_a_folder_of_models_that_is_not_there_is_refused(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    refused(("ui", "--models", tmp_path / "none", "--no-browser"), "no folder", code=2)


def test_a_browser_that_is_waited_for_gets_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.commands.ui import ui

    pages = []

    def waited_for(address: str) -> None:  # as a browser of the terminal is
        try:
            with urlopen(address, timeout=10) as answer:
                pages.append(answer.read())
        finally:
            if threading.current_thread() is not threading.main_thread():
                _thread.interrupt_main()

    monkeypatch.setattr("webbrowser.open", waited_for)
    ui(runs=tmp_path / "runs", models=None, host="127.0.0.1", port=0, no_browser=False)
    assert b"<title>erasure</title>" in pages[0]
    assert "the page is closed" in capsys.readouterr().err
