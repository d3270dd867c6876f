"""CLIP's vocabulary for single files: three places, in this order, none of them the network."""

import gzip
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from erasure.checkpoints import vocabulary
from erasure.checkpoints.description import shipped_tokenizer_settings
from erasure.checkpoints.vocabulary import find_clip_vocabulary, vocabulary_from_bpe
from erasure.errors import CheckpointError

MERGES = 48894


def fake_bpe() -> str:
    merges = [f"a{n} b{n}" for n in range(MERGES)]
    return "\n".join(["heading", *merges, "one more", ""])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that carries the file and must not be imported."""
    folder = tmp_path / "site" / "clip_stand_in"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('needs what is not installed')")
    (folder / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(fake_bpe().encode()))
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(vocabulary, "_PACKAGES", ("clip_stand_in",))
    return folder


def test_a_package_supplies_it_without_being_imported(package: Path) -> None:
    found = find_clip_vocabulary()
    words = json.loads(found["vocab.json"])
    assert len(words) == vocabulary.CLIP_SIZE
    assert words["!"] == 0
    assert words["!</w>"] == 256
    assert words["a0b0"] == 512
    assert words["<|startoftext|>"] == 49406
    assert words["<|endoftext|>"] == 49407
    assert found["merges.txt"].decode().splitlines()[:2] == ["#version: 0.2", "a0 b0"]
    assert "clip_stand_in" not in sys.modules


def test_the_cache_of_the_hub_comes_first(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        vocabulary, "try_to_load_from_cache", lambda _, name: str(tmp_path / Path(name).name)
    )
    (tmp_path / "vocab.json").write_bytes(b"words")
    (tmp_path / "merges.txt").write_bytes(b"merges")
    assert find_clip_vocabulary() == {"vocab.json": b"words", "merges.txt": b"merges"}


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(CheckpointError, match="does not hold CLIP's 48894 merges"):
        vocabulary_from_bpe("heading\na b\n", Path("bpe"))


def test_one_sentence_names_the_three_ways() -> None:
    message = str(vocabulary.missing_vocabulary(Path("x.safetensors"), vocabulary.CLIP_SIZE))
    for way in ("--config FOLDER", "hub's cache", "pip install --no-deps open_clip_torch"):
        assert way in message
    assert "not CLIP's" in str(vocabulary.missing_vocabulary(Path("x.safetensors"), 514))


@pytest.mark.skipif(
    find_spec("open_clip") is None,
    reason="open_clip_torch is not installed (`pip install --no-deps open_clip_torch`)",
)
def test_the_real_vocabulary_gives_the_known_ids(tmp_path: Path) -> None:
    files = {**shipped_tokenizer_settings("sd1"), **find_clip_vocabulary()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("a photo of a cat").input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer.pad_token_id == 49407
    assert tokenizer.model_max_length == 77
