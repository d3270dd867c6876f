"""The code blocks of the documentation: commands that exist, code that runs, a site that builds."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from support.pages import PAGES, ROOT, SHELL, blocks, fenced, run_block

STORIES = (
    ("tutorials/erase.md", "tutorials/did-it-work.md"),
    ("how-to/several-concepts.md",),
    ("how-to/undo.md",),
    ("lora.md",),
    ("how-to/classifiers.md",),
)
"""Pages that are run from their first line to their last, those of a story in one folder."""
_QUICKLY = "erasure erase demo --method uce --concept"
BEFORE = {
    "how-to/undo.md": f"{_QUICKLY} church --out out/church\n{_QUICKLY} dog --out out/dog\n"
    "erasure export out/dog --to patch --base demo --out dog.patch",
    "lora.md": f"{_QUICKLY} dog --out out/dog",
}
"""What a page takes for done -> the lines that do it."""
_CALL = re.compile(r"(?:^|\s)(?:erasure|-m pipelines\.cli)\s+(\S.*)$")


def commands(page: Path) -> Iterator[str]:
    """What follows `erasure` on each line of its shell blocks."""
    for block in blocks(page, *SHELL):
        for line in block.replace("\\\n", " ").splitlines():
            call = _CALL.search(line.split("  #")[0])
            if call is not None and not line.startswith(("erasure:", "#")):
                yield call[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    from pipelines.cli import app

    for call in commands(page):
        command, words = typer.main.get_command(app), shlex.split(call)
        parent = None
        while hasattr(command, "commands"):
            parent = command.make_context(words[0], [], parent=parent, resilient_parsing=True)
            assert words[0] in command.commands, call
            command, words = command.commands[words[0]], words[1:]
        try:
            command.make_context("erasure", words, parent=parent)
        except Exception as err:
            raise AssertionError(f"{page.name}: erasure {call}: {err}") from err


def test_a_run_of_a_page_names_its_model_and_a_recipe_that_is_there() -> None:
    from pipelines.cli import app
    from pipelines.configs.recipe_files import shipped, shipped_recipes

    every = typer.main.get_command(app)
    for page in PAGES:
        for name, *words in map(shlex.split, commands(page)):
            if name not in ("erase", "mask"):
                continue
            options = every.commands[name].make_context("erasure", words).params  # type: ignore[attr-defined]
            recipe = options["recipe"]
            if recipe is not None and not recipe.endswith(".toml"):  # else a file of the reader's
                assert recipe in shipped_recipes(), (page.name, words)
                recipe = shipped(recipe)
            assert options["model"] or "model" in (recipe or {}), (page.name, words)


def test_the_pages_show_commands_at_all() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


def test_the_first_python_of_the_reference_runs() -> None:
    for block in blocks(ROOT / "docs" / "reference" / "python.md", "python"):
        exec(compile(block, "python.md", "exec"), {})


def test_a_default_of_zero_stands_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs", reason="the site is built with the extra `docs`")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # what lies in docs goes into the site
    from site_pages import _command_line  # type: ignore[import-not-found]

    rows = [line for line in _command_line() if line.startswith("| `--port` ")]
    assert [row.split("|")[3].strip() for row in rows] == ["`0`"]


def test_no_page_stands_at_the_address_of_another_on_the_site() -> None:
    """Each `NAME.md` becomes `NAME.html` beside the pages that are HTML already."""
    ready = (ROOT / "docs").rglob("*.html")
    assert [page.name for page in ready if page.with_suffix(".md").exists()] == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site is built with the extra `docs`")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    page = (tmp_path / "site" / "reference" / "method-settings.html").read_text(encoding="utf-8")
    assert "Steps of the whole sampling" in page
    assert "https://fonts" not in page


@pytest.mark.slow  # erases, evaluates and audits as written: ten minutes each
@pytest.mark.parametrize("pages", STORIES)
def test_the_tutorials_run_as_written(pages: tuple[str, ...], tmp_path: Path) -> None:
    for name in pages:
        before = [("bash", BEFORE[name])] if name in BEFORE else []
        for kind, block in (*before, *fenced(ROOT / "docs" / name)):
            if "sd15.safetensors" not in block:  # a file of the reader's own
                run_block(kind, block, tmp_path)
