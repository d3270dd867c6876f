"""The search of a benchmark, its estimate, and the columns of what is asked for by name."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.console import erasure
from support.refusals import assert_told
from support.results.leaderboard import bench, quick_bench

from erasure.errors import ConfigError
from pipelines.bench import run, search
from pipelines.bench.cell import Cell, Place
from pipelines.bench.extras import wanted
from pipelines.bench.protocol import protocol_of
from pipelines.bench.rows import Row
from pipelines.bench.search import Search, spaces_of, trials_of
from pipelines.bench.settings import BenchRecipe, bench_recipe
from pipelines.bench.sources import Sources
from pipelines.bench.tables.column import pooled
from pipelines.bench.tables.columns import COLUMNS
from pipelines.bench.tables.gaps import DESTROYED
from pipelines.bench.world import World
from pipelines.configs.recipe_files import load_toml

ESD = Row(kind="method", name="esd", mask="salient")
UCE = Row(kind="method", name="uce", mask="all")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    return quick_bench(folder, ("esd",), cache=str(cache), tune_on=["dog"])


@pytest.fixture(scope="module")
def world(tiny_folder: Path, recipe: Path) -> World:
    tables = {"model": str(tiny_folder), "tune": 3}
    return World(bench_recipe(tables, load_toml(recipe)))


def test_a_search_looks_at_the_rate_the_strength_and_the_share_of_the_mask(world: World) -> None:
    assert set(spaces_of(world, ESD, "dog")) == {"learning_rate", "strength", "density"}
    assert set(spaces_of(world, UCE, "dog")) == {"erase_weight", "ridge"}
    rate = spaces_of(world, ESD, "dog")["learning_rate"]
    middle = world.erasure(ESD, "dog", 0).training
    assert middle is not None
    assert rate.at(0.5) == pytest.approx(middle.learning_rate, rel=0.01)
    assert rate.at(1.0) / rate.at(0.0) == pytest.approx(1000, rel=0.02)


def test_every_row_has_the_same_budget_and_begins_with_its_defaults(world: World) -> None:
    for row in (ESD, UCE):
        tried = trials_of(world, row, "dog", 4)
        assert len(tried) == 4
        assert tried[0] == {}
        assert tried[:3] == trials_of(world, row, "dog", 3)
        assert len({json.dumps(values) for values in tried}) == 4


def test_a_search_of_rates_tries_these_after_the_defaults_and_nothing_else(world: World) -> None:
    middle = world.erasure(ESD, "dog", 0).training
    assert middle is not None
    rates = f"3e-5,{middle.learning_rate},0.02"
    beside = World(replace(world.recipe, tune=0, tune_rates=rates), dict(world.opened))
    tried = trials_of(beside, ESD, "dog", beside.recipe.trials)
    assert tried == [{}, {"learning_rate": 3e-5}, {"learning_rate": 0.02}]
    assert trials_of(beside, UCE, "dog", beside.recipe.trials) == [{}]
    search = protocol_of(beside)["search"]
    assert (search["trials"], search["rates"]) == (4, [3e-5, middle.learning_rate, 0.02])
    assert "rates" not in protocol_of(world)["search"]


def test_the_trial_with_the_smallest_worst_gap_wins_and_the_defaults_win_a_tie(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps: dict[str, list[float | None]] = {"esd": [0.5, 0.2, None], "uce": [0.4, 0.4, 0.6]}

    def gap(self: Search, row: Row, concepts: tuple[str, ...]) -> float | None:
        assert concepts == ("dog",)
        return gaps[row.name].pop(0)

    monkeypatch.setattr(Search, "_gap", gap)
    best, tried = Search(world, (ESD, UCE), tmp_path, lambda places: {}).tuned("church")
    second = trials_of(world, ESD, "dog", 3)[1]
    assert best["esd, salient"].density == second["density"]
    assert best["esd, salient"].settings["strength"] == second["strength"]
    assert "steps" not in best["esd, salient"].settings  # no trial changes them
    assert best["uce, all"].settings == {}
    assert [trial.chosen for trial in tried] == [False, True, False, True, False, False]


@pytest.mark.parametrize(("retrained", "unjudged"), [((), ()), (("church=x",), DESTROYED)])
def test_a_trial_beside_a_retrained_model_is_not_judged_by_what_it_destroys(
    retrained: tuple[str, ...],
    unjudged: tuple[str, ...],
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beside = World(replace(world.recipe, retrained=retrained), {"x": world.base, **world.opened})
    places = [beside.place(UCE, "dog", 7, tmp_path)]
    monkeypatch.setattr(Search, "_places", lambda self, row, concepts: places)
    seen: list[tuple[str, ...]] = []
    monkeypatch.setattr(search, "_mean_gap", lambda table, left: seen.append(left))
    monkeypatch.setattr(search, "table_of", lambda places, cells: None)
    done = dict.fromkeys((place.key for place in places), None)
    Search(beside, (UCE,), tmp_path, lambda places: done)._gap(UCE, ("dog",))  # type: ignore[arg-type, return-value]
    assert seen == [unjudged]


def test_all_trials_are_made_in_one_go_so_that_processes_share_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def fill(places: Sequence[Place]) -> dict[str, Cell]:
        asked.append([place.key for place in places])
        return {}

    monkeypatch.setattr(Search, "_gap", lambda self, row, concepts: 0.5)
    Search(world, (ESD, UCE), tmp_path, fill).tuned("church")
    (keys,) = asked
    assert len(set(keys)) == len(keys) == 1 + 2 * 3  # the base, and three trials of both rows


def test_a_trial_whose_process_has_gone_silent_ends_the_search(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_SILENCE", 600.0)
    began = int(time.time())
    clock = map(float, range(began, began + 3000, 100))
    slept = SimpleNamespace(time=clock.__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(search, "time", slept)
    looks: list[int] = []

    def fill(places: Sequence[Place]) -> dict[str, Cell]:
        looks.append(len(places))
        if len(looks) == 4:  # the other process writes once more
            places[0].folder.mkdir(parents=True)
            os.utime(places[0].folder, (began + 300, began + 300))
        return {}

    words = r"dog: base in .* in work in another process, which has written nothing for 10 minutes"
    with pytest.raises(ConfigError, match=words):
        Search(world, (UCE,), tmp_path, fill)._gap(UCE, ("dog",))
    assert len(looks) == 9


def test_a_row_s_own_settings_decide_its_key(world: World) -> None:
    one = world.key(UCE, "church", 0)
    assert one == world.key(UCE, "church", 0)
    assert one != world.key(UCE.with_values({"ridge": 0.7}), "church", 0)
    assert one != world.key(UCE, "dog", 0)
    assert world.key(ESD, "church", 0) != world.key(ESD, "church", 1)
    base = world.base
    config = {**base.description.components["text_encoder"], "layer_norm_eps": 1e-3}
    described = replace(base, description=base.description.having(text_encoder=config))
    other = World(world.recipe, opened={world.recipe.model: described})
    assert other.key(UCE, "church", 0) != one


def test_what_the_files_hold_that_a_recipe_names_decides_the_key(
    tiny_folder: Path, tmp_path: Path, world: World
) -> None:
    recipe = quick_bench(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "1.png").write_bytes(b"1")

    def key() -> str:
        under = load_toml(recipe)
        under["erase"]["data"]["forget"] = {"drawn": 0, "folder": str(pictures), "prompt": "a"}
        tables = {"model": str(tiny_folder)}
        opened = {str(tiny_folder): world.base}
        return World(bench_recipe(tables, under), opened=opened).key(UCE, "church", 0)

    one = key()
    assert key() == one
    prompts = tmp_path / "prompts.csv"
    prompts.write_text(prompts.read_text(encoding="utf-8").replace("flat", "line"))
    other = key()
    assert other != one
    (pictures / "2.png").write_bytes(b"2")
    assert key() not in (one, other)


def test_a_trial_of_the_search_is_not_attacked(tiny_folder: Path, recipe: Path) -> None:
    tables = {"model": str(tiny_folder), "audit": "quick"}
    world = World(bench_recipe(tables, load_toml(recipe)))
    places = [Place(UCE, concept, 0, "0", Path()) for concept in ("church", "dog")]
    assert [wanted(world, place) for place in places] == [("audit",), ()]


def test_only_what_failed_of_a_cell_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "Sources", lambda *_: SimpleNamespace(damage={}))
    again: list[object] = []
    maker: Any = SimpleNamespace(
        make=lambda place: again.append("all"),
        extend=lambda place, cell, parts: again.append(parts),
        missing=lambda place, cell: (),
    )
    place = Place(UCE, "church", 0, "0", tmp_path)
    for part in ("audit", "neighbours"):
        errors = {part: "it failed"}
        cell = Cell(key="0", kind="method", row="uce", concept="church", seed=0, errors=errors)
        cell.write(place.folder)
        run._made(maker, place, retry=False)
        run._made(maker, place, retry=True)
    assert again == [{"audit"}, "all"]


def test_a_dry_run_counts_the_cells_of_each_kind_and_writes_nothing(
    tiny_folder: Path, recipe: Path, tmp_path: Path
) -> None:
    words = ("--only", "esd,sld-max", "--seeds", "0-2", "--dry-run")
    said = bench(tiny_folder, recipe, tmp_path / "out", *words, "--json")
    assert said.code == 0, said.err
    kinds = {kind["row"]: kind for kind in json.loads(said.out)["kinds"]}
    assert {name: kind["cells"] for name, kind in kinds.items()} == {
        "base": 1, "sld-max": 1, "esd, all": 3,
    }  # fmt: skip
    assert kinds["esd, all"]["drawing"] == pytest.approx(kinds["base"]["drawing"])
    assert kinds["esd, all"]["erasing"] > 0 == kinds["base"]["erasing"]
    said = bench(tiny_folder, recipe, tmp_path / "out", *words, "--audit", "quick", "--tune", "2")
    assert "3 cells, 0 done" in said.out
    assert "1 cell, 0 done" in said.out
    assert "not counted: the search, at most 2 further cells of the same kinds, attacks" in said.out
    assert not (tmp_path / "out").exists()


def test_an_object_a_style_and_a_group_are_erased_where_no_concept_is_named(tmp_path: Path) -> None:
    line = ("bench", "demo", "--only", "uce", "--masks", "all", "--dry-run", "--json")
    said = erasure(*line, "--out", tmp_path / "out")
    kinds = {kind["row"]: kind["cells"] for kind in json.loads(said.out)["kinds"]}
    assert kinds == {"base": 4, "uce, all": 4}
    world = World(BenchRecipe(model="demo"))
    assert world.recipe.concepts == ("church", "dog", "sketch", "weapons")
    assert set(world.plan("weapons").erased) == {"knife", "bomb", "pistol"}


def test_a_table_of_a_file_may_not_set_what_the_rows_set(tiny_folder: Path, tmp_path: Path) -> None:
    recipe = quick_bench(tmp_path)
    recipe.write_text(
        recipe.read_text(encoding="utf-8").replace("[erase]", '[erase]\nmask = "all"'),
        encoding="utf-8",
    )
    words = "[erase] names mask, which each row of the benchmark sets itself"
    assert_told(bench(tiny_folder, recipe, tmp_path / "out"), 2, words)


def column(key: str, folder: Path) -> Any:  # noqa: ANN401
    cell = Cell(key="0", kind="method", row="esd", concept="church", seed=0)
    read = next(one for one in COLUMNS if one.key == key).read
    return read(Sources(cell, folder))


def written(folder: Path, name: str, values: dict[str, Any]) -> None:
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(json.dumps(values), encoding="utf-8")


def test_a_distance_column_takes_the_largest_headline(tmp_path: Path) -> None:
    def entry(units: float, *, headline: bool, state: str | None = None) -> dict[str, Any]:
        reading = {"value": 9.0, "units": units, "low": 0.5, "high": 7.0, "state": state}
        return {"name": "D3", "headline": headline, "readings": {"audited": reading}}

    entries = [
        entry(2.0, headline=True),
        entry(4.0, headline=True, state="averse"),
        entry(9.0, headline=False),
    ]
    written(tmp_path, "distance/distance.json", {"entries": entries})
    value = column("d3", tmp_path)
    assert (value.value, value.low, value.said) == (4.0, 0.5, "averse")
    assert column("d1", tmp_path) is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_model_that_remembers_under_one_text_remembers(tmp_path: Path, order: int) -> None:
    def entry(units: float, state: str) -> dict[str, Any]:
        reading = {"value": 0.1 * units, "units": units, "low": None, "high": None, "state": state}
        return {"name": "D3", "unit": 0.1, "headline": True, "readings": {"audited": reading}}

    entries = [entry(-5.6, "remembers"), entry(0.4, "like retrained")]
    written(tmp_path, "distance/distance.json", {"entries": entries[::order]})
    value = column("d3", tmp_path)
    assert (value.value, value.said) == (-5.6, "remembers")
    assert next(one for one in COLUMNS if one.key == "d3").better is None  # nearest to 0 is best


def test_an_infinite_distance_is_no_number_of_another_scale(tmp_path: Path) -> None:
    readings = [{"value": 0.25, "units": None}, {"value": 0.1, "units": 3.0}]
    entries = [
        {"name": "D1", "unit": 0.0, "headline": True, "readings": {"audited": one}}
        for one in readings
    ]
    moved = {"name": "D8", "unit": None, "headline": True, "readings": {"audited": {"value": 0.2}}}
    written(tmp_path, "distance/distance.json", {"entries": [*entries, moved]})
    value = column("d1", tmp_path)
    assert (value.value, value.said) == (None, "infinite")
    assert column("d8", tmp_path).value == 0.2


def test_pictures_of_a_search_are_not_added_to_those_of_a_confirmation(tmp_path: Path) -> None:
    def attacked(folder: Path, **shares: list[int]) -> Any:  # noqa: ANN401
        line = {name: {"count": count, "total": total} for name, (count, total) in shares.items()}
        attacks = [{"name": "words", "verdict": {"state": "s"}, "lines": {"audited": line}}]
        written(folder, "audit/audit.json", {"attacks": attacks})
        return column("attack-words", folder)

    came_back = attacked(tmp_path / "0", confirmed=[30, 30], found=[4, 96])
    did_not = attacked(tmp_path / "1", found=[0, 90])
    words = next(one for one in COLUMNS if one.key == "attack-words")
    both = pooled(words, [came_back, did_not])
    assert both is not None
    assert (both.value, both.low, both.high) == (0.5, 0.0, 1.0)  # and not 30 of 120


def test_an_attack_column_has_the_share_and_the_audit_s_word(tmp_path: Path) -> None:
    share = {"count": 3, "total": 10, "share": 0.3, "low": 0.1, "high": 0.6}
    lines = {"audited": {"confirmed": share}}
    attacks = [
        {"name": "words", "verdict": {"state": "revived"}, "lines": lines},
        {"name": "eta", "verdict": {"state": "no test"}, "lines": {"audited": {}}},
    ]
    written(tmp_path, "audit/audit.json", {"attacks": attacks})
    value = column("attack-words", tmp_path)
    assert (value.value, value.total, value.said) == (0.3, 10, "revived")
    assert column("attack-eta", tmp_path).said == "no test"
    assert column("attack-prefixes", tmp_path) is None


def test_a_cell_without_these_files_has_no_such_value(tmp_path: Path) -> None:
    written(tmp_path, "audit/audit.json", {})
    (tmp_path / "audit" / "audit.json").write_text("{half", encoding="utf-8")
    assert column("attack-words", tmp_path) is None
    assert column("moved", tmp_path) is None


@pytest.mark.parametrize("text", ["{half", "[1]", '{"attacks": 5, "entries": {}}'])
def test_damaged_attacks_and_distances_of_a_cell_are_named(tmp_path: Path, text: str) -> None:
    parts = ("audit", "distance")
    for part in parts:
        written(tmp_path / part, f"{part}.json", {})
        (tmp_path / part / f"{part}.json").write_text(text, encoding="utf-8")
    cell = Cell(key="0", kind="method", row="esd", concept="church", seed=0, parts=parts)
    damage = Sources(cell, tmp_path).damage
    assert {part: damage[part].partition(" of ")[0] for part in parts} == {
        "audit": "audit/audit.json", "distance": "distance/distance.json",
    }  # fmt: skip


HUGE = 10**400
"""A whole number that no float holds."""


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("erasure.json", {"config": [1], "moved": HUGE}, "moved"),
        ("erasure.json", {"config": {"work": {"forward": True, "backward": 1}}}, "passes"),
        ("erasure.json", {"config": {"work": {"drawn": "many"}}}, "drawn"),
        ("distance/distance.json", {"entries": {"name": "D3"}}, "d3"),
        ("distance/distance.json", {"entries": ["D3", {"name": "D3", "headline": True}]}, "d3"),
        ("audit/audit.json", {"attacks": ["words", {"name": 1}]}, "attack-words"),
    ],
)
def test_a_damaged_file_of_a_cell_has_no_value_and_ends_no_table(
    tmp_path: Path, name: str, values: dict[str, Any], key: str
) -> None:
    written(tmp_path / "cell", name, values)
    assert column(key, tmp_path / "cell") is None


@pytest.mark.parametrize(
    "share", [[3], {"count": 3}, {"count": 11, "total": 10, "share": 1.1}, {"count": "3"}]
)
def test_a_share_without_true_counts_leaves_the_audit_s_word_alone(
    tmp_path: Path, share: object
) -> None:
    lines = {"audited": {"confirmed": share}}
    attacks = [{"name": "words", "verdict": {"state": "revived"}, "lines": lines}]
    written(tmp_path, "audit/audit.json", {"attacks": attacks})
    value = column("attack-words", tmp_path)
    assert (value.value, value.said) == (None, "revived")
