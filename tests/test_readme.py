"""The README's own code and commands."""

import re
from pathlib import Path

import pytest

from erasure import read_checkpoint, verify

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_quickstart_runs_and_its_result_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    short = code[1].replace("steps=20", "steps=2").replace(", 16)", ", 2)")
    short = short.replace("num_inference_steps=16", "num_inference_steps=2")
    assert "16" not in short
    monkeypatch.chdir(tmp_path)
    exec(compile(short, "README.md", "exec"), {})
    assert verify(Path("no-church")).passed
    assert read_checkpoint(Path("no-church")).provenance is not None


def test_the_readme_names_every_command_and_recipe() -> None:
    from pipelines.cli import _COMMANDS
    from pipelines.configs.settings import shipped_recipes

    for name in _COMMANDS:
        assert f"erasure {name}" in README
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    for name in shipped_recipes():
        assert f"`{name}`" in pages


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) < 120
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
