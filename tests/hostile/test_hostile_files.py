"""Patches, masks, states, pictures and tables that say what cannot be: one sentence each."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from support.refusals import CHURCH
from torch import Tensor

from erasure.checkpoints.provenance import Provenance
from erasure.errors import CheckpointError, ConfigError, ErasureError, MaskError, PatchError
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.masks import all_mask
from erasure.patches import patch_file
from erasure.patches.applying import apply_patch
from erasure.patches.patch import make_patch
from erasure.patches.patch_edits import applied, edits_of_patch
from erasure.patches.patch_file import load_patch, save_patch
from erasure.storage.state_file import load_run
from erasure.storage.tensors.pickles import read_pickle
from eval.errors import EvalError
from eval.judges.labels import read_labels
from eval.pictures.decoding import decode
from pipelines.classifiers.data.idx_data import read_idx
from pipelines.classifiers.exact_folder import open_exact
from pipelines.configs.recipe_files import load_toml
from pipelines.data.picture_folder import folder_entries
from pipelines.evaluation.outcome.results_file import read_results
from prompts.errors import PromptError
from prompts.files import read_prompts

Change = dict[str, str]


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    """A patch of two weights: one lists its positions, the other has a bit for each."""
    base = {"a": torch.zeros(100), "b": torch.zeros(3, 3)}
    edited = {"a": base["a"].clone(), "b": torch.ones(3, 3)}
    edited["a"][5] = 1.0
    path = tmp_path / "p.safetensors"
    save_patch(path, make_patch(base, edited))
    return path


def _write_patch(path: Path, header: Change, tensors: dict[str, Tensor]) -> None:
    """With its checksum made anew, as whoever writes a hostile one would."""
    checksum = patch_file._checksum(header, tensors)
    save_file(tensors, path, header | {"checksum": checksum})


def _read(path: Path) -> tuple[Change, dict[str, Tensor]]:
    file = patch_file.read_tensors(path)
    header = {k: v for k, v in file.metadata.items() if k != "checksum"}
    return header, {name: value.clone() for name, value in file.tensors.items()}


BAD_TENSORS: dict[str, dict[str, Tensor]] = {
    "too many bits": {"b.where": torch.tensor([255, 3], dtype=torch.uint8)},
    "too few bits": {"b.where": torch.tensor([255, 0], dtype=torch.uint8)},
    "too many bytes": {"b.where": torch.tensor([255, 1, 0], dtype=torch.uint8)},
    "bits in two rows": {"b.where": torch.tensor([[255], [1]], dtype=torch.uint8)},
    "too many values": {"b.difference": torch.zeros(10, dtype=torch.int32)},
    "too few values": {"b.difference": torch.zeros(8, dtype=torch.int32)},
    "no values": {"a.difference": torch.zeros(0, dtype=torch.int32)},
    "position beyond": {"a.where": torch.tensor([100], dtype=torch.int32)},
    "position below": {"a.where": torch.tensor([-1], dtype=torch.int32)},
    "the same twice": {
        "a.where": torch.tensor([5, 5], dtype=torch.int32),
        "a.difference": torch.ones(2, dtype=torch.int32),
    },
    "another type": {"a.where": torch.tensor([5.0])},
    "one more tensor": {"c.where": torch.zeros(1)},
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_a_patch_whose_positions_do_not_fit_is_refused(name: str, patch: Path) -> None:
    header, tensors = _read(patch)
    _write_patch(patch, header, tensors | BAD_TENSORS[name])
    with pytest.raises(PatchError, match="header of"):
        load_patch(patch)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "[" * 50_000},
        {"weights": "5"},
        {"weights": '[["a", [-1], "float32"]]'},
        {"weights": '[["a", [1e400], "float32"]]'},
        {"weights": '[["a", [4294967296, 4294967296], "float32"]]'},
        {"weights": '[["a", [100], ["x"]]]'},
        {"weights": "[]"},
        {"concepts": "5"},
        {"concepts": "[5]"},
        {"provenance": "[]"},
        {"provenance": '{"a":' * 50_000},
    ],
    ids=lambda change: f"{change}"[:60],
)
def test_a_patch_whose_header_is_nonsense_is_refused(change: Change, patch: Path) -> None:
    header, tensors = _read(patch)
    _write_patch(patch, header | change, tensors)
    with pytest.raises(PatchError, match="header of"):
        load_patch(patch)


def test_a_patch_that_is_as_it_was_written_still_works(patch: Path) -> None:
    weights = {"a": torch.zeros(100), "b": torch.zeros(3, 3)}
    apply_patch(weights, load_patch(patch))
    assert weights["a"][5] == 1
    assert weights["b"].sum() == 9


def test_a_record_of_a_component_that_the_patch_does_not_change_breaks_no_strength() -> None:
    base = {"a": torch.zeros(3)}
    made = make_patch(base, {"a": torch.ones(3)})
    (own,) = edits_of_patch(made, base)
    strange = replace(own, component="vae", result_hash="stated")
    record = Provenance(edits=(own, strange)).to_dict()
    patches = {"unet": replace(made, info=replace(made.info, provenance=record))}
    first, second = applied(None, patches, {"unet": base | {"a": torch.full((3,), 0.5)}}, 0.5).edits
    assert first.strength == second.strength == 0.5
    assert first.result_hash != own.result_hash
    assert second.result_hash == "stated"


@pytest.mark.parametrize(
    "shapes",
    [
        "[" * 50_000,
        "5",
        '[["w", [4294967296, 4294967296]]]',
        '[["w", [-1, -1]]]',
        '[["w", "x"]]',
        '[["w", [1e400]]]',
        '[[["w"], [1]]]',
    ],
    ids=lambda shapes: shapes[:40],
)
def test_a_mask_of_a_shape_that_cannot_be_is_refused(shapes: str, tmp_path: Path) -> None:
    from erasure.masks import mask_file

    path = tmp_path / "m.safetensors"
    save_mask(path, all_mask({"w": torch.zeros(4)}))
    header, tensors = _read(path)
    header["shapes"] = shapes
    save_file(tensors, path, header | {"checksum": mask_file._checksum(header)})
    with pytest.raises(MaskError, match="is damaged"):
        load_mask(path)


def test_a_pickle_named_as_safetensors_is_refused_with_its_cause(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    torch.save({"state_dict": {"w": torch.zeros(2)}}, tmp_path / "sd.ckpt")
    (tmp_path / "sd.ckpt").rename(tmp_path / "sd.safetensors")
    line = (
        "export",
        tmp_path / "sd.safetensors",
        "--allow-pickle",
        "--out",
        tmp_path / "o.safetensors",
    )
    refused(line, "rename it to end in .ckpt")


@pytest.mark.parametrize("name", ["__metadata__", "\ud800", "", 5])
def test_a_pickle_with_a_name_that_no_header_can_hold_is_refused(
    name: object, tmp_path: Path
) -> None:
    torch.save({"state_dict": {name: torch.zeros(1), "w": torch.ones(1)}}, tmp_path / "sd.ckpt")
    with pytest.raises(CheckpointError, match="which is no name of a weight"):
        read_pickle(tmp_path / "sd.ckpt", allowed=True)


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x02(((", b"nonsense"])
def test_a_pickle_that_is_none_is_refused(
    content: bytes, tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "sd.ckpt").write_bytes(content)
    line = ("export", tmp_path / "sd.ckpt", "--allow-pickle", "--out", tmp_path / "o.safetensors")
    refused(line, "cannot be read with weights_only=True")


def test_a_zip_of_something_else_is_refused(tmp_path: Path, refused: Callable[..., None]) -> None:
    with zipfile.ZipFile(tmp_path / "sd.ckpt", "w") as file:
        file.writestr("archive/data.pkl", "x")
    line = ("export", tmp_path / "sd.ckpt", "--allow-pickle", "--out", tmp_path / "o.safetensors")
    refused(line, "cannot be read with weights_only=True")


@pytest.mark.parametrize("ending", [".png", ".txt"])
def test_a_pipe_among_pictures_is_named_before_any_work(
    ending: str, tmp_path: Path, refused: Callable[..., None]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    os.mkfifo(folder / f"{'x' if ending == '.png' else 'a'}{ending}")
    prompt = ("--forget-prompt", "a church") if ending == ".png" else ()
    line = ("erase", "demo", *CHURCH, "--forget-folder", folder, *prompt)
    refused((*line, "--out", tmp_path / "run"), "a named pipe and not a regular file")


READERS: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "picture": (lambda path: decode(path, "it"), EvalError, "x.png"),
    "labels": (lambda path: read_labels(str(path)), EvalError, "x.json"),
    "prompts": (read_prompts, PromptError, "x.txt"),
    "recipe": (load_toml, ConfigError, "x.toml"),
    "results": (read_results, EvalError, "results.json"),
    "mask": (load_mask, MaskError, "x.safetensors"),
    "patch": (load_patch, CheckpointError, "x.safetensors"),
    "state": (lambda path: load_run(path, kind="k", run="r"), ErasureError, "x.safetensors"),
    "idx": (read_idx, ConfigError, "x.gz"),
    "record": (lambda path: open_exact(path.parent), CheckpointError, "record.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_no_reader_waits_for_a_pipe(name: str, tmp_path: Path) -> None:
    read, error, file = READERS[name]
    os.mkfifo(tmp_path / file)
    with pytest.raises(error, match="a named pipe"):
        read(tmp_path / file)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 50_000,
        '{"file_name": "a.png", "text": ' + "9" * 5_000 + "}",
        json.dumps({"file_name": "../a.png", "text": "x"}),
        json.dumps({"file_name": "/etc/passwd", "text": "x"}),
        json.dumps({"file_name": "a\0.png", "text": "x"}),
        json.dumps({"file_name": "a" * 5_000, "text": "x"}),
        json.dumps({"file_name": ".", "text": "x"}),
        json.dumps({"file_name": ["a.png"], "text": "x"}),
    ],
    ids=lambda line: line[:40],
)
def test_a_row_of_metadata_that_names_no_picture_of_its_folder_is_refused(
    line: str, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "metadata.jsonl").write_text(line)
    with pytest.raises(ConfigError, match="line 1 of"):
        folder_entries(tmp_path / "pictures")


def test_an_idx_file_that_unpacks_to_more_than_any_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    from pipelines.classifiers.data import idx_data

    monkeypatch.setattr(idx_data, "_LARGEST", 10_000)
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(20_000)))
    with pytest.raises(ConfigError, match="holds more than 10,000 bytes"):
        read_idx(tmp_path / "x.gz")
    for shape in (b"\0\0\x08\xff", b"\0\0\x08\x02" + b"\xff" * 8, b"\0\0\x08\x00"):
        (tmp_path / "x").write_bytes(shape)
        with pytest.raises(ConfigError, match="is cut short"):
            read_idx(tmp_path / "x")


def test_a_picture_that_is_none_is_told_in_one_sentence() -> None:
    whole = BytesIO()
    Image.new("RGB", (8, 8)).save(whole, "PNG")
    for content in (b"", whole.getvalue()[:40], b"\x89PNG\r\n\x1a\n" + bytes(100)):
        with pytest.raises(EvalError, match="is no picture"):
            decode(content, "it")


def test_what_a_file_says_does_not_steer_the_terminal(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    (tmp_path / "pictures").mkdir()
    row = json.dumps({"\x1b[2J\nerasure: all is well\u202e": "a.png"})
    (tmp_path / "pictures" / "metadata.jsonl").write_text(row)
    line = ("erase", "demo", *CHURCH, "--forget-folder", tmp_path / "pictures")
    refused((*line, "--out", tmp_path / "run"), r"\x1b[2J\nerasure: all is well\u202e")
