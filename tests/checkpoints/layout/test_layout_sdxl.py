"""Stable Diffusion XL in and out: names, shapes, values, both text encoders, both vocabularies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.models.tiny_models import assert_same
from support.models.tiny_sdxl import write_sdxl
from test_layout_published import published, shapes_of

from erasure.architectures.registry import ARCHITECTURES
from erasure.architectures.unet.sdxl import SDXL
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.layout import clip
from erasure.checkpoints.reading.published import published_description
from erasure.checkpoints.reading.recognise import family_of_file, family_of_folder
from erasure.errors import CheckpointError

COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")
LOGIT_SCALE = "conditioner.embedders.1.model.logit_scale"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do not write into it."""
    return write_sdxl(tmp_path_factory.mktemp("sdxl") / "model")


@pytest.fixture(scope="module")
def start(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def good(start: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single_file(start, tmp_path_factory.mktemp("good") / "one.safetensors").path


@pytest.fixture
def file(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(good, tmp_path))


def assert_equal_checkpoints(one: Checkpoint, other: Checkpoint) -> None:
    assert one.architecture is other.architecture is SDXL
    for component in COMPONENTS:
        assert_same(dict(one.components[component]), dict(other.components[component]))
    assert one.description == other.description


def assert_equal_to_pipeline(checkpoint: Checkpoint, pipeline: StableDiffusionXLPipeline) -> None:
    for component in COMPONENTS:
        state = getattr(pipeline, component).state_dict()
        assert not [name for name, weight in state.items() if weight.is_meta]
        if component == "text_encoder":
            state = clip.with_prefix(state)
        assert_same(dict(checkpoint.components[component]), state)


# The published file


def test_the_diffusers_models_become_exactly_the_published_tensors() -> None:
    configs = shipped_description("sdxl").configs()
    models = {part: expected_weights(SDXL.part(part), configs[part]) for part in COMPONENTS}
    original, table = shapes_of(SDXL.to_original(models)), published("sdxl")
    assert len(table.shapes) == 2514
    assert table.optional == {LOGIT_SCALE}
    assert original == table.required()
    file = {name: torch.empty(shape, device="meta") for name, shape in table.shapes.items()}
    back = {part.component: SDXL.part_of(file, part.component) for part in SDXL.parts}
    back = {part.component: part.to_diffusers(back[part.component]) for part in SDXL.parts}
    assert shapes_of(SDXL.to_original(back)) == table.shapes
    back["text_encoder_2"].pop("logit_scale")
    for part, weights in models.items():
        assert shapes_of(back[part]) == shapes_of(weights)
    assert family_of_file(file, Path()) is SDXL


def test_the_shipped_configs_are_those_of_the_published_model() -> None:
    shipped = shipped_description("sdxl")
    assert SDXL.own_size(shipped) == (1024, 1024)
    assert shipped.prediction_type == "epsilon"
    assert shipped.vocabularies == {}
    assert shipped.model_index["force_zeros_for_empty_prompt"] is True
    assert [
        shipped.components["text_encoder"]["hidden_act"],
        shipped.components["text_encoder_2"]["hidden_act"],
    ] == [
        "quick_gelu",
        "gelu",
    ]
    assert family_of_folder(shipped.model_index, shipped.components, Path()) is SDXL
    velocity = published_description(SDXL, "v_prediction")
    assert SDXL.own_size(velocity) == (1024, 1024)
    assert ARCHITECTURES["sdxl"] is SDXL


# Round trips


def test_folder_to_file_to_folder_is_the_identity(
    start: Checkpoint, file: Path, tmp_path: Path
) -> None:
    middle = read_checkpoint(file)  # no --config: the header has configs and both vocabularies
    write_folder(middle, tmp_path / "back")
    assert_equal_checkpoints(start, middle)
    assert_equal_checkpoints(start, read_checkpoint(tmp_path / "back"))
    assert (
        start.description.vocabularies["tokenizer"] != start.description.vocabularies["tokenizer_2"]
    )


def test_the_loaders_of_diffusers_read_the_same_values(
    start: Checkpoint, folder: Path, file: Path, tmp_path: Path
) -> None:
    single = StableDiffusionXLPipeline.from_single_file(
        str(file), config=str(folder), local_files_only=True, add_watermarker=False
    )
    assert_equal_to_pipeline(start, single)
    write_folder(start, tmp_path / "copy")
    copy = StableDiffusionXLPipeline.from_pretrained(
        tmp_path / "copy", local_files_only=True, add_watermarker=False
    )
    assert_equal_to_pipeline(start, copy)
    original = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    assert dict(copy.scheduler.config) == dict(original.scheduler.config)
    assert copy.config.force_zeros_for_empty_prompt is True
    assert (copy.tokenizer.pad_token, copy.tokenizer_2.pad_token) == ("<|endoftext|>", "!")
    assert copy.tokenizer_2.pad_token_id == 0
    assert len(copy.tokenizer_2) == len(copy.tokenizer)


def test_a_file_of_another_tool_is_read_and_what_only_it_has_is_kept(
    start: Checkpoint, folder: Path, file: Path, tmp_path: Path
) -> None:
    tensors, scale = load_file(file), torch.tensor(4.6)
    buffers = {
        "denoiser.sigmas": torch.ones(1000),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77),
        "model_ema.decay": torch.tensor(0.9999),
    }
    save_file({**tensors, **buffers, LOGIT_SCALE: scale}, tmp_path / "bare.safetensors")
    foreign = read_checkpoint(tmp_path / "bare.safetensors", config=folder)
    assert_equal_checkpoints(start, foreign)
    assert_same(dict(foreign.extras), {LOGIT_SCALE: scale})
    write_folder(foreign, tmp_path / "back")
    write_single_file(read_checkpoint(tmp_path / "back"), tmp_path / "again.safetensors")
    assert_same(load_file(tmp_path / "again.safetensors"), {**tensors, LOGIT_SCALE: scale})


PROJECTION = "conditioner.embedders.1.model.text_projection"


def test_the_projection_of_the_script_of_diffusers_is_read_as_it_stands(
    start: Checkpoint, folder: Path, file: Path, tmp_path: Path
) -> None:
    tensors = load_file(file)
    linear = start.components["text_encoder_2"]["text_projection.weight"]
    assert not torch.equal(linear, linear.t())
    torch.testing.assert_close(tensors[PROJECTION], linear.t(), rtol=0, atol=0)
    script = {name: w for name, w in tensors.items() if name != PROJECTION}
    script[f"{PROJECTION}.weight"] = linear.contiguous()
    both = {**script, PROJECTION: tensors[PROJECTION]}
    for name, weights in (("script", script), ("both", both)):
        save_file(weights, tmp_path / f"{name}.safetensors")
        scripted = read_checkpoint(tmp_path / f"{name}.safetensors", config=folder)
        assert_equal_checkpoints(start, scripted)
        assert scripted.extras == {}
        write_single_file(scripted, tmp_path / "again.safetensors", force=True)
        assert_same(load_file(tmp_path / "again.safetensors"), tensors)


def test_two_projections_that_differ_are_refused(folder: Path, file: Path, tmp_path: Path) -> None:
    tensors = load_file(file)
    tensors[f"{PROJECTION}.weight"] = tensors[PROJECTION]  # the transpose of what it should be
    save_file({n: w.clone() for n, w in tensors.items()}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"both text_projection and text_projection\.weight"):
        read_checkpoint(tmp_path / "two.safetensors", config=folder)
    del tensors[PROJECTION]
    tensors[f"{PROJECTION}.weight"] = torch.zeros(4)
    save_file(tensors, tmp_path / "flat.safetensors")
    with pytest.raises(CheckpointError, match=r"has the shape \[4\], not two dimensions"):
        read_checkpoint(tmp_path / "flat.safetensors", config=folder)


def test_the_header_names_the_architecture(file: Path) -> None:
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base"
    assert header["modelspec.prediction_type"] == "epsilon"
    assert header["modelspec.resolution"] == "64x64"


@pytest.mark.parametrize("all_noise", [False, True])
def test_a_velocity_model_is_marked_as_other_tools_mark_it(
    start: Checkpoint, file: Path, tmp_path: Path, all_noise: bool
) -> None:
    settings = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": all_noise}
    scheduler = {**start.description.scheduler, **settings}
    velocity = replace(start, description=replace(start.description, scheduler=scheduler))
    write_single_file(velocity, tmp_path / "v.safetensors", dtype=torch.float16)
    tensors = load_file(tmp_path / "v.safetensors")
    marks = {"v_pred", "ztsnr"} if all_noise else {"v_pred"}
    assert set(tensors) - set(load_file(file)) == marks
    assert all(tensors[name].numel() == 0 for name in marks)
    assert read_checkpoint(tmp_path / "v.safetensors").description.scheduler == scheduler


# Bad input


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ("conditioner.embedders.1.", "only a part of a Stable Diffusion XL checkpoint"),
        ("conditioner.", "a UNet without the text encoder"),
        ("conditioner.embedders.1.model.text_projection", r"lacks 1 of \d+ weights"),
        ("model.diffusion_model.label_emb.", r"lacks 4 of \d+ weights"),
    ],
)
def test_a_file_without_a_part_of_it_says_which(file: Path, gone: str, says: str) -> None:
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
    rest = {name: w for name, w in load_file(file).items() if not name.startswith(gone)}
    save_file(rest, file, header)
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(file)


def test_the_refiner_is_called_by_its_name(file: Path) -> None:
    tensors = load_file(file)
    refiner = {
        name.replace("embedders.1.", "embedders.0."): weight
        for name, weight in tensors.items()
        if "embedders.0." not in name
    }
    save_file(refiner, file)
    with pytest.raises(CheckpointError, match="the refiner of Stable Diffusion XL"):
        read_checkpoint(file)


def test_a_folder_without_its_second_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "text_encoder_2" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"text_encoder_2 has no config\.json"):
        read_checkpoint(copy)
    index = json.loads((copy / "model_index.json").read_text(encoding="utf-8"))
    (copy / "model_index.json").write_text(json.dumps({**index, "text_encoder_2": [None, None]}))
    with pytest.raises(CheckpointError, match="without its second text encoder"):
        read_checkpoint(copy)


def test_a_second_vocabulary_that_is_missing_is_missed(start: Checkpoint, tmp_path: Path) -> None:
    bare = replace(start, description=start.description.speaking(tokenizer_2={}))
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        write_folder(bare, tmp_path / "model")
    assert not (tmp_path / "model").exists()
