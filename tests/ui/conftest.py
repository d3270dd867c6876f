"""A server of the page on this machine, with one finished run."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ui.places import Places
from pipelines.ui.server import Server


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path) -> Path:
    """A folder of runs with one run, `church`."""
    folder = tmp_path / "runs"
    shutil.copytree(tiny_run, folder / "church")
    return folder


@pytest.fixture
def server(runs: Path, tiny_folder: Path) -> Iterator[Server]:
    """The page over that folder; the tiny model may be opened."""
    opened = Server("127.0.0.1", 0, Places(runs, (tiny_folder.parent,)))
    thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield opened
    opened.shutdown()
    thread.join()
    opened.server_close()
