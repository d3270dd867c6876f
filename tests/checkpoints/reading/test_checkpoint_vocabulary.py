"""CLIP's vocabulary comes with the package: a single file needs no cache and no `--config`."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.tiny_sdxl import write_sdxl

from erasure.architectures.building import build_text_encoder
from erasure.architectures.text.text_encoders import TextEncoder, TextEncoderPair
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.description import encoder_of, shipped_tokenizer_settings
from erasure.checkpoints.reading.vocabulary import CLIP_SIZE, clip_vocabulary, missing_vocabulary

KNOWN = {
    # Ids as CLIP's published tokenizer gives them; the first is that of many tutorials.
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "a photograph of an astronaut riding a horse": [
        *(320, 8853, 539, 550, 18376, 6765, 320, 4558),
    ],
    "an image of a church": [550, 2867, 539, 320, 2735],
    "Van Gogh's STARRY night, 4k": [2451, 19697, 568, 30963, 930, 267, 275, 330],
    "naïve café 100% 日本": [1097, 35689, 563, 15304, 272, 271, 271, 260, 39121, 19277, 361],
    "hello world!": [3306, 1002, 256],
    "supercalifragilisticexpialidocious": [
        *(1642, 2857, 13093, 2076, 5868, 26850, 835, 639, 38466),
    ],
    "🐱 cat's  toys": [22979, 2368, 568, 7162],
}
START, END = 49406, 49407
PADS = {
    ("sd1", "tokenizer"): END,
    ("sd2", "tokenizer"): 0,
    ("sdxl", "tokenizer"): END,
    ("sdxl", "tokenizer_2"): 0,
}
"""SD 2 and the second tokenizer of XL pad with `!`."""


def with_clip_size(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with text encoders as large as CLIP's vocabulary, and no tokenizer."""
    description, components = checkpoint.description, dict(checkpoint.components)
    for tokenizer, config in description.tokenizers().items():
        encoder = encoder_of(tokenizer)
        sized = {**config, "vocab_size": CLIP_SIZE, "eos_token_id": END, "bos_token_id": START}
        description = description.having(**{encoder: sized}).speaking(**{tokenizer: {}})
        name = "text_model.embeddings.token_embedding.weight"
        width = components[encoder][name].shape[1]
        rows = torch.randn(CLIP_SIZE, width, generator=torch.Generator().manual_seed(0))
        components[encoder] = {**components[encoder], name: rows}
    return replace(checkpoint, description=description, components=components)


@pytest.fixture(scope="module")
def bare_files(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Single files of each family with a text encoder of CLIP's size."""
    root = tmp_path_factory.mktemp("bare")
    origins = {"sd1": folders["sd1"], "sd2": folders["sd2"], "sdxl": write_sdxl(root / "sdxl")}
    return {
        key: write_single_file(
            with_clip_size(read_checkpoint(folder)), root / f"{key}.safetensors"
        ).path
        for key, folder in origins.items()
    }


@cache
def encoder_in(file: Path) -> TextEncoder | TextEncoderPair:
    return build_text_encoder(read_checkpoint(file))


@pytest.mark.parametrize(("family", "name"), PADS)
def test_a_single_file_reads_prompts_as_the_published_model_does(
    family: str, name: str, bare_files: dict[str, Path]
) -> None:
    encoder = encoder_in(bare_files[family])
    tokenizers = encoder.tokenizers if hasattr(encoder, "tokenizers") else (encoder.tokenizer,)
    tokenizer = tokenizers[name == "tokenizer_2"]
    rows = tokenizer(list(KNOWN), padding="max_length", truncation=True).input_ids
    pad = PADS[family, name]
    for row, ids in zip(rows, KNOWN.values(), strict=True):
        if pad == 0:  # transformers takes a `!` in a prompt for the padding, as in the folders
            ids = [0 if id_ == 256 else id_ for id_ in ids]
        assert row == [START, *ids, END, *[pad] * (77 - len(ids) - 2)]
    assert len(encoder(list(KNOWN))) == len(KNOWN)


def test_what_was_taken_is_said(bare_files: dict[str, Path]) -> None:
    (note,) = read_checkpoint(bare_files["sdxl"]).notes
    assert "sdxl.safetensors has no tokenizer and no tokenizer_2; CLIP's" in note


def test_a_file_without_our_header_gets_it_too(bare_files: dict[str, Path], tmp_path: Path) -> None:
    bare = read_checkpoint(bare_files["sd1"])
    write_folder(bare, tmp_path / "config")
    for file in (tmp_path / "config" / "tokenizer").iterdir():
        file.unlink()
    save_file(load_file(bare_files["sd1"]), tmp_path / "foreign.safetensors")
    for again in (
        read_checkpoint(tmp_path / "foreign.safetensors", config=tmp_path / "config"),
        read_checkpoint(tmp_path / "config"),  # a folder whose tokenizer is gone
    ):
        assert again.tokenizer_files() == bare.tokenizer_files()
        assert "CLIP's" in again.notes[0]


def test_a_tokenizer_that_the_model_has_stays(
    bare_files: dict[str, Path], folders: dict[str, Path], tmp_path: Path
) -> None:
    bare = read_checkpoint(bare_files["sd1"])
    own = {**bare.tokenizer_files(), "special_tokens_map.json": b'{"pad_token": "!"}'}
    held = replace(bare, description=bare.description.speaking(tokenizer=own))
    write_folder(held, tmp_path / "own")
    again = read_checkpoint(tmp_path / "own")
    assert (again.tokenizer_files(), again.notes) == (own, ())
    carried = read_checkpoint(folders["sd1"])  # 514 tokens, which the header carries
    write_single_file(carried, tmp_path / "carried.safetensors")
    again = read_checkpoint(tmp_path / "carried.safetensors")
    assert again.tokenizer_files() == carried.tokenizer_files()
    assert again.notes == ()


def test_the_vocabulary_is_whole() -> None:
    files = clip_vocabulary()
    words = json.loads(files["vocab.json"])
    assert len(words) == len(set(words.values())) == CLIP_SIZE
    assert [words["!"], words["!</w>"], words["<|startoftext|>"]] == [0, 256, START]
    # The digest of the file `merges.txt` that the published pipelines have in their tokenizer.
    digest = hashlib.sha256(files["merges.txt"]).hexdigest()
    assert digest == "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"


@pytest.mark.parametrize(("family", "name"), PADS)
def test_the_settings_that_go_with_it_name_the_window(family: str, name: str) -> None:
    settings = json.loads(shipped_tokenizer_settings(family, name)["tokenizer_config.json"])
    assert settings["model_max_length"] == 77


def test_another_size_is_refused_with_both_numbers() -> None:
    message = str(missing_vocabulary(Path("x.safetensors"), 514))
    assert "514 tokens, not the 49408 of CLIP" in message
    assert "config=FOLDER" in message
