"""A model whose text encoder was edited, among the models of an audit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from support.attacked import tiny_checkpoint as attacked_checkpoint
from support.attacked import tiny_target
from support.results.edited import edit_record

from erasure.attacks import Attempt, Target
from erasure.attacks.gradient.prefix import Prefix
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.writing.folder import write_folder
from erasure.errors import ConfigError, TrainingError
from pipelines.audit.attacking import attempts_of
from pipelines.audit.lines import open_lines
from pipelines.audit.settings import AuditRecipe


@pytest.fixture
def edited(tiny_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    part, weights = "text_encoder", dict(tiny_checkpoint.components["text_encoder"])
    name = "text_model.final_layer_norm.weight"
    after = tiny_checkpoint.having(part, weights | {name: weights[name] + 0.5})
    made = edit_record(base_hash=tiny_checkpoint.hash_of(part), component=part)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing(Prefix):
    """Puts its words into the table itself, as loaders of learned embeddings do."""

    def run(self, target: Target, /) -> Iterator[Attempt]:
        with torch.no_grad():
            target.text.towers[0][1].get_input_embeddings().weight[3] += 1
        yield from Prefix.run(self, target)


def test_an_attack_that_writes_into_the_text_encoder_stops_the_audit(tmp_path: Path) -> None:
    target = tiny_target(attacked_checkpoint(tmp_path))
    attempts, reason = attempts_of(Prefix(rounds=1, steps=1, tokens=1), target)
    assert len(attempts) == len(target.cases)
    assert not reason
    with pytest.raises(TrainingError, match="prefix changed the weights of the model audited"):
        attempts_of(Writing(rounds=1, steps=1, tokens=1), target)
