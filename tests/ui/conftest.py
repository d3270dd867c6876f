"""A server of the page on this machine, with one finished run."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.ui.places import Places
from pipelines.ui.server import Server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


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


@pytest.fixture
def unsafe_runs(runs: Path) -> Path:
    """The runs, where that of church has forgotten nudity, whose pictures are covered."""
    path = runs / "church" / "erasure.json"
    record = json.loads(path.read_text())
    for edit in record["edits"]:
        edit["concept"] = "nudity"
    path.write_text(json.dumps(record))
    return runs


@pytest.fixture
def messages() -> list[str]:
    """What goes wrong in the pages; a test that expects something takes it out."""
    return []


@pytest.fixture
def shown(
    browser: "Browser", server: Server, messages: list[str]
) -> "Iterator[Callable[..., Page]]":
    """Open the page of the server; nothing may go wrong in it, and nothing leaves the machine."""
    contexts = []

    def open_page(width: int = 1400, height: int = 1000, **options: Any) -> "Page":  # noqa: ANN401
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: (messages.append("a dialog"), dialog.dismiss()))
        page.goto(server.address)
        page.locator("#runs button").first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    refused = "the server responded with a status of 400"  # what Chromium says of any refusal
    assert [message for message in messages if refused not in message] == []
