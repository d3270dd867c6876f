"""A measurement whose unit is the base and its twin, as in the tables of the documentation."""

import pytest
from support.leftovers import no_space_for
from support.results.distanced import (
    bright_judge,
    coarse_measure,
    tiny_recipe,
    write_models,
    write_pictures,
)
from support.results.recorded import put_record

from erasure.errors import DiskError
from pipelines.distances import measuring, run
from pipelines.distances.entries import Entry
from pipelines.distances.measuring import Seen
from pipelines.distances.result import Distances, table_of
from pipelines.distances.run import run_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter

SHOWN = 4


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> DistanceRecipe:
    folder = tmp_path_factory.mktemp("measured")
    models = write_models(folder / "models")
    for role, name in (("base", "base"), ("retrained", "no-church"), ("twin", "twin")):
        put_record(models[role], name)
    return tiny_recipe(
        models,
        write_pictures(folder / "held-out", SHOWN, 1),
        trained=str(write_pictures(folder / "trained", SHOWN, 2)),
        draws=SHOWN,
        shown=SHOWN,
        bins=1,
        samples=1,
        steps=1,
    )


@pytest.fixture(scope="module")
def measured(
    recipe: DistanceRecipe, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Distances, Seen]:
    """The result, and what the models drew and predicted for it; the disk was full at first."""
    out = tmp_path_factory.mktemp("out") / "distance"
    all_seen: list[Seen] = []
    labels = measuring.labels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "cell_judge", bright_judge)
        patch.setattr(run, "measure_of", coarse_measure)
        patch.setattr(measuring, "labels", lambda seen: all_seen.append(seen) or labels(seen))
        with (
            no_space_for("distance.json"),
            pytest.raises(DiskError, match=r"distance\.json: the disk is full; free some space"),
        ):
            run_distances(recipe, out, force=False, reporter=Reporter(quiet=True))
        assert {path.name for path in out.iterdir()} == {"recipe.toml"}
        # The same command goes on, without --force.
        result = run_distances(recipe, out, force=False, reporter=Reporter(quiet=True))
    assert (out / "distance.json").is_file()
    return result, all_seen[1]


def _entry(result: Distances, name: str, place: str) -> Entry:
    (entry,) = (one for one in result.entries if (one.name, one.place) == (name, place))
    return entry


def test_the_twin_is_a_row_as_it_is_no_reference(measured: tuple[Distances, Seen]) -> None:
    result, _ = measured
    assert result.twin_of == "base"
    assert result.rows == ("audited", "base", "twin", "random")
    assert result.notes == ("the twin is another seed of the base, so the unit is their distance",)
    assert result.models["twin"]["without"] == []
    assert result.models["retrained"]["without"] == ["church"]
    assert "distance of two seeds, base and twin" in "\n".join(table_of(result))
    for entry in result.entries:
        assert set(result.rows) - {"base"} <= set(entry.readings), entry


def test_the_unit_is_the_distance_of_base_and_twin(measured: tuple[Distances, Seen]) -> None:
    result, seen = measured
    entry = _entry(result, "D2", "concept pictures, null text, all times")
    gaps = {role: seen.passes[role].gaps for role in ("audited", "twin")}
    key = ("concept", "null")
    assert not entry.floored
    assert entry.unit == pytest.approx(float(gaps["twin"]["base", key].mean()))
    assert entry.readings["audited"].value == pytest.approx(
        float(gaps["audited"]["retrained", key].mean())
    )


@pytest.mark.parametrize("text", ["null", "concept"])
def test_losses_are_held_against_the_retrained_model_alone(
    measured: tuple[Distances, Seen], text: str
) -> None:
    result, seen = measured
    losses = {role: seen.losses(role, ("concept", text)) for role in seen.passes}
    spread = ((losses["base"] - losses["twin"]).square().mean() / 2).sqrt()
    entry = _entry(result, "D3", f"concept pictures, {text} text")
    for role in ("audited", "twin"):
        shift = (losses[role] - losses["retrained"]).mean()
        assert entry.readings[role].value == pytest.approx(float(shift))
        assert entry.readings[role].units == pytest.approx(float(shift / spread))


def test_the_unit_of_membership_is_chance_as_the_twin_was_trained_on_the_pictures(
    measured: tuple[Distances, Seen],
) -> None:
    result, _ = measured
    entry = _entry(result, "D7", "trained against held-out pictures, null text")
    assert entry.floored
    assert entry.unit == pytest.approx(((2 * SHOWN + 1) / (12 * SHOWN**2)) ** 0.5)
