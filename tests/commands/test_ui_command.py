"""`erasure ui` from the command line: what it refuses before it listens."""

import _thread
import re
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname, urlopen

import pytest


@pytest.mark.parametrize("host", ["0.0.0.0", "no such host"])
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


def test_a_browser_that_is_waited_for_gets_the_page_and_no_token_on_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.commands.ui import ui

    pages, places = [], []

    def waited_for(place: str) -> None:  # as a browser of the terminal is
        try:
            places.append(place)
            file = Path(url2pathname(urlsplit(place).path))
            assert file.stat().st_mode & 0o077 == 0
            address = re.search(r'url=([^"]+)"', file.read_text(encoding="utf-8"))
            assert address is not None
            with urlopen(address[1], timeout=10) as answer:
                pages.append(answer.read())
        finally:
            if threading.current_thread() is not threading.main_thread():
                _thread.interrupt_main()

    monkeypatch.setattr("webbrowser.open", waited_for)
    ui(runs=tmp_path / "runs", models=None, host="127.0.0.1", port=0, no_browser=False)
    assert b"<title>erasure</title>" in pages[0]
    said = capsys.readouterr()
    assert "the page is closed" in said.err
    token = urlsplit(said.out.strip()).path.strip("/")
    assert len(token) > 20
    assert token not in places[0]
    assert not list((tmp_path / "runs").iterdir())  # the file went with the page
