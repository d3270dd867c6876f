"""Values of files that no code expects: each ends in a sentence, or is passed over."""

import os
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from support.console import erasure
from support.refusals import assert_told

from erasure.errors import CheckpointError
from erasure.storage.pickles import read_pickle
from pipelines.class_checkpoint.released import convert
from pipelines.comparison.run_facts import base_of
from pipelines.comparison.sources import _runs_of
from pipelines.comparison.table import ComparedRuns
from pipelines.demo_checkpoint.retrained.record import RECORD, claim_states
from pipelines.distances.records import FORMAT, read_record

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
