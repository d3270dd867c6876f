"""Ready recipes: what each says that it can be called with is taken."""

import re
import shlex
from pathlib import Path

import pytest
from support.console import erasure

from pipelines.configs.recipe_files import shipped_recipes

FOLDER = Path(__file__).parents[2] / "pipelines" / "recipes"


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_call_in_a_recipe_s_head_is_taken(
    name: str, tiny_folder: Path, tmp_path: Path
) -> None:
    head = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    lines = re.findall(r"^# *erasure (erase .*--recipe .*)$", head, re.MULTILINE)
    assert lines
    for line in lines:
        words = shlex.split(line.replace(" --mask both.safetensors", ""))
        assert name in words
        words = [str(tiny_folder) if word == "MODEL" else word for word in words]
        out = words.index("--out") + 1
        words[out] = str(tmp_path / "run")
        said = erasure(*words, "--dry-run")
        assert said.code == 0, said.err
        assert list(tmp_path.iterdir()) == []
