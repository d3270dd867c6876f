"""What every test shares: no network, empty caches, few threads, patient hypothesis."""

import gc
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from erasure.checkpoints import Checkpoint
    from erasure.diffusion.data.concept_data import ConceptData

# A busy machine is no failure; the rest of the profile (CI's, where CI is set) stays.
profile = settings.get_profile(settings.get_current_profile_name())
# Half as many examples as usual; what reads hostile bytes has its own number.
settings.register_profile("patient", profile, deadline=None, max_examples=50)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Set what libraries read once, when first imported; commands run by tests inherit it."""
    hub = tempfile.TemporaryDirectory(prefix="erasure-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(hub.cleanup)
    os.environ["HF_HOME"] = hub.name
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["ERASURE_CACHE"] = os.path.join(hub.name, "cache")
    os.environ["XDG_STATE_HOME"] = os.path.join(hub.name, "state")
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # The models are so small that a second thread waits, at full load, more than it works.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A shell lets what it starts in the background ignore Ctrl-C, which tests raise.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the default run the members that it needs."""
    from support.collecting.members import thin_out

    thin_out(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401
    """Share out whole files, as `--dist loadfile` asks for, and what costs a start together."""
    if config.getoption("dist") != "loadfile":
        return None
    from support.collecting.scheduling import SharedFiles

    return SharedFiles(config, log)


def pytest_collection_finish() -> None:
    """Let no collection of garbage walk again through what was imported: it stays to the end."""
    gc.collect()
    gc.freeze()
    # Networks are thousands of small objects, and to look through them so often took a twentieth.
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _offline() -> Iterator[None]:
    """Fail the test that connects to another machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:  # noqa: ANN401
        local = isinstance(address, (str, bytes)) or address[0] in ("127.0.0.1", "::1", "localhost")
        if not local:
            self.close()
            pytest.fail(f"a test connected to {address!r}; the tests run without a network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


# What follows imports late: the libraries read the environment set above.


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline of 50,000 weights, written by diffusers; do not write into it."""
    from support.tiny import write_tiny_pipeline

    return write_tiny_pipeline(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_folder: Path) -> "Checkpoint":
    """The same, read; tests that change something make a copy by `dataclasses.replace`."""
    from erasure.checkpoints import read_checkpoint

    return read_checkpoint(tiny_folder)


@pytest.fixture(scope="session")
def tiny_data(tiny_checkpoint: "Checkpoint") -> "ConceptData":
    """Random pictures of a church and of other things, encoded by the tiny pipeline."""
    from support.tiny import random_pictures

    from erasure.diffusion.data.encoding import encode_concept

    return encode_concept(
        tiny_checkpoint,
        random_pictures(["a church"] * 4),
        {"a church": ["a castle"]},
        random_pictures(["a dog", "a castle", "a truck"], seed=1),
    )


@pytest.fixture(scope="session")
def tiny_recipe(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that erases `church` from the tiny pipeline in a second, all runs with one cache."""
    from support.console import quick_recipe

    folder = tmp_path_factory.mktemp("tiny-recipe")
    model, cache = str(tiny_folder), str(folder / "cache")
    return quick_recipe(folder, model=model, concept="church", device="cpu", cache=cache)


@pytest.fixture(scope="session")
def tiny_run(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of that recipe; do not write into it."""
    from support.console import erasure

    out = tmp_path_factory.mktemp("tiny-run") / "church"
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", out, charts=True)
    assert said.code == 0, said.err
    return out


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium; without it, or without playwright, the tests of a page are skipped."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium on the PATH")
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: "Browser", report: Path) -> "Iterator[Callable[..., Page]]":
    """Open the page `report`; afterwards nothing may have gone wrong, nor left the machine."""
    messages: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_page(width: int = 1280, height: int = 900, **options: Any) -> "Page":  # noqa: ANN401
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: (messages.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert {url for url in asked if not url.startswith("data:")} == {report.as_uri()}


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Run a command line that must fail and leave the test's folder as it was."""

    from support.console import erasure
    from support.refusals import assert_told, tree

    def run(arguments: tuple[Any, ...], *words: object, code: int = 2) -> None:
        before = tree(tmp_path)
        assert_told(erasure(*arguments), code, *words)
        assert tree(tmp_path) == before

    yield run
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the pictures and latents of all tests of a file."""
    return tmp_path_factory.mktemp("cache")
