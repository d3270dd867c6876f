"""A recipe is opened with its model, and a dry run says once what it would take."""

from pathlib import Path

import pytest
from support.console import erasure

from pipelines.jobs.opened import opened


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
