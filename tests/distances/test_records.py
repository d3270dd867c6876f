"""The records of retrained models: read, and held against each other and the concept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.results.recorded import put_record, record_named, record_values

from erasure.errors import CheckpointError
from pipelines.demo_checkpoint.retrained.record import FORMAT, RECORD
from pipelines.distances.records import Holder, Retrained, fit_of, read_record, role_of


def test_a_twin_is_another_seed_of_the_retrained_model_or_of_the_base() -> None:
    church, again, twin = map(record_named, ("no-church", "no-church-2", "twin"))
    assert fit_of({"retrained": church, "twin": again}, ["church"]).twin_of == "retrained"
    fit = fit_of({"retrained": church, "twin": twin}, ["church"])
    assert fit.twin_of == "base"
    assert "another seed of the base" in fit.notes[0]
    fit = fit_of({"retrained": None, "twin": twin}, ["church"])  # whose own record says so
    assert fit.twin_of == "base"
    assert "the retrained model has no" in fit.notes[0]
    assert fit_of({"retrained": None, "twin": again}, ["church"]).twin_of == "retrained"
    with pytest.raises(CheckpointError, match="the twin was trained without dog"):
        fit_of({"retrained": None, "twin": record_named("no-dog")}, ["church"])


def test_a_retrained_model_without_a_twin_is_held_against_the_concept() -> None:
    assert fit_of({"retrained": record_named("no-church")}, ["church"]).notes == ()
    (note,) = fit_of({"retrained": None}, ["church"]).notes
    assert note.startswith(f"the retrained model has no {RECORD}")
    with pytest.raises(CheckpointError, match="without dog, and the concept is church"):
        fit_of({"retrained": record_named("no-dog")}, ["church"])


@pytest.mark.parametrize(
    ("retrained", "twin", "erased", "message"),
    [
        ("no-church", "no-church", "church", "both trained from the seeds"),
        ("no-church", "no-dog", "church", "the twin was trained without dog"),
        ("no-dog", "twin", "church", "was trained without dog, and the concept is church"),
        ("twin", "twin", "church", "without nothing, and the concept is church"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    retrained: str, twin: str, erased: str, message: str
) -> None:
    records = {"retrained": record_named(retrained), "twin": record_named(twin)}
    with pytest.raises(CheckpointError, match=message):
        fit_of(records, [erased])


def test_another_recipe_is_refused_and_named() -> None:
    records = {"retrained": record_named("no-church"), "twin": record_named("no-church-2", 16)}
    with pytest.raises(CheckpointError, match="recipe: batch is 16, and 32 of the retrained model"):
        fit_of(records, ["church"])


def _shorter(record: Retrained) -> Retrained:
    """The same after fewer steps of the second descent."""
    first, second = record.recipe["descents"]
    descents = [first, {**second, "steps": 2600}]
    return replace(record, recipe={**record.recipe, "descents": descents}, recipe_hash="another")


@pytest.mark.parametrize("twin", ["no-church-2", "twin", None])
def test_a_pair_of_another_recipe_than_the_base_is_refused_and_named(twin: str | None) -> None:
    records: dict[Holder, Retrained | None] = {"retrained": _shorter(record_named("no-church"))}
    if twin is not None:
        records["twin"] = _shorter(record_named(twin))
    assert (
        fit_of(records, ["church"]).notes == fit_of({**records, "base": None}, ["church"]).notes[1:]
    )
    with pytest.raises(
        CheckpointError,
        match="the retrained model was trained by another recipe than the base: descents 2, steps "
        "is 2600, and 6500 of the base",
    ):
        fit_of({**records, "base": record_named("base")}, ["church"])


def test_a_twin_alone_is_held_against_the_base_too() -> None:
    records: dict[Holder, Retrained | None] = {"base": record_named("base"), "retrained": None}
    with pytest.raises(CheckpointError, match="the twin was trained by another recipe than the"):
        fit_of({**records, "twin": record_named("twin", 16)}, ["church"])
    with pytest.raises(CheckpointError, match="the base and its twin were both trained from"):
        fit_of({**records, "twin": record_named("base")}, ["church"])


def test_a_base_without_a_record_is_taken_for_granted_and_said() -> None:
    (note,) = fit_of({"base": None, "retrained": record_named("no-church")}, ["church"]).notes
    assert note.startswith(f"the retrained model has a {RECORD} and the base has none, so that")
    (note,) = fit_of({"base": None, "retrained": None}, ["church"]).notes
    assert note.startswith(f"the retrained model has no {RECORD}")


def test_what_a_model_stands_for_follows_from_its_record() -> None:
    def role(record: Retrained | None) -> str:
        return role_of(record, record_named("base"), ["church"], "the model x")

    assert role(None) == role(record_named("no-church")) == "retrained"
    assert role(record_named("twin")) == "twin"
    with pytest.raises(CheckpointError, match="the model x was trained without dog"):
        role(record_named("no-dog"))
    for name in ("no-church", "twin"):
        with pytest.raises(CheckpointError, match="the model x was trained by another recipe than"):
            role(record_named(name, 16))


def test_a_record_is_read_from_the_folder_of_its_model(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    put_record(tmp_path, "no-weapons")
    assert read_record(tmp_path) == record_named("no-weapons")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format": "other 3"}', '{"format": "%s", "without": 3}']
)
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text.replace("%s", FORMAT))
    with pytest.raises(CheckpointError, match=RECORD):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seeds": "26"}, "record.seeds is '26'"),
        ({"seeds": [2.5]}, "record.seeds"),
        ({"seeds": None}, "record.seeds is"),
        ({"without": {"objects": "church", "styles": []}}, "record.without.objects is 'church'"),
        ({"without": {"objects": [["church"]], "styles": []}}, "record.without.objects"),
        ({"without": []}, "record.without is"),
        ({"recipe": [1]}, "record.recipe is"),
        ({"recipe_hash": None}, "record.recipe_hash is None, not text"),
        ({"recipe_hash": 4}, "record.recipe_hash is 4"),
    ],
    ids=str,
)
def test_a_record_with_values_of_other_types_is_refused(
    tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    text = json.dumps({**record_values("no-church"), **changed})
    (tmp_path / RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError) as refused:
        read_record(tmp_path)
    assert f"{RECORD} is damaged: {words}" in str(refused.value)
    assert str(refused.value).endswith("; write the model again")
