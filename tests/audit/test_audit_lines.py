"""Which models an audit holds beside the audited one, and what each stands for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.tiny import write_tiny_pipeline

from erasure.errors import CheckpointError
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import AuditRecipe
from pipelines.demo_checkpoint.retrained.record import FORMAT, RECORD


def model(folder: Path, shift: float, without: list[str] | None = None) -> Path:
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
            "recipe": {},
            "recipe_hash": "0",
        }
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> AuditRecipe:
    folder = tmp_path_factory.mktemp("models")
    return AuditRecipe(
        model=str(model(folder / "audited", 1)),
        concept="church",
        against=str(model(folder / "base", 0)),
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


def test_a_model_that_was_retrained_without_something_else_is_refused(
    recipe: AuditRecipe, tmp_path: Path
) -> None:
    other = model(tmp_path / "no-dog", 5, ["dog"])
    with pytest.raises(CheckpointError, match="trained without dog, and the concept is church"):
        open_lines(replace(recipe, retrained=(str(other),)))
