"""What an audit with two retrained models measures beside its attacks."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from support.results.distanced import write_models

from erasure.errors import ConfigError
from pipelines.audit.settings import AuditRecipe
from pipelines.distances import beside
from pipelines.distances.beside import _SHARED, check_beside, measure_beside, recipe_beside
from pipelines.distances.settings import DistanceRecipe
from pipelines.process.progress import Reporter


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
    assert measure_beside(recipe, tmp_path, reporter=Reporter(quiet=True)) is None


def test_every_setting_that_both_know_is_handed_on(tmp_path: Path) -> None:
    streamed = replace(_recipe("one", "two"), stream=True)
    made = recipe_beside(streamed, tmp_path)
    assert made is not None
    assert made.stream
    own = {"audit", "trained", "draws", "shown", "bins", "samples", "cache"}
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
    with pytest.raises(ConfigError, match="have the same weights"):
        check_beside(recipe, tmp_path)


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

    def measured(recipe: DistanceRecipe, out: Path, **_: object) -> None:
        runs.append(recipe)
        out.mkdir(exist_ok=True)
        (out / "distance.json").write_text("{}")

    def opened(_: DistanceRecipe) -> SimpleNamespace:
        return SimpleNamespace(checkpoints={"audited": model})

    monkeypatch.setattr(beside, "run_distances", measured)
    monkeypatch.setattr(beside, "open_models", opened)
    monkeypatch.setattr(beside, "read_attacks", lambda *_: curves)
    quiet = Reporter(quiet=True)
    first = measure_beside(_recipe("one", "two"), tmp_path, reporter=quiet)
    assert first == measure_beside(_recipe("one", "two"), tmp_path, reporter=quiet)
    assert first == tmp_path / "distances" / "distance.json"
    assert len(runs) == 1
    measure_beside(_recipe("one", "three"), tmp_path, reporter=quiet)
    assert [one.twin for one in runs] == ["two", "three"]
    curves.append("of another audit in the same folder")
    measure_beside(_recipe("one", "three"), tmp_path, reporter=quiet)
    assert len(runs) == 3
    model.components["unet"] = "b"  # trained again into the same folder
    measure_beside(_recipe("one", "three"), tmp_path, reporter=quiet)
    assert len(runs) == 4
    shown = replace(_recipe("one", "three"), pictures=str(tmp_path / "shown"))
    (tmp_path / "shown").mkdir()
    for colour in ("red", "red", "blue"):  # another picture in the same place
        Image.new("RGB", (8, 8), colour).save(tmp_path / "shown" / "a.png")
        measure_beside(shown, tmp_path, reporter=quiet)
    assert len(runs) == 6
    seen = replace(shown, judge=str(tmp_path / "judge"), labels=str(tmp_path / "labels.csv"))
    (tmp_path / "judge").mkdir()
    for file in ("judge/weights", "judge/weights", "labels.csv"):  # and again, by another content
        for content in ("one", "two", "two"):
            (tmp_path / file).write_text(content)
            measure_beside(seen, tmp_path, reporter=quiet)
    assert len(runs) == 6 + 2 + 2 + 2
