"""What `erasure erase` is asked for, put together of its options and a recipe."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.configs.settings import EraseRecipe
from pipelines.jobs.erase_job import EraseJob
from pipelines.run import models

DEMO = {"model": "demo", "concept": "church"}


def job(tables: dict[str, Any], recipe: Path | None = None, *settings: str) -> EraseJob:
    name = None if recipe is None else str(recipe)
    return EraseJob.of(tables, name, settings, allow_code=False, fit=None)


@pytest.mark.parametrize(("tables", "settings"), [({"seed": 5}, ()), ({}, ("seed=5",))])
def test_a_seed_stands_over_all_seeds_of_a_recipe(
    tables: dict[str, Any], settings: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"  # as a run's own is written
    path.write_text("seed = 0\n[method]\nname = 'uce'\nseed = 0\n[saliency]\nseed = 0\n", "utf-8")
    whole = job(DEMO | tables, path, *settings).whole
    assert whole["seed"] == 5
    assert "seed" not in whole["method"]
    assert "seed" not in whole["saliency"]


def test_a_run_of_many_concepts_has_a_folder_that_a_disk_takes() -> None:
    names = [f"the style of painter {n}" for n in range(40)]
    folder = job({**DEMO, "concepts": names}).folder
    assert len(folder.name.encode()) < 120
    assert folder.name.startswith("church-the-style-of-painter-0-")
    assert folder == job({**DEMO, "concepts": names}).folder
    assert folder != job({**DEMO, "concepts": names[:-1]}).folder
    assert job({**DEMO, "concepts": ["Dog"]}).folder == Path("out/church-dog")


def test_each_model_of_a_recipe_is_read_as_the_recipe_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(models, "open_model", lambda model, **how: asked.update(how))
    recipe = EraseRecipe(concept="church", allow_pickle=True, prediction="v", config="c")
    models.open_by(recipe, "demo")
    files = {"config": None, "vae": None, "text_encoders": None}
    assert asked == {**files, "allow_pickle": True, "prediction": "v"}
