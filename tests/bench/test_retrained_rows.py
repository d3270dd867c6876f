"""The retrained models of a benchmark: held against the concept before any cell is made."""

import shutil
from pathlib import Path

import pytest
from support.refusals import assert_told
from support.results.distanced import nudge
from support.results.leaderboard import bench, quick_bench
from support.results.recorded import put_record

from pipelines.bench.run import prepare
from pipelines.bench.settings import bench_recipe
from pipelines.configs.recipe_files import load_toml
from pipelines.demo_checkpoint.retrained.record import RECORD


@pytest.fixture
def models(tiny_folder: Path, tmp_path: Path) -> dict[str, Path]:
    """Role -> a model beside the tiny base, with no record yet."""
    made = {}
    for seed, role in enumerate(("retrained", "twin"), 1):
        made[role] = shutil.copytree(tiny_folder, tmp_path / role)
        nudge(made[role], 0.1, seed)
    return made


@pytest.mark.parametrize(
    ("retrained", "twin", "said"),
    [
        ("no-dog", None, "was trained without dog, and the concept is church"),
        ("no-dog", "twin", "was trained without dog, and the concept is church"),
        ("no-church", "no-dog", "the twin was trained without dog"),
        ("no-church", "no-church", "both trained from the seeds"),
    ],
)
def test_a_model_that_never_saw_something_else_is_refused_before_any_cell(
    models: dict[str, Path],
    tiny_folder: Path,
    tmp_path: Path,
    retrained: str,
    twin: str | None,
    said: str,
) -> None:
    put_record(models["retrained"], retrained)
    options = ["--retrained", f"church={models['retrained']}"]
    if twin is not None:
        put_record(models["twin"], twin)
        options += ["--twin", f"church={models['twin']}"]
    refused = bench(tiny_folder, quick_bench(tmp_path), tmp_path / "out", "--only", "uce", *options)
    assert_told(refused, 2, said)
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_recipe_than_the_base_is_refused(
    models: dict[str, Path], tiny_folder: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_folder, tmp_path / "base")
    put_record(base, "base")
    put_record(models["retrained"], "no-church", 16)
    options = ("--only", "uce", "--retrained", f"church={models['retrained']}")
    refused = bench(base, quick_bench(tmp_path), tmp_path / "out", *options)
    assert_told(refused, 2, "another recipe than the base: batch is 16, and 32 of the base")


def test_what_has_no_record_is_taken_for_granted_and_said(
    models: dict[str, Path], tiny_folder: Path, tmp_path: Path
) -> None:
    put_record(models["retrained"], "no-church")
    named = {role: [f"church={folder}"] for role, folder in models.items()}
    tables = {"model": str(tiny_folder), "only": ["uce"], **named}
    recipe = load_toml(quick_bench(tmp_path))
    twin, base = prepare(bench_recipe(tables, recipe), tmp_path / "out").notes
    assert twin.startswith(f"church: the twin model has no {RECORD}, so that it was trained by")
    assert base.startswith(f"church: the retrained model has a {RECORD} and the base has none")
