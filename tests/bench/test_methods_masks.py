"""A benchmark of masks: which rows there are, and how each is set."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.results.leaderboard import quick_bench
from support.results.table_lines import share

from pipelines.bench.rows import Row, rows_of
from pipelines.bench.search import spaces_of
from pipelines.bench.settings import bench_recipe
from pipelines.bench.tables.forms import to_csv, to_markdown
from pipelines.bench.tables.table import Line, Table
from pipelines.bench.world import World
from pipelines.configs.recipe_files import load_toml

MASKS = "all,salient,own,random,inverse"


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
    assert places[-1].folder.name.startswith("esd-inverse-0-03-0-")


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
