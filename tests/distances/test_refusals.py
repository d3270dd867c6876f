"""What cannot be compared is refused, and the message says what differs."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models.tiny_models import SMALL, write_pipeline
from support.results.distanced import (
    bright_judge,
    nudge,
    tiny_recipe,
    write_curves,
    write_models,
    write_pictures,
)

from erasure.architectures.building import build_codec
from erasure.checkpoints import Checkpoint
from erasure.diffusion.schedule import RectifiedFlow
from erasure.errors import CheckpointError, ConfigError
from pipelines.distances import comparable, run
from pipelines.distances.attacks import attack_areas, read_attacks
from pipelines.distances.draws import Asked
from pipelines.distances.groups import Shelf
from pipelines.distances.models import Models, open_models
from pipelines.distances.run import run_distances
from pipelines.distances.settings import DistanceRecipe, recipe_of
from pipelines.process.progress import Reporter

VAE = Path("vae") / "diffusion_pytorch_model.safetensors"
TEXT = Path("text_encoder") / "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


def _changed(models: dict[str, Path], folder: Path, part: str, **values: object) -> Path:
    """The retrained model with another value in a JSON file of it."""
    copy = folder / "changed"
    shutil.copytree(models["retrained"], copy)
    path = copy / part
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


def _refused(models: dict[str, Path], **own: object) -> str:
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        open_models(tiny_recipe(models, None, **own))
    return str(caught.value)


def test_models_that_go_together_are_opened(opened: Models) -> None:
    assert list(opened.checkpoints) == ["audited", "base", "retrained", "twin", "random"]
    assert opened.pair == ("retrained", "twin")
    assert len(opened.notes) == 2  # neither has a record


def test_another_text_encoder_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = _changed(models, tmp_path, "text_encoder/config.json", num_attention_heads=1)
    said = _refused(models, retrained=str(other))
    assert "another text_encoder: num_attention_heads is 1" in said
    assert "--retrained" in said


def test_another_tokenizer_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "changed"
    shutil.copytree(models["twin"], other)
    path = other / "tokenizer" / "tokenizer.json"
    table = json.loads(path.read_text())
    vocabulary = table["model"]["vocab"]
    first, second = sorted(vocabulary)[:2]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(table))
    assert "another tokenizer: 2 of" in _refused(models, twin=str(other))


def test_another_autoencoder_or_scale_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = _changed(models, tmp_path, "vae/config.json", scaling_factor=0.5)
    assert "scales latents by 0.5, and the base by 0.18215" in _refused(models, twin=str(other))
    another = tmp_path / "vae"
    shutil.copytree(models["twin"], another)
    values = load_file(another / VAE)
    values["encoder.conv_in.bias"] = values["encoder.conv_in.bias"] + 1
    save_file(values, another / VAE, metadata={"format": "pt"})
    assert "another VAE: 1 of" in _refused(models, twin=str(another))


def test_another_schedule_or_prediction_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    path = "scheduler/scheduler_config.json"
    other = _changed(models, tmp_path, path, beta_end=0.02)
    assert "another noise schedule" in _refused(models, retrained=str(other))
    shutil.rmtree(other)
    other = _changed(models, tmp_path, path, prediction_type="v_prediction")
    assert "predicts v_prediction, and the base epsilon" in _refused(models, model=str(other))


def test_a_model_whose_times_are_of_no_known_kind_is_refused_before_it_draws(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparable, "schedule_of", lambda _: object())
    said = _refused(models)
    assert "neither discrete steps nor those of a rectified flow" in said


def test_a_flow_of_another_shift_is_refused(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shifts = iter([RectifiedFlow(3.0), RectifiedFlow(1.0)])
    monkeypatch.setattr(comparable, "schedule_of", lambda _: next(shifts))
    assert "shifts its times by 1, and the base by 3" in _refused(models)


def test_another_network_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    other = write_pipeline(tmp_path / "other", SMALL)
    assert "another unet" in _refused(models, retrained=str(other))


@pytest.mark.parametrize(
    ("option", "same"),
    [("twin", "retrained"), ("twin", "base"), ("retrained", "base"), ("model", "base")],
)
def test_one_model_in_two_places_is_refused(
    models: dict[str, Path], option: str, same: str
) -> None:
    said = _refused(models, **{option: str(models[same])})
    assert "have the same weights" in said
    assert str(models[same]) in said


def test_settings_that_measure_nothing_are_refused() -> None:
    named = dict.fromkeys(("model", "concept", "retrained", "twin", "base"), "x")
    assert recipe_of(named, canvas=True).steps == 25
    assert recipe_of(named, canvas=False).steps == 50
    for name, value in (("draws", 3), ("shown", 2), ("bins", 0), ("seed", -1), ("steps", 2000)):
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            DistanceRecipe(**named, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--trained is given without --pictures"):
        DistanceRecipe(**named, trained="y")  # type: ignore[arg-type]


def test_a_group_of_too_few_pictures_is_refused(tiny_checkpoint: Checkpoint) -> None:
    shelf = Shelf(build_codec(tiny_checkpoint), Asked({}, 4), ("base",), reads_text=True)
    picture = (Image.new("RGB", (16, 16)), "a church")
    with pytest.raises(ConfigError, match="there are 3 pictures of the group 'concept'; give 4"):
        shelf.add("concept", [picture] * 3, "concept")
    shelf.add("concept", [picture] * 4, "concept", texts=("concept",))
    assert [len(group.mean) for group in shelf.groups] == [4]


def test_pictures_are_told_their_own_prompts_or_else_the_plain_one(
    models: dict[str, Path], tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = write_pictures(tmp_path / "shown", 4, 0)
    recipe = tiny_recipe(models, folder)
    codec, asked = build_codec(tiny_checkpoint), Asked({"concept": ("a church", "church")}, 4)

    def prompts(*, reads_text: bool = True) -> list[str]:
        shelf = Shelf(codec, asked, ("base",), reads_text=reads_text)
        return sorted(prompt for _, prompt in shelf.read(str(folder), recipe, 16))

    assert prompts() == ["a church"] * 4
    rows = [{"file_name": f"{n}.png", "prompt": f"a church in style {n}"} for n in range(4)]
    table = "\n".join(map(json.dumps, rows))
    (folder / "metadata.jsonl").write_text(table, encoding="utf-8")
    assert prompts() == [f"a church in style {n}" for n in range(4)]
    assert prompts(reads_text=False) == ["a church"] * 4  # a class has no other name


@pytest.mark.slow
def test_too_few_pictures_are_refused(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "cell_judge", bright_judge)
    recipe = tiny_recipe(models, write_pictures(tmp_path / "few", 2, 0), draws=4)
    with pytest.raises(ConfigError, match="there are 2 pictures of the group 'concept'"):
        run_distances(recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True))
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def opened(models: dict[str, Path]) -> Models:
    return open_models(tiny_recipe(models, None))


def test_the_areas_of_an_audit_are_read(opened: Models, tmp_path: Path) -> None:
    attacked = read_attacks(write_curves(opened, tmp_path / "audit.json"), opened)
    entries = list(attack_areas(attacked, opened, 0))
    assert [entry.place for entry in entries] == [
        "words, passes a case",
        "relearning, passes a case",
        "relearning, steps",
    ]
    words = entries[0]
    # One log interval, so the area is the gap at its left end: 0.6 - 0 over 0.1 - 0.
    assert words.readings["audited"].value == pytest.approx(0.6)
    assert words.readings["audited"].units == pytest.approx(6.0)
    assert words.details["audited"] == {"lead": pytest.approx(0.6), "log_half_ratio": float("inf")}


def test_steps_that_the_budget_cut_do_not_change_the_cases(opened: Models, tmp_path: Path) -> None:
    path = write_curves(opened, tmp_path / "audit.json")
    values = json.loads(path.read_text())
    last = {"arm": "20 steps", "lines": {}}
    for line in values["attacks"][1]["lines"]:
        last["lines"][line] = {"count": 1, "total": 2}  # type: ignore[index]
    values["attacks"][1]["arms"].append(last)
    path.write_text(json.dumps(values))
    curve = read_attacks(path, opened).relearning["audited"]
    assert (curve.costs, curve.arrivals, curve.total) == ((5.0, 10.0, 20.0), (2, 5, 0), 10)


def test_an_audit_of_another_concept_or_of_a_guard_is_refused(
    opened: Models, tmp_path: Path
) -> None:
    path = write_curves(opened, tmp_path / "audit.json")
    values = json.loads(path.read_text())
    for concept in ("dog", ""):
        path.write_text(json.dumps({**values, "concept": concept}))
        with pytest.raises(ConfigError, match=f"is of {concept}, and the distances are of church"):
            read_attacks(path, opened)
    values["models"]["audited"]["guard"] = "prompt-filter against 'church', not exportable"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="is of a model behind the guard prompt-filter against"):
        read_attacks(path, opened)


def _words_erased(models: dict[str, Path], folder: Path) -> Path:
    """The base with another text encoder, as a method leaves it that erases there."""
    shutil.copytree(models["base"], folder)
    nudge(folder, 1e-2, 5, TEXT)
    return folder


def test_an_erasure_in_the_text_encoder_is_another_model(
    models: dict[str, Path], tmp_path: Path
) -> None:
    erased = _words_erased(models, tmp_path / "erased")
    opened = open_models(tiny_recipe(models, None, model=str(erased)))
    assert opened.checkpoints["audited"].network_hash() == opened.checkpoints["base"].network_hash()
    curves = read_attacks(write_curves(opened, tmp_path / "audit.json"), opened).curves["words"]
    assert curves["audited"].arrivals == (6, 3)
    assert curves["base"].arrivals == (10, 0)


def test_an_audit_of_other_models_is_refused(opened: Models, tmp_path: Path) -> None:
    path = write_curves(opened, tmp_path / "audit.json", without="twin")
    with pytest.raises(ConfigError, match="did not attack the twin model"):
        read_attacks(path, opened)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "x"}', "damaged"])
def test_a_damaged_audit_is_refused(opened: Models, tmp_path: Path, text: str) -> None:
    path = tmp_path / "audit.json"
    if text == "damaged":
        values = json.loads(write_curves(opened, path).read_text())
        values["attacks"][0]["lines"]["audited"]["curve"][0]["share"] = None
        text = json.dumps(values)
    path.write_text(text)
    with pytest.raises(CheckpointError, match="audit"):
        read_attacks(path, opened)


def test_a_model_that_was_nudged_has_another_hash(models: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(models["base"], tmp_path / "copy")
    nudge(tmp_path / "copy", 1e-3, 9)
    open_models(tiny_recipe(models, None, model=str(tmp_path / "copy")))
