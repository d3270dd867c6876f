"""Which models an audit holds beside the audited one, and what each stands for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.models.tiny_flow import write_sd3
from support.models.tiny_labels import write_ddpm, write_index
from support.tiny import write_tiny_pipeline
from transformers import CLIPTextConfig, CLIPTextModel

from erasure.errors import CheckpointError, ConfigError
from erasure.storage.bare_names import bare, is_bare
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import AuditRecipe
from pipelines.demo_checkpoint.retrained.record import FORMAT, RECORD


def model(
    folder: Path, shift: float, without: list[str] | None = None, *, recipe: str = "0"
) -> Path:
    """A tiny model with another last layer, and a record of what it never saw if there is one."""
    write_tiny_pipeline(folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    values = load_file(weights)
    values["conv_out.bias"] = values["conv_out.bias"] + shift
    save_file(values, weights, metadata={"format": "pt"})
    if without is not None:
        record = {
            "format": FORMAT,
            "without": {"objects": without, "styles": []},
            "seeds": [1],
            "recipe": {"steps": recipe},
            "recipe_hash": recipe,
        }
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> AuditRecipe:
    folder = tmp_path_factory.mktemp("models")
    return AuditRecipe(
        model=str(model(folder / "audited", 1)),
        concept="church",
        against=str(model(folder / "base", 0, [])),
        retrained=(
            str(model(folder / "no-church", 2, ["church"])),
            str(model(folder / "twin", 3, [])),
            str(model(folder / "unknown", 4)),
        ),
    )


def test_a_twin_of_the_base_saw_the_concept_and_is_no_floor(recipe: AuditRecipe) -> None:
    lines = open_lines(recipe)
    assert [name for name, line in lines.items() if line.is_floor] == [
        "retrained-1",
        "retrained-3",
        "random",
    ]
    assert lines["twin-2"].role == "twin"
    assert lines["retrained-1"].notes == ()
    (note,) = lines["retrained-3"].notes
    assert note.startswith(f"retrained-3 has no {RECORD}, so that it was trained by the base's rec")


def test_a_model_that_was_retrained_without_something_else_is_refused(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = model(tmp_path / "no-dog", 5, ["dog"])
    with pytest.raises(CheckpointError, match="trained without dog, and the concept is church"):
        open_lines(replace(recipe, retrained=(str(other),)))


def test_a_model_of_another_recipe_than_the_base_is_refused_or_said(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = str(model(tmp_path / "other", 6, ["church"], recipe="9"))
    with pytest.raises(CheckpointError, match="than the base: steps is '9', and '0' of the base"):
        open_lines(replace(recipe, retrained=(other,)))
    base = str(model(tmp_path / "base", 7))
    (note,) = open_lines(replace(recipe, against=base, retrained=(other,)))["retrained-1"].notes
    assert note.startswith(f"retrained-1 has a {RECORD} and the base has none")


@pytest.mark.parametrize("lacking", ["base", "audited"])
def test_a_model_that_lacks_a_text_encoder_of_the_other_is_refused(
    lacking: str, tmp_path: Path
) -> None:
    pair = {name: write_sd3(tmp_path / name, t5=name != lacking) for name in ("base", "audited")}
    asked = AuditRecipe(
        model=str(pair["audited"]), concept="church", against=str(pair["base"]), attacks=("seeds",)
    )
    with pytest.raises(CheckpointError, match=f"text_encoder_3 and .*{lacking} has none"):
        open_lines(asked)


def text_encoder(folder: Path, *, more_layers: int = 0) -> None:
    """Put another one of random weights into a model's folder."""
    place = folder / "text_encoder"
    config = CLIPTextConfig.from_pretrained(place)
    config.num_hidden_layers += more_layers
    CLIPTextModel(config).save_pretrained(place)


@pytest.mark.parametrize("role", ["base", "retrained"])
def test_a_model_whose_text_encoder_is_of_another_architecture_is_refused(
    role: str, recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = model(tmp_path / "other", 6)
    text_encoder(other, more_layers=1)
    place = {"against": str(other)} if role == "base" else {"retrained": (str(other),)}
    wanted = "text_encoder of .* has other shapes .* so no payload fits both; give a model whose te"
    with pytest.raises(CheckpointError, match=wanted):
        open_lines(replace(recipe, **place))  # type: ignore[arg-type]


def test_another_training_of_the_text_encoder_is_said_beside_the_figures(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = model(tmp_path / "other", 6, ["church"])
    text_encoder(other)
    (note,) = open_lines(replace(recipe, retrained=(str(other),)))["retrained-1"].notes
    assert note.startswith("the text_encoder of retrained-1 has other weights than that of the aud")


def test_a_base_that_predicts_something_else_is_refused(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    base = model(tmp_path / "base", 0)
    file = base / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "prediction_type": "v_prediction"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="predicts v_prediction and the audited model eps"):
        open_lines(replace(recipe, against=str(base), retrained=()))


def test_a_kept_concept_that_was_erased_is_refused(recipe: AuditRecipe) -> None:
    with pytest.raises(ConfigError, match="kept names Church, which church means too, and that"):
        open_lines(replace(recipe, kept=("Church",)))


def test_a_class_that_is_called_like_another_place_stays_in_the_folder(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "model")
    names = {"0": "../../away", **{str(n): f"thing {n}" for n in range(1, 4)}}
    write_index(folder, id2label=names)
    asked = AuditRecipe(model=str(folder), concept="1", kept=("0",), attacks=("seeds",))
    lines = open_lines(asked)
    assert lines["kept-.._.._away"].concept == "../../away"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "c:", "line\nend", "..."])
def test_whatever_a_thing_is_called_its_bare_name_is_bare(name: str) -> None:
    assert is_bare(bare(name))
