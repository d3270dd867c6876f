"""Pictures and prompts become latents and features, once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from support.models.tiny_flow import write_flux
from support.tiny import random_pictures

from erasure.architectures.autoencoder import ImageCodec
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.diffusion.data import picture_encoding, prompt_encoding
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptedPixels, PromptLists
from erasure.errors import ConfigError, OutOfMemoryError
from erasure.storage.cache import TensorCache
from erasure.storage.tensors.hashing import weights_hash

FORGET = random_pictures(["a church", "a chapel", "a church"])
RETAIN = random_pictures(["a dog", "a castle"], seed=1)
INSTEAD = {"a church": ["a castle", "a truck"], "a chapel": ["a dog"], "not forgotten": []}


def tensors(data: ConceptData) -> list[torch.Tensor]:
    sets = [data.forget, data.retain]
    latents = [getattr(s, name) for s in sets for name in ("mean", "std", "prompt")]
    return [*latents, data.replacements, data.prompts.tokens]


def assert_same(one: ConceptData, other: ConceptData) -> None:
    assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


@pytest.fixture(scope="module")
def data(tiny_checkpoint: Checkpoint) -> ConceptData:
    return encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN)


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(tiny_folder, local_files_only=True)


def test_every_prompt_is_encoded_once_and_the_empty_one_first(
    data: ConceptData, pipeline: StableDiffusionPipeline
) -> None:
    texts = ["", "a church", "a chapel", "a castle", "a truck", "a dog"]
    assert len(data.prompts) == len(texts)
    for row, text in enumerate(texts):
        expected = pipeline.encode_prompt(text, torch.device("cpu"), 1, False)[0]
        torch.testing.assert_close(data.prompts.tokens[row : row + 1], expected)
    assert data.forget.prompt.tolist() == [1, 2, 1]
    assert data.retain.prompt.tolist() == [5, 3]


@pytest.mark.parametrize(
    "pixels", [torch.rand(1, 3, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.int64), FORGET.pixels[0]]
)
def test_pictures_that_are_no_bytes_are_refused(pixels: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"give bytes from 0 to 255, torch\.uint8 of shape"):
        PromptedPixels(pixels, ["a church"] * len(pixels))


def test_each_prompt_to_forget_has_its_concept_and_no_other_has_one(
    tiny_checkpoint: Checkpoint,
) -> None:
    owners = {"a church": 0, "a chapel": 1}
    data = encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN, owners=owners)
    assert data.owners is not None
    assert data.owners.tolist() == [-1, 0, 1, -1, -1, -1]
    assert [part.forget.prompt.tolist() for part in data.by_concept()] == [[1, 1], [2]]


@pytest.mark.parametrize("owners", [{"a church": 0}, {"a church": 0, "a chapel": -1}])
def test_a_prompt_to_forget_without_a_concept_is_refused(
    owners: dict[str, int], tiny_checkpoint: Checkpoint
) -> None:
    with pytest.raises(ConfigError, match="does not say which of the concepts 'a chapel' shows"):
        encode_concept(tiny_checkpoint, FORGET, INSTEAD, owners=owners)


def test_shorter_rows_of_replacements_repeat(data: ConceptData) -> None:
    assert data.replacements.tolist() == [[3, 4], [5, 5], [3, 4]]


def test_latents_are_those_of_the_autoencoder_as_the_model_wants_them(
    data: ConceptData, pipeline: StableDiffusionPipeline
) -> None:
    for latents, pictures in ((data.forget, FORGET), (data.retain, RETAIN)):
        pixels = pipeline.image_processor.preprocess(pictures.pixels / 255)
        with torch.no_grad():
            posterior = pipeline.vae.encode(pixels).latent_dist
        factor = pipeline.vae.config.scaling_factor
        assert factor == 0.18215
        torch.testing.assert_close(latents.mean, posterior.mean * factor)
        torch.testing.assert_close(latents.std, posterior.std * factor)
        assert latents.mean.shape == (len(pictures.prompts), 4, 4, 4)


def test_without_retain_pictures_that_set_is_empty(tiny_checkpoint: Checkpoint) -> None:
    for nothing in (None, PromptedPixels(FORGET.pixels[:0], [])):
        alone = encode_concept(tiny_checkpoint, FORGET, INSTEAD, nothing)
        assert len(alone.retain) == 0
        assert alone.retain.mean.shape[1:] == alone.forget.mean.shape[1:]
        assert alone.retain.prompt.dtype == torch.int64


def no_encoder(_: Checkpoint, **__: object) -> None:
    raise AssertionError("encoded again")


def test_the_cache_spares_both_encoders_and_returns_the_same(
    tiny_checkpoint: Checkpoint,
    data: ConceptData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = TensorCache(tmp_path)
    assert_same(encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN, cache=cache), data)
    monkeypatch.setattr(picture_encoding, "build_codec", no_encoder)
    monkeypatch.setattr(prompt_encoding, "build_text_encoder", no_encoder)
    assert_same(encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN, cache=cache), data)
    with pytest.raises(AssertionError, match="encoded again"):
        encode_concept(tiny_checkpoint, random_pictures(["a church"]), INSTEAD, cache=cache)


def test_damaged_cache_files_are_made_again(
    tiny_checkpoint: Checkpoint, data: ConceptData, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path)
    encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN, cache=cache)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert [path.parent.name for path in files] == ["latents", "latents", "prompts"]
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    assert_same(encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN, cache=cache), data)
    assert all(path.stat().st_size > 100 for path in files)


@pytest.mark.parametrize(
    ("part", "setting", "files"),
    [
        ("vae", {"scaling_factor": 1.0}, {"latents": 2, "prompts": 1}),
        ("text_encoder", {"hidden_act": "gelu"}, {"latents": 1, "prompts": 2}),
    ],
)
def test_the_cache_tells_encoders_of_the_same_weights_but_other_settings_apart(
    tiny_checkpoint: Checkpoint,
    tmp_path: Path,
    part: str,
    setting: dict[str, object],
    files: dict[str, int],
) -> None:
    cache, before = TensorCache(tmp_path), weights_hash(tiny_checkpoint.components[part])
    encode_concept(tiny_checkpoint, FORGET, INSTEAD, cache=cache)
    config = {**tiny_checkpoint.description.components[part], **setting}
    description = tiny_checkpoint.description.having(**{part: config})
    other = replace(tiny_checkpoint, description=description)
    assert weights_hash(other.components[part]) == before
    second = encode_concept(other, FORGET, INSTEAD, cache=cache)
    assert_same(second, encode_concept(other, FORGET, INSTEAD))
    counts = {kind: len(list((tmp_path / kind).iterdir())) for kind in files}
    assert counts == files


def test_the_cache_tells_families_that_share_their_text_encoders_apart(tmp_path: Path) -> None:
    dev, schnell = (
        read_checkpoint(write_flux(tmp_path / kind, kind)) for kind in ("flux_dev", "flux_schnell")
    )
    encoders = ("text_encoder", "text_encoder_2")
    assert [dev.hash_of(name) for name in encoders] == [schnell.hash_of(name) for name in encoders]
    cache, prompts = TensorCache(tmp_path / "cache"), PromptLists(["a church"])
    lengths = [
        encode_concept(
            model, None, {"a church": ["a castle"]}, prompts=prompts, cache=cache
        ).prompts.tokens.shape[1]
        for model in (dev, schnell)
    ]
    assert lengths == [512, 256]  # as their pipelines fill prompts up


def test_a_half_precision_checkpoint_is_encoded_in_float32(tiny_checkpoint: Checkpoint) -> None:
    half, same = (
        replace(
            tiny_checkpoint,
            components={
                part: {name: w.half().to(dtype) for name, w in weights.items()}
                for part, weights in tiny_checkpoint.components.items()
            },
        )
        for dtype in (torch.float16, torch.float32)
    )
    encoded = encode_concept(half, FORGET, INSTEAD, RETAIN)
    assert {t.dtype for t in tensors(encoded)} == {torch.float32, torch.int64}
    assert_same(encoded, encode_concept(same, FORGET, INSTEAD, RETAIN))


def test_data_that_cannot_be_used_is_refused(tiny_checkpoint: Checkpoint) -> None:
    pictures = random_pictures(["a church"])
    with pytest.raises(ConfigError, match="1 pictures have 2 prompts"):
        PromptedPixels(pictures.pixels, ["a", "b"])
    with pytest.raises(ConfigError, match="'a church' has no replacement prompt"):
        encode_concept(tiny_checkpoint, pictures, {"a church": [], "a dog": ["x"]})
    with pytest.raises(ConfigError, match="among its own replacements"):
        encode_concept(tiny_checkpoint, pictures, {"a church": ["a dog", "a church"]})
    with pytest.raises(ConfigError, match="no picture to forget"):
        encode_concept(tiny_checkpoint, PromptedPixels(pictures.pixels[:0], []), INSTEAD)


@pytest.mark.parametrize("most", [2, 1, 0])
def test_where_memory_is_short_fewer_pictures_go_through_a_pass(
    most: int,
    data: ConceptData,
    tiny_checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode, sizes = ImageCodec.encode, []

    def small(self: ImageCodec, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(pixels) > most:
            raise torch.OutOfMemoryError("full")
        sizes.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(ImageCodec, "encode", small)
    if most == 0:
        with pytest.raises(OutOfMemoryError, match="one picture a pass"):
            encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN)
        return
    again = encode_concept(tiny_checkpoint, FORGET, INSTEAD, RETAIN)
    assert sizes == ([2, 1, 2] if most == 2 else [1] * 5)
    for one, other in zip(tensors(data), tensors(again), strict=True):
        torch.testing.assert_close(one, other)
