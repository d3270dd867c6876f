"""Values of files that no code expects: each ends in a sentence, or is passed over."""

import json
import os
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from support.console import erasure
from support.refusals import assert_told
from support.results.evaluated import evaluation

from erasure.errors import CheckpointError, ConfigError
from erasure.storage.tensors.pickles import read_pickle
from eval.errors import EvalError
from eval.rates.intervals import Proportion
from pipelines.bench.tables.columns import Value
from pipelines.class_checkpoint.released import convert
from pipelines.classifiers.bench.cells import Cell, CellFile
from pipelines.classifiers.exact_folder import FORMAT as EXACT_FORMAT
from pipelines.classifiers.exact_folder import require_replaceable
from pipelines.classifiers.exact_models import forget_exact
from pipelines.classifiers.run_settings import ForgetRun
from pipelines.comparison.run_facts import base_of
from pipelines.comparison.sources import _runs_of
from pipelines.comparison.table import ComparedRuns
from pipelines.demo_checkpoint.retrained.record import RECORD, claim_states
from pipelines.distances.records import FORMAT, read_record
from pipelines.evaluation.outcome.card import write_card

ODD = {
    "sparse": torch.eye(3).to_sparse(),
    "larger than its data": torch.zeros(1).expand(1_000_000),
    "without data": torch.zeros(3, device="meta"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_pickle_with_tensors_of_other_forms_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": {"conv_in.weight": ODD[kind]}}, path)
    with pytest.raises(CheckpointError, match="convert it to"):
        read_pickle(path, allowed=True)
    torch.save([{"conv_in.weight": ODD[kind]}], path)
    with pytest.raises(CheckpointError):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_with_a_number_for_a_name_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2), 5: torch.zeros(2)}, tmp_path / "odd.ckpt")
    with pytest.raises(CheckpointError, match="a tensor under 5, which is no name"):
        read_pickle(tmp_path / "odd.ckpt", allowed=True)


def test_a_weight_of_a_pickle_that_is_a_view_is_read(tmp_path: Path) -> None:
    path = tmp_path / "views.ckpt"
    whole = torch.arange(6.0).view(2, 3)
    torch.save({"a": whole.t(), "b": torch.nn.Parameter(whole)}, path)
    read = read_pickle(path, allowed=True).tensors
    assert torch.equal(read["a"], whole.t())
    assert not read["b"].requires_grad


def test_a_pipe_in_the_place_of_a_run_s_recipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recipe.toml")
    assert base_of(tmp_path) == ""


def test_a_home_that_nobody_has_is_a_path_like_others(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('model = "~nobody-here/model"\n', encoding="utf-8")
    assert Path("~nobody-here/model") in list(_runs_of(tmp_path))
    line = ("erase", "demo", "--concept", "church", "--out", tmp_path / "out", "--dry-run")
    assert_told(erasure(*line, "--lora", "~nobody-here/x.safetensors"), 2, "~nobody-here")
    assert_told(erasure(*line, "--vae", "~nobody-here/vae"), 2, "~nobody-here")


def test_the_name_of_a_suite_is_no_markup() -> None:
    table = ComparedRuns(suite="[/red] [bold", pictures=4, columns=(), rows=(), notes=())
    page = StringIO()
    Console(width=100, file=page).print(table.to_table())
    assert "[/red] [bold, 4" in page.getvalue()


@pytest.mark.parametrize("seed", ["1e999", "NaN", "[]"])
def test_a_record_of_a_retraining_with_no_seeds_is_damaged(seed: str, tmp_path: Path) -> None:
    without = '{"objects": [], "styles": []}'
    text = f'{{"format": "{FORMAT}", "without": {without}, "seeds": [{seed}], "recipe": {{}}, '
    (tmp_path / RECORD).write_text(text + '"recipe_hash": "x"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_record(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 50_000])
def test_states_beside_a_damaged_record_are_of_another_run(content: bytes, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(CheckpointError, match="give another --work"):
        claim_states(tmp_path, {"format": "x"})
    assert (tmp_path / RECORD).read_bytes() == content


def exact_folder(folder: Path, **record: object) -> Path:
    """A folder that says it is an exact model, or something else that has a record."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "ensemble.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_of_somebody_else_s_records_is_not_removed(tmp_path: Path) -> None:
    notes = exact_folder(tmp_path / "notes", artist="Nobody", year=1999)
    with pytest.raises(CheckpointError, match="is no folder of this command"):
        require_replaceable(notes, force=True)
    assert (notes / "ensemble.safetensors").is_file()
    require_replaceable(exact_folder(tmp_path / "own", format=EXACT_FORMAT), force=True)


@pytest.mark.parametrize("out", ["", "forgot", ".."])
def test_an_exact_model_is_neither_copied_into_itself_nor_removed(out: str, tmp_path: Path) -> None:
    folder = exact_folder(tmp_path / "all" / "sisa", format=EXACT_FORMAT)
    exact_folder(tmp_path / "all" / "record", format=EXACT_FORMAT)
    run = ForgetRun(model=str(folder), forget="10%", method="sisa")
    with pytest.raises(ConfigError, match="one lies in the other; give another"):
        forget_exact(run, folder / out, audit=False, force=True)
    assert (folder / "ensemble.safetensors").is_file()


def test_a_link_in_an_exact_model_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("secret", encoding="utf-8")
    for name, place, words in (
        ("one", tmp_path / "private" / "key", "is a link out of the model's folder"),
        ("two", tmp_path / "private", "is a link out of the model's folder"),
        ("three", tmp_path / "three", "is a link to a folder"),
    ):
        folder = exact_folder(tmp_path / name, format=EXACT_FORMAT)
        (folder / "points").symlink_to(place)
        run = ForgetRun(model=str(folder), forget="10%", method="sisa")
        with pytest.raises(CheckpointError, match=words):
            forget_exact(run, tmp_path / "out", audit=False, force=False)
        assert not (tmp_path / "out").exists()


def test_a_torn_line_of_a_benchmark_s_cells_is_passed_over(tmp_path: Path) -> None:
    whole = Cell(key="a", setting="digits/mlp/10%", row="ft", seed=0, error="it\u2028broke")
    cells = CellFile(tmp_path)
    cells.append(whole)
    with (tmp_path / "cells.jsonl").open("ab") as file:
        file.write(b'{"key": "\xff\xfe"}\n{"key"\n')
    assert cells.read() == {"a": whole}


@pytest.mark.parametrize("words", ["a: [", f"a: {'[' * 3000}", "- a", "model-index: 5", "\xff"])
def test_a_card_that_cannot_be_read_is_named_and_stays(words: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_bytes(f"---\n{words}\n---\n# Model\n".encode("latin-1"))
    before = card.read_bytes()
    with pytest.raises(EvalError, match="mend its metadata") as failure:
        write_card(evaluation(tmp_path / "evaluation"), tmp_path)
    assert "\n" not in str(failure.value)
    assert card.read_bytes() == before


def test_a_share_that_a_cell_s_file_does_not_say_is_none() -> None:
    assert Value.of_share(Proportion(1, 2, float("nan"), 0.0, 1.0)) is None
    assert Value.of_share(Proportion(1, 2, 0.5, 0.1, 0.9)) == Value(0.5, 0.1, 0.9, 1, 2)
