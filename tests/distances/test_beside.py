"""What an audit with two retrained models measures beside its attacks."""

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from support.results.distanced import (
    bright_judge,
    coarse_measure,
    write_curves,
    write_models,
    write_pictures,
)

from erasure.errors import ConfigError
from pipelines.audit.outcome.results import Audit
from pipelines.audit.page.page import Table
from pipelines.audit.settings import AuditRecipe, resolve_audit
from pipelines.distances import beside, run
from pipelines.distances.beside import _SHARED, check_beside, measure_beside, recipe_beside
from pipelines.distances.models import open_models
from pipelines.distances.result import Distances, table_of, write_distances
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter

AUDIT: Audit = SimpleNamespace()  # type: ignore[assignment]
RESULT = Distances(
    concept="church",
    models={},
    twin_of="retrained",
    rows=("audited",),
    pictures="drawn by the base",
    judge={},
    entries=(),
    not_measured=(),
    notes=(),
    protocol={},
    versions={},
    seconds={},
)


def _recipe(*retrained: str, against: str | None = "demo") -> AuditRecipe:
    return AuditRecipe(
        model="out/church", concept="church", against=against, retrained=retrained, seed=4
    )


def test_two_retrained_models_and_a_base_are_measured(tmp_path: Path) -> None:
    made = recipe_beside(_recipe("one", "two"), tmp_path)
    assert made is not None
    assert (made.model, made.base, made.retrained, made.twin) == (
        "out/church",
        "demo",
        "one",
        "two",
    )
    assert (made.seed, made.audit) == (4, str(tmp_path / "audit.json"))


@pytest.mark.parametrize("recipe", [_recipe("one"), _recipe(), _recipe("one", "two", against=None)])
def test_fewer_models_measure_nothing(tmp_path: Path, recipe: AuditRecipe) -> None:
    assert recipe_beside(recipe, tmp_path) is None
    check_beside(recipe, tmp_path)
    assert measure_beside(recipe, AUDIT, tmp_path, reporter=Reporter(quiet=True)) is None


def test_every_setting_that_both_know_is_handed_on(tmp_path: Path) -> None:
    streamed = replace(_recipe("one", "two"), stream=True)
    made = recipe_beside(streamed, tmp_path)
    assert made is not None
    assert made.stream
    own = {"audit", "draws", "shown", "bins", "samples", "cache"}
    own |= {"retrained", "twin", "base"}
    assert set(_SHARED) == {field.name for field in fields(DistanceRecipe)} - own


def test_a_guarded_model_has_no_distances(tmp_path: Path) -> None:
    guarded = replace(_recipe("one", "two"), model="demo", guard="prompt-filter")
    assert recipe_beside(guarded, tmp_path) is None
    check_beside(guarded, tmp_path)  # the model may be its own base


def test_models_that_do_not_go_together_are_refused_before_the_audit(tmp_path: Path) -> None:
    models = {role: str(path) for role, path in write_models(tmp_path / "models").items()}
    recipe = AuditRecipe(
        model=models["audited"],
        concept="church",
        against=models["base"],
        retrained=(models["retrained"], models["retrained"]),
    )
    with pytest.raises(ConfigError, match=r"same weights.*; give another model by --retrained"):
        check_beside(recipe, tmp_path)


def test_a_whole_measurement_is_shown_on_the_page_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = write_models(tmp_path / "models")
    smallest = partial(DistanceRecipe, draws=4, shown=4, bins=1, samples=1)
    monkeypatch.setattr(beside, "DistanceRecipe", smallest)
    monkeypatch.setattr(run, "cell_judge", bright_judge)
    monkeypatch.setattr(run, "measure_of", coarse_measure)
    tables: list[Table] = []
    monkeypatch.setattr(beside, "write_page", lambda *shown: tables.append(shown[2]))
    recipe = AuditRecipe(
        model=str(models["audited"]),
        concept="church",
        against=str(models["base"]),
        retrained=(str(models["retrained"]), str(models["twin"])),
        pictures=str(write_pictures(tmp_path / "held-out", 4, 1)),
        trained=str(write_pictures(tmp_path / "trained", 4, 2)),
        steps=1,
        size=16,
        device="cpu",
    )
    own = recipe_beside(recipe, tmp_path)
    assert own is not None
    write_curves(open_models(own), tmp_path / "audit.json")
    result = measure_beside(recipe, AUDIT, tmp_path, reporter=Reporter(quiet=True))
    assert result is not None
    assert {entry.name for entry in result.entries} == {f"D{n}" for n in range(1, 9)}
    assert result.not_measured == ()
    (table,) = tables
    assert table.rows[0] == ["distance to the retrained model", "unit", *result.rows]
    assert "\n".join(table_of(result)).endswith("\n".join(table.notes))
    reporter = Reporter(quiet=True)
    again = measure_beside(recipe, AUDIT, tmp_path, reporter=reporter)
    assert reporter.seconds == {}  # it was read
    assert again is not None
    assert again.rows == result.rows
    assert tables[1] == table


@pytest.mark.parametrize(
    "own", [{}, {"pictures": "p", "retrained": ("one",)}, {"pictures": "p", "against": None}]
)
def test_pictures_that_no_distance_would_read_are_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="trained would not be read: it is held against pictures"):
        replace(_recipe("one", "two"), trained="t", **own)
    assert replace(_recipe("one", "two"), pictures="p", trained="t").trained == "t"


def test_what_such_pictures_lack_is_told_by_the_options_that_give_it() -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_audit({"model": "demo", "concept": "church", "trained": "t"}, canvas=True)
    assert "held against --pictures that the base" in refused.value.typed
    assert "two models given by --retrained, with a base" in refused.value.typed


@dataclass(frozen=True)
class Bare:
    """A model of which the weights alone count."""

    components: dict[str, str]

    def hash_of(self, component: str) -> str:
        return self.components[component]


def test_what_is_there_of_the_same_audit_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[DistanceRecipe] = []
    model = Bare({"unet": "a"})
    curves = ["of the first audit"]

    def measured(recipe: DistanceRecipe, out: Path, **_: object) -> Distances:
        runs.append(recipe)
        write_distances(RESULT, out)
        return RESULT

    def opened(_: DistanceRecipe) -> SimpleNamespace:
        return SimpleNamespace(checkpoints={"audited": model})

    monkeypatch.setattr(beside, "run_distances", measured)
    monkeypatch.setattr(beside, "open_models", opened)
    monkeypatch.setattr(beside, "read_attacks", lambda *_: curves)
    monkeypatch.setattr(beside, "write_page", lambda *_: None)

    def measure(recipe: AuditRecipe) -> Distances | None:
        return measure_beside(recipe, AUDIT, tmp_path, reporter=Reporter(quiet=True))

    assert measure(_recipe("one", "two")) == measure(_recipe("one", "two")) == RESULT
    assert len(runs) == 1
    (tmp_path / "distances" / "distance.json").write_text("{}", encoding="utf-8")
    assert measure(_recipe("one", "two")) == RESULT  # what is damaged is made again
    assert len(runs) == 2
    runs.pop()
    measure(_recipe("one", "three"))
    assert [one.twin for one in runs] == ["two", "three"]
    curves.append("of another audit in the same folder")
    measure(_recipe("one", "three"))
    assert len(runs) == 3
    model.components["unet"] = "b"  # trained again into the same folder
    measure(_recipe("one", "three"))
    assert len(runs) == 4
    shown = replace(_recipe("one", "three"), pictures=str(tmp_path / "shown"))
    (tmp_path / "shown").mkdir()
    for colour in ("red", "red", "blue"):  # another picture in the same place
        Image.new("RGB", (8, 8), colour).save(tmp_path / "shown" / "a.png")
        measure(shown)
    assert len(runs) == 6
    (tmp_path / "trained").mkdir()
    members = replace(shown, trained=str(tmp_path / "trained"))
    for colour in ("red", "red", "blue"):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "trained" / "a.png")
        measure(members)
    assert len(runs) == 8
    seen = replace(shown, judge=str(tmp_path / "judge"), labels=str(tmp_path / "labels.csv"))
    (tmp_path / "judge").mkdir()
    for file in ("judge/weights", "judge/weights", "labels.csv"):  # and again, by another content
        for content in ("one", "two", "two"):
            (tmp_path / file).write_text(content)
            measure(seen)
    assert len(runs) == 8 + 2 + 2 + 2
