"""A model whose text encoder was edited, among the models of an audit."""

from dataclasses import replace
from pathlib import Path

import pytest

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.writing.folder import write_folder
from erasure.errors import ConfigError
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import AuditRecipe


@pytest.fixture
def edited(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    part, weights = "text_encoder", dict(tiny_checkpoint.components["text_encoder"])
    name = "text_model.final_layer_norm.weight"
    after = tiny_checkpoint.having(part, weights | {name: weights[name] + 0.5})
    made = EditRecord(
        concept="church",
        base_hash=tiny_checkpoint.hash_of(part),
        component=part,
        objective="a test",
        config={},
        density=1.0,
        selected=1,
        moved=1,
        total=1,
        version="0",
    )
    write_folder(replace(after, provenance=Provenance(edits=(made,))), tmp_path / "edited")
    return tmp_path / "edited"


def test_it_is_held_against_its_base_and_says_what_no_attack_on_weights_touches(
    edited: Path, tiny_folder: Path
) -> None:
    recipe = AuditRecipe(model=str(edited), concept="church", against=str(tiny_folder))
    lines = open_lines(recipe)
    assert lines["base"].checkpoint.hashes() != lines["audited"].checkpoint.hashes()
    (note,) = lines["audited"].notes
    assert note.startswith("the text_encoder was edited, and the attacks that change weights")
    with pytest.raises(ConfigError, match="have the same weights, so nothing was erased"):
        open_lines(replace(recipe, against=str(edited)))
