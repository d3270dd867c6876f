"""Code that a file names runs only where a person has named it too."""

from pathlib import Path

import pytest
from support.console import erasure
from support.refusals import assert_told

from erasure.errors import ConfigError
from pipelines.bench.settings import bench_recipe
from pipelines.classifiers.bench.bench_models import ModelStore
from pipelines.jobs.erase_job import EraseJob

CODE = """
from pathlib import Path

Path(__file__).with_name("it-ran").touch()
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A file that says when it is run, by another beside it."""
    file = tmp_path / "evil.py"
    file.write_text(CODE, encoding="utf-8")
    return file


def ran(code: Path) -> bool:
    return code.with_name("it-ran").exists()


def test_a_benchmark_s_recipe_adds_no_code(tiny_folder: Path, code: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "bench.toml"
    recipe.write_text(f'add = ["{code}:Evil"]\nlimit = 4\n', encoding="utf-8")
    line = ("bench", tiny_folder, "--recipe", recipe, "--out", tmp_path / "out")
    assert_told(erasure(*line), 2, "take add out of the recipe, and name it by --add")
    assert not ran(code)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="code of its own"):
        bench_recipe({"add": ("mine.py:Mine",)}, {"add": ["evil.py:Evil"]})


@pytest.mark.parametrize("settings", [(), ("alpha=0.5",)])
def test_a_method_of_the_command_line_stands_in_the_place_of_a_recipe_s_code(
    code: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'model = "demo"\ncode = "{code}:Evil"\n', encoding="utf-8")
    tables = {"concept": "church", "method": {"name": "esd"}}
    job = EraseJob.of(tables, str(recipe), settings, allow_code=False, fit=None)
    assert "code" not in job.whole
    assert job.whole["method"]["name"] == "esd"
    own = {"concept": "church", "code": "mine.py:Mine"}
    assert EraseJob.of(own, str(recipe), (), allow_code=False, fit=None).whole["code"] == (
        "mine.py:Mine"
    )
    with pytest.raises(ConfigError, match="give --allow-code"):
        EraseJob.of({"concept": "church"}, str(recipe), settings, allow_code=False, fit=None)
    assert not ran(code)


def test_a_benchmark_of_classifiers_imports_what_was_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(path: Path, *, allow_code: bool = False, own: str | None = None) -> None:
        asked.append((allow_code, own))
        raise ConfigError("far enough")

    monkeypatch.setattr("pipelines.classifiers.bench.bench_models.load_classifier", load)
    store = ModelStore(tmp_path, None, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="far enough"):
        store._load(tmp_path / "x.safetensors", "mlp")
    assert asked == [(False, "mlp")]
