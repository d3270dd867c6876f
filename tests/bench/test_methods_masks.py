"""A benchmark of masks: which rows there are, and how each is set."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.results.leaderboard import bench, quick_bench
from support.results.table_lines import share

from erasure import Checkpoint
from erasure.errors import ConfigError
from erasure.masks.mask_file import load_mask
from pipelines.bench import settings
from pipelines.bench.estimate import _minutes
from pipelines.bench.page.scatter import _GROUPS
from pipelines.bench.rows import Row, rows_of
from pipelines.bench.search import spaces_of
from pipelines.bench.settings import BenchRecipe, bench_recipe
from pipelines.bench.tables.forms import to_csv, to_markdown
from pipelines.bench.tables.table import Line, Table
from pipelines.bench.world import World
from pipelines.configs.recipe_files import load_toml
from pipelines.jobs.mask_job import measured_masks
from pipelines.planning.planning import bill_before
from pipelines.planning.run_sizes import MASK as MEASURING

MASKS = "all,salient,own,random,inverse,intersection"

SHARED = ("salient", "intersection")


@pytest.fixture(scope="module")
def world(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> World:
    recipe = quick_bench(tmp_path_factory.mktemp("recipe"), ("esd",), cache=str(cache))
    asked = {"only": ["esd"], "masks": [MASKS], "densities": "0.5,0.03"}
    return World(bench_recipe({"model": str(tiny_folder), **asked}, load_toml(recipe)))


@pytest.fixture(scope="module")
def rows(world: World) -> Mapping[str, Row]:
    return {row.label: row for row in rows_of(world.recipe) if row.kind == "method"}


def test_every_mask_has_a_row_at_every_density_and_that_of_all_weights_has_one(
    rows: Mapping[str, Row],
) -> None:
    others = MASKS.split(",")[1:]
    assert list(rows) == [
        "esd, all",
        *(f"esd, {mask} {share}" for mask in others for share in ("0.5", "0.03")),
    ]


def test_a_row_is_erased_by_its_own_mask_and_density(world: World, rows: Mapping[str, Row]) -> None:
    recipes = {label: world.erasure(row, "church", 0) for label, row in rows.items()}
    assert recipes["esd, random 0.03"].mask == "random"
    assert recipes["esd, random 0.03"].density == 0.03
    assert recipes["esd, inverse 0.5"].mask == "inverse"
    assert recipes["esd, salient 0.5"].saliency.loss == "guided"
    assert recipes["esd, own 0.5"].mask == "salient"
    assert recipes["esd, own 0.5"].saliency.loss == "own"
    assert len({world.key(row, "church", 0) for row in rows.values()}) == len(rows)
    places = [world.place(row, "church", 0, Path("cells")) for row in rows.values()]
    assert places[-1].folder.name.startswith("esd-intersection-0-03-0-")


def test_the_recipe_of_an_intersection_says_its_measurements(
    world: World, rows: Mapping[str, Row]
) -> None:
    salient, joined = (
        world.erased_by(rows[f"esd, {mask} 0.5"], "church", 7)
        for mask in ("salient", "intersection")
    )
    note, rest = joined.split("\n", 1)
    assert note == "# the mask is what 3 measurements share, by saliency.seed 7, 1007, 2007"
    assert rest == salient


def test_a_dry_run_counts_each_measurement_of_an_intersection(
    world: World, rows: Mapping[str, Row]
) -> None:
    salient, joined = (
        _minutes(world, world.place(rows[f"esd, {mask} 0.5"], "church", 0, Path("cells")))
        for mask in SHARED
    )
    bill = bill_before(world.erasure(rows["esd, salient 0.5"], "church", 0), world.base)
    once = sum(bill.minutes(stage) for stage in bill.bill.stages if stage.name in MEASURING)
    assert once > 0
    assert joined[0] == pytest.approx(salient[0] + 2 * once)
    assert joined[1:] == salient[1:]


def test_the_scatter_shows_every_mask() -> None:
    assert set(_GROUPS) == set(settings.MASKS)


@pytest.fixture(scope="module")
def done(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A benchmark of the salient mask and of the intersection, at one density."""
    folder = tmp_path_factory.mktemp("intersection")
    recipe = quick_bench(folder, ("esd",), cache=str(cache))
    masks = ("--masks", "salient,intersection", "--densities", "0.3", "--only", "esd")
    said = bench(tiny_folder, recipe, folder / "out", *masks)
    assert said.code == 0, said.err
    return folder / "out"


def test_the_mask_of_an_intersection_is_what_each_measurement_selects(
    done: Path, tiny_checkpoint: Checkpoint, world: World, rows: Mapping[str, Row]
) -> None:
    cells = {name: next(done.glob(f"cells/church/esd-{name}-0-3-*")) for name in SHARED}
    salient, joined = (load_mask(cells[name] / "run" / "mask.safetensors") for name in SHARED)
    recipe = replace(world.erasure(rows["esd, salient 0.5"], "church", 0), density=0.3)
    each = [salient]
    for seed in (1000, 2000):
        measured = replace(recipe, saliency=replace(recipe.saliency, seed=seed))
        masks, _ = measured_masks(measured, tiny_checkpoint, "unet", [seed])
        each += masks
    for name, chosen in joined.entries.items():
        assert torch.equal(chosen, torch.stack([mask.entries[name] for mask in each]).all(0))
    assert 0 < joined.selected < salient.selected == int(0.3 * salient.total)
    assert joined.info.loss == "intersection of 3: guided"


def test_a_row_of_an_intersection_states_the_weights_that_it_moves_and_what_its_masks_took(
    done: Path,
) -> None:
    lines = csv.DictReader((done / "table.csv").read_text(encoding="utf-8").splitlines())
    by_mask = {line["mask"]: line for line in lines if line["row"] == "esd"}
    salient, joined = (by_mask[name] for name in SHARED)
    assert joined["density"] == salient["density"] == "0.3"
    assert 0 < int(joined["moved"]) < int(salient["moved"])
    assert int(joined["passes"]) > int(salient["passes"])
    cell = json.loads(next(done.glob("cells/church/esd-intersection-*/cell.json")).read_text())
    assert cell["recipe"].startswith("# the mask is what 3 measurements share")
    assert cell["errors"] == {}


def test_a_density_that_tells_rows_apart_is_not_searched(
    world: World, rows: Mapping[str, Row]
) -> None:
    spaces = spaces_of(world, rows["esd, salient 0.03"], "church")
    assert set(spaces) == {"learning_rate", "strength"}
    plain = Row(kind="method", name="esd", mask="random")
    assert "density" in spaces_of(world, plain, "church")


def test_the_table_names_the_density_of_rows_that_differ_in_it(rows: Mapping[str, Row]) -> None:
    lines = [
        Line(concept="church", row=row, seeds=(0,), values={"ua": share(number)})
        for number, row in enumerate(rows.values())
    ]
    there = Table(lines=tuple(lines), columns=())
    assert "| `esd` | inverse 0.03 |" in to_markdown(there)
    assert "church,esd,inverse,0.03,done" in to_csv(there)
    assert "church,esd,all,,done" in to_csv(there)


def test_masks_of_a_bench_without_methods_are_refused_where_they_are_given() -> None:
    assert [row.name for row in rows_of(BenchRecipe(only=("base",)))] == ["base"]
    with pytest.raises(ConfigError, match="would not be read, as no row of --only is a method"):
        rows_of(BenchRecipe(only=("base",), masks=("random",)))
