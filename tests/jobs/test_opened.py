"""A recipe is opened with its model, and a dry run says once what it would take."""

from pathlib import Path

import pytest
from support.console import erasure

from pipelines.configs.resolving import recipe_text
from pipelines.jobs.opened import opened
from pipelines.planning.ladders import with_settings
from pipelines.run.run_folder import RECIPE_HEADER


def test_what_a_recipe_gives_stays_where_an_option_stands_beside_it(tiny_folder: Path) -> None:
    # `--fit` leaves what was given as it is, so the two tables are one and neither is lost.
    tables = {"model": str(tiny_folder), "concept": "church", "saliency": {"draws": 2}}
    ready = opened(tables, {"saliency": {"batch_size": 2}})
    assert ready.settings["saliency"] == {"batch_size": 2, "draws": 2}
    assert (ready.recipe.saliency.draws, ready.recipe.saliency.batch_size) == (2, 2)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_first_process_alone_prints_the_plan(
    form: tuple[str, ...], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("mask", tiny_folder, "--concept", "church", "--device", "cpu", "--dry-run", *form)
    assert erasure(*line).out != ""
    monkeypatch.setenv("RANK", "1")
    said = erasure(*line)
    assert (said.code, said.out) == (0, "")


def test_fit_auto_goes_on_with_what_it_set_before(tiny_folder: Path, tmp_path: Path) -> None:
    tables = {"model": str(tiny_folder), "concept": "church", "device": "cpu"}
    ready = opened(tables, {})
    other = {"method.precision": "bf16", "method.micro_batch": 2, "saliency.groups": 2}
    file = tmp_path / "recipe.toml"
    file.write_text(recipe_text(with_settings(ready.recipe, other), RECIPE_HEADER), "utf-8")
    begun = ready.as_begun(tmp_path, ready).recipe
    assert begun.training is not None
    assert (begun.training.precision, begun.saliency.groups) == ("bf16", 2)
    own = opened({**tables, "method": {"precision": "fp32"}}, {})
    assert own.as_begun(tmp_path, own) is own  # what was given stays, and is refused later
    elsewhere = opened({**tables, "density": 0.1}, {})
    assert elsewhere.as_begun(tmp_path, elsewhere) is elsewhere
    assert ready.as_begun(tmp_path / "none", ready) is ready
