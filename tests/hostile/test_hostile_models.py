"""Models whose files would write elsewhere: every command refuses them and leaves all as it was."""

import base64
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.refusals import LINES, line_of

from erasure.architectures.building import build_text_encoder
from erasure.architectures.text.clip_towers import build_tokenizer
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.reading.embedded import TOKENIZER_FILES
from erasure.diffusion.data.token_window import token_window
from erasure.errors import CheckpointError
from erasure.storage.bare_names import is_bare, shown

NAMES = ["/ABSOLUTE/owned.pth", "../../../owned", "..\\owned", "C:owned", "owned.pth", "..", "a\0b"]


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


@pytest.fixture(scope="module")
def good(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single file to copy."""
    place = tmp_path_factory.mktemp("good") / "sd.safetensors"
    return write_single_file(tiny_checkpoint, place).path


@pytest.fixture
def file(good: Path, tmp_path: Path) -> Path:
    """A single file to spoil."""
    return Path(shutil.copy(good, tmp_path))


def _with_header(path: Path, **changed: str) -> Path:
    entries = {f"erasure.{key}": value for key, value in changed.items()}
    save_file(load_file(path), path, _header(path) | entries)
    return path


def _packed(files: object) -> str:
    return base64.b85encode(gzip.compress(json.dumps(files).encode())).decode()


def _poisoned(path: Path, name: str) -> Path:
    words = json.loads(gzip.decompress(base64.b85decode(_header(path)["erasure.tokenizer"])))
    return _with_header(path, tokenizer=_packed(words | {name: "attacker"}))


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizers_file_in_a_header_has_a_known_name(name: str, file: Path) -> None:
    name = name.replace("/ABSOLUTE", str(file.parent))
    with pytest.raises(CheckpointError, match="no tokenizer has"):
        read_checkpoint(_poisoned(file, name))


@pytest.mark.parametrize("parts", LINES, ids=lambda parts: parts[0])
def test_no_command_writes_a_file_that_a_header_names(
    parts: tuple[Any, ...], file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    name = f"{tmp_path}/owned.pth"
    line = line_of(parts, _poisoned(file, name), tmp_path, tmp_path / "cache")
    refused(line, "erasure.tokenizer", shown(name))


def test_evaluate_writes_no_file_that_a_header_names(
    file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    name = f"{tmp_path}/owned.pth"
    line = ("evaluate", _poisoned(file, name), "--suite", "canvas", "--erased", "church")
    out = ("--limit", 1, "--out", tmp_path / "out")
    refused((*line, *out), "erasure.tokenizer", shown(name))


def test_a_file_that_would_write_elsewhere_is_not_verified(
    file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    refused(("verify", _poisoned(file, "../owned.pth")), "erasure.tokenizer", "../owned.pth")


def test_a_tokenizer_that_unpacks_to_more_than_any_has_is_refused(
    file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    bomb = _packed({"vocab.json": "0" * 40_000_000})
    assert len(bomb) < 100_000
    _with_header(file, tokenizer=bomb)
    refused(("export", file, "--out", tmp_path / "o.safetensors"), "more than 32,000,000 bytes")


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ("!!", "damaged configs"),
        (_packed([]), "no JSON object"),
        (_packed({"vocab.json": 5}), "no JSON object"),
        (_packed({"vocab.json": "{}"})[:-10], "damaged configs"),
        ("0" * 4_000_001, "at most 4,000,000 fit"),
    ],
    ids=["no base85", "list", "number", "cut short", "long"],
)
def test_a_tokenizer_that_is_none_is_refused(
    packed: str, words: str, file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    model = _with_header(file, tokenizer=packed)
    refused(("export", model, "--out", tmp_path / "o.safetensors"), words)


@pytest.mark.parametrize("key", ["../payload", "/ABSOLUTE", "..", "a/b", "a\\b", ""])
def test_a_component_in_a_model_index_has_a_bare_name(
    key: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    model = Path(shutil.copytree(tiny_folder, tmp_path / "repo" / "model"))
    (tmp_path / "repo" / "payload").mkdir()
    (tmp_path / "repo" / "payload" / "authorized_keys").write_text("attacker")
    (tmp_path / "home" / "payload").mkdir(parents=True)
    (tmp_path / "home" / "payload" / "authorized_keys").write_text("owner")
    index = json.loads((model / "model_index.json").read_text())
    index[key.replace("/ABSOLUTE", f"{tmp_path}/repo/payload")] = ["diffusers", "X"]
    (model / "model_index.json").write_text(json.dumps(index))
    for form in ("diffusers", "single-file"):
        out = tmp_path / "home" / ("out" if form == "diffusers" else "out.safetensors")
        refused(("export", model, "--to", form, "--out", out), "not a bare name")
    line = ("erase", model, "--concept", "church", "--out", tmp_path / "home" / "run")
    refused(line, "not a bare name")


def test_a_model_index_in_a_header_has_bare_names(
    file: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    configs = json.loads(_header(file)["erasure.configs"])
    configs["model_index"]["../payload"] = ["diffusers", "X"]
    _with_header(file, configs=json.dumps(configs))
    refused(("export", file, "--to", "diffusers", "--out", tmp_path / "out"), "not a bare name")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "owned.pth"])
def test_no_writer_takes_a_name_that_leaves_its_folder(
    name: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    name = name.replace("/ABSOLUTE", str(tmp_path))
    description = tiny_checkpoint.description
    words = description.speaking(
        tokenizer={**description.vocabularies["tokenizer"], name: b"attacker"}
    )
    index = replace(description, model_index={**description.model_index, name: ["x", "Y"]})
    carried = {name: tmp_path / "no such file"}
    poisoned = [
        replace(tiny_checkpoint, description=words),
        replace(tiny_checkpoint, description=index),
        replace(tiny_checkpoint, carried=carried),
    ]
    for checkpoint in poisoned:
        with pytest.raises(CheckpointError, match="not a bare name"):
            write_folder(checkpoint, tmp_path / "a" / "b" / "out")
    with pytest.raises(CheckpointError, match="not a bare name"):
        write_single_file(poisoned[1], tmp_path / "out.safetensors")
    with pytest.raises(CheckpointError, match="not a bare name"):
        build_text_encoder(poisoned[0])
    assert list(tmp_path.iterdir()) == []


def test_a_header_takes_of_a_tokenizer_what_can_be_read_back(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    description = tiny_checkpoint.description
    words = {**description.vocabularies["tokenizer"], "notes.txt": b"of a folder"}
    more = replace(tiny_checkpoint, description=description.speaking(tokenizer=words))
    path = write_single_file(more, tmp_path / "out.safetensors").path
    again = read_checkpoint(path).description.vocabularies["tokenizer"]
    assert again == {
        k: v for k, v in description.vocabularies["tokenizer"].items() if k in TOKENIZER_FILES
    }
    assert "tokenizer.json" in again


def test_bare_names_are_told_from_places() -> None:
    for name in ("vocab.json", "unet", "_class_name", "a b", ".hidden", "a..b"):
        assert is_bare(name)
    for name in ("", ".", "..", "a/b", "/a", "a\\b", "C:a", "a\0", "a\nb", 5, None):
        assert not is_bare(name)


def test_a_tokenizer_pads_to_no_more_than_its_encoder_reads(tiny_checkpoint: Checkpoint) -> None:
    description = tiny_checkpoint.description
    options = json.loads(description.vocabularies["tokenizer"]["tokenizer_config.json"])
    endless = json.dumps(options | {"model_max_length": 10**12}).encode()
    words = {**description.vocabularies["tokenizer"], "tokenizer_config.json": endless}
    checkpoint = replace(tiny_checkpoint, description=description.speaking(tokenizer=words))
    assert build_text_encoder(checkpoint)(["a church"]).tokens.shape[1] == 77


@pytest.mark.parametrize("length", ["", "77", [], {}, True, -1, 0, 2, float("nan")])
def test_a_tokenizer_with_no_room_for_a_word_is_refused(
    length: object, tiny_checkpoint: Checkpoint
) -> None:
    description = tiny_checkpoint.description
    options = json.loads(description.vocabularies["tokenizer"]["tokenizer_config.json"])
    content = json.dumps(options | {"model_max_length": length}).encode()
    words = {**description.vocabularies["tokenizer"], "tokenizer_config.json": content}
    checkpoint = replace(tiny_checkpoint, description=description.speaking(tokenizer=words))
    for build in (build_text_encoder, token_window):
        with pytest.raises(CheckpointError, match=r"has the model_max_length .*; give a whole"):
            build(checkpoint)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"model": 5}'])
def test_a_tokenizer_that_cannot_be_read_is_told(
    content: bytes, tiny_checkpoint: Checkpoint
) -> None:
    description = tiny_checkpoint.description
    words = {**description.vocabularies["tokenizer"], "tokenizer.json": content}
    checkpoint = replace(tiny_checkpoint, description=description.speaking(tokenizer=words))
    with pytest.raises(CheckpointError, match=r"the tokenizer of .* cannot be read"):
        build_text_encoder(checkpoint)


@pytest.mark.parametrize("pattern", ["(a*)*b", "((a{1000}){1000}){100}", "("])
def test_a_regular_expression_of_a_tokenizers_file_is_never_used(
    pattern: str, tiny_checkpoint: Checkpoint
) -> None:
    plain = build_tokenizer(tiny_checkpoint, "tokenizer")
    files = tiny_checkpoint.description.vocabularies["tokenizer"]
    rule = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "church"}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}
    words = json.loads(files["tokenizer.json"]) | {"normalizer": rule, "pre_tokenizer": split}
    words["decoder"] = rule
    hostile = {**files, "tokenizer.json": json.dumps(words).encode()}
    description = tiny_checkpoint.description.speaking(tokenizer=hostile)
    poisoned = build_tokenizer(replace(tiny_checkpoint, description=description), "tokenizer")
    for prompt in ("a" * 60, "A  Church, in 2 styles"):
        assert poisoned(prompt).input_ids == plain(prompt).input_ids
    assert poisoned.decode(plain("a church").input_ids) == plain.decode(plain("a church").input_ids)


CONV = "model.diffusion_model.input_blocks.0.0.weight"


def _with_extras(folder: Path, to: Path, *names: str) -> Path:
    model = Path(shutil.copytree(folder, to))
    save_file({name: torch.zeros(2) for name in names}, model / "original_extras.safetensors")
    return model


@pytest.mark.parametrize(
    "name",
    [
        CONV,
        "model.diffusion_model.of_no_layer",
        "first_stage_model.encoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    ],
)
def test_nothing_beside_a_folders_components_takes_the_place_of_a_weight(
    name: str, tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    model = _with_extras(tiny_folder, tmp_path / "model", name, "of_others")
    refused(("export", model, "--out", tmp_path / "out.safetensors"), shown(name))


def test_what_a_folder_keeps_for_a_single_file_is_what_that_would_keep(
    tiny_folder: Path, tmp_path: Path
) -> None:
    rest = "cond_stage_model.transformer.text_model.encoder.layers.9.mlp.fc1.weight"
    averaged = "model_ema.diffusion_modelinput_blocks00weight"
    model = _with_extras(tiny_folder, tmp_path / "model", rest, averaged, "of_others", "v_pred")
    checkpoint = read_checkpoint(model)
    assert set(checkpoint.extras) == {rest, "of_others"}
    assert any("averaged copy" in note for note in checkpoint.notes)


def test_a_writer_puts_nothing_in_the_place_of_an_edited_weight(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    base = tiny_checkpoint.network
    poisoned = replace(tiny_checkpoint, extras={CONV: base["conv_in.weight"]})
    edited = {**base, "conv_in.weight": base["conv_in.weight"] + 1}
    path = write_single_file(poisoned, tmp_path / "out.safetensors", network=edited).path
    assert torch.equal(load_file(path)[CONV], edited["conv_in.weight"])
