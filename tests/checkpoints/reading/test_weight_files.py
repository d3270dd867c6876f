"""Weights of a folder: plain or a variant, whole or in shards, in either spelling."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from support.models.tiny_sdxl import write_sdxl
from torch import Tensor
from transformers import CLIPTextModel

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash

SPELLINGS = {
    "plain": ("{stem}-{n:05}-of-00002.{end}", "{stem}.{end}.index.json"),
    "new": ("{stem}-{n:05}-of-00002.fp16.{end}", "{stem}.{end}.index.fp16.json"),
    "old": ("{stem}.fp16-{n:05}-of-00002.{end}", "{stem}.fp16.{end}.index.json"),
    "mixed": ("{stem}.fp16-{n:05}-of-00002.{end}", "{stem}.{end}.index.fp16.json"),
}


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd1, tmp_path / "folder"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("shards") / "sdxl")


def into_shards(
    part: Path, spelling: str, *, index: bool = True, end: str = "safetensors"
) -> list[Path]:
    """Cut a component's file in two; by name, so that each has something of every layer."""
    (file,) = part.glob("*.safetensors")
    stem = "pytorch_model" if (file.stem, end) == ("model", "bin") else file.stem
    tensors = load_file(file)
    names, index_name = SPELLINGS[spelling]
    halves: list[dict[str, Tensor]] = [{}, {}]
    places = {}
    for place, name in enumerate(sorted(tensors)):
        halves[place % 2][name] = tensors[name]
        places[name] = names.format(stem=stem, n=place % 2 + 1, end=end)
    shards = [part / name for name in sorted(set(places.values()))]
    for shard, half in zip(shards, halves, strict=True):
        if end == "bin":
            torch.save(half, shard)
        else:
            save_file(half, shard)
    if index:
        text = json.dumps({"metadata": {}, "weight_map": places})
        (part / index_name.format(stem=stem, end=end)).write_text(text)
    file.unlink()
    return shards


def hashes(checkpoint: Checkpoint) -> dict[str, str]:
    return {name: weights_hash(weights) for name, weights in checkpoint.components.items()}


@pytest.mark.crossed
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_component_may_be_in_shards(
    spelling: str, index: bool, sdxl: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(sdxl, tmp_path / "copy"))
    for component in ("unet", "vae", "text_encoder", "text_encoder_2"):
        into_shards(copy / component, spelling, index=index)
    sharded = read_checkpoint(copy)
    assert hashes(sharded) == hashes(read_checkpoint(sdxl))
    assert sharded.notes == ()


@pytest.mark.crossed
@pytest.mark.parametrize("component", ["unet", "text_encoder"])
@pytest.mark.parametrize("spelling", ["plain", "old"])
def test_pickled_shards_are_read_on_request_alone(
    spelling: str, component: str, folder: Path
) -> None:
    wanted = hashes(read_checkpoint(folder))
    into_shards(folder / component, spelling, end="bin")
    with pytest.raises(CheckpointError, match="is a pickle"):
        read_checkpoint(folder)
    assert hashes(read_checkpoint(folder, allow_pickle=True)) == wanted


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_missing_shard_is_named(spelling: str, index: bool, folder: Path) -> None:
    gone = into_shards(folder / "unet", spelling, index=index)[1]
    gone.unlink()
    says = rf"lacks 1 of the 2 files.*{gone.name}" if index else "has 1 of 2 shards.* no index"
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(folder)


def test_which_of_several_sets_is_taken_is_said(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    plain = read_checkpoint(folder).network_hash()
    other = {name: weight + 1 for name, weight in load_file(file).items()}
    for variant in ("bf16", "fp16", "non_ema"):
        save_file(other, file.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.network_hash() == plain
    assert checkpoint.notes == (
        f"{folder / 'unet'} holds several sets of weights, bf16, fp16, non_ema and plain; plain is "
        "taken",
    )
    file.unlink()
    assert "; fp16 is taken" in read_checkpoint(folder).notes[0]
    file.with_name("diffusion_pytorch_model.fp16.safetensors").unlink()
    assert "; bf16 is taken" in read_checkpoint(folder).notes[0]


def bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that transformers takes away in memory."""
    return {name.removeprefix("text_model."): weight for name, weight in weights.items()}


@pytest.mark.parametrize(("component", "taken"), [("unet", "shards"), ("text_encoder", "file")])
def test_of_a_file_and_shards_the_one_is_read_that_the_library_loads(
    component: str, taken: str, folder: Path
) -> None:
    part = folder / component
    (file,) = part.glob("*.safetensors")
    other = {name: weight + 1 for name, weight in load_file(file).items()}
    shards = into_shards(part, "plain")
    save_file(other, file, metadata={"format": "pt"})
    if component == "unet":
        loaded = bare(UNet2DConditionModel.from_pretrained(part).state_dict())
    else:
        loaded = bare(CLIPTextModel.from_pretrained(part).state_dict())
    read = read_checkpoint(folder)
    own = bare(read.components[component])
    assert all(torch.equal(weight, loaded[name]) for name, weight in own.items())
    said = "the shards are" if taken == "shards" else f"{file.name} is"
    assert read.notes == (f"{part} holds its weights as one file and in shards; {said} taken",)
    shards[0].unlink()  # the rest was left by an earlier writing
    whole = read_checkpoint(folder)
    assert whole.notes == ()
    own = bare(whole.components[component])
    assert all(torch.equal(weight, bare(other)[name]) for name, weight in own.items())


BAD_INDEXES: dict[str, tuple[object, str]] = {
    "path": (
        {"a": "../../x.safetensors"},
        r"\.\./x\.safetensors.*not a bare name",
    ),
    "absolute": ({"a": "/etc/passwd"}, "is not a bare name"),
    "empty name": ({"a": ""}, "names '', which is not a bare name"),
    "number": ({"a": 5}, "names 5, which is not a bare name"),
    "list": ({"a": ["x"]}, "is not a bare name"),
    "no map": (None, "has no weight_map"),
    "list for a map": ([1], "has no weight_map"),
    "empty map": ({}, "has no weight_map"),
    "absent": ({"a": "x.safetensors"}, r"lacks 1 of the 1 files .*\(x\.safetensors\)"),
}


@pytest.mark.crossed
@pytest.mark.parametrize(("places", "says"), BAD_INDEXES.values(), ids=BAD_INDEXES)
@pytest.mark.parametrize("spelling", ["plain", "new"])
def test_a_bad_index_is_one_sentence(
    places: object, says: str, spelling: str, folder: Path
) -> None:
    into_shards(folder / "unet", spelling)
    (index,) = (folder / "unet").glob("*.index*.json")
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CheckpointError, match=says) as caught:
        read_checkpoint(folder)
    assert "\n" not in str(caught.value)


def _only(*names: str) -> Callable[[Path], None]:
    def change(part: Path) -> None:
        for file in part.glob("*.safetensors"):
            file.unlink()
        for name in names:
            (part / name).write_bytes(b"x")

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_only(), r"has no .*\.safetensors; the pipeline folder is incomplete"),
        (_only("model.onnx"), r"has no .*\.safetensors, but model\.onnx, which cannot be read"),
        (_only("flax_model.msgpack", "m.gguf"), r"flax_model\.msgpack, m\.gguf, which cannot"),
    ],
)
def test_weights_of_another_kind_are_named(
    change: Callable[[Path], None], says: str, folder: Path
) -> None:
    change(folder / "text_encoder")
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(folder)
