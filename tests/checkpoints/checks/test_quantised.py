"""Quantised weights are refused by name; plain 8-bit floats are read as the numbers they are."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from erasure.checkpoints import read_checkpoint, write_folder, write_single_file
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash

UNET = "model.diffusion_model.middle_block.0.in_layers.2"
VAE = "first_stage_model.decoder.conv_in"
TEXT = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1"
FLOATS = (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.fixture
def file(sd1_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sd1_file, tmp_path))


@pytest.fixture
def folder(sd1: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd1, tmp_path / "folder"))


def changed(file: Path, more: dict[str, Tensor], header: dict[str, str] | None = None) -> Path:
    """The file, whose configs come from elsewhere, with some tensors added or replaced."""
    save_file({**load_file(file), **more}, file, header)
    return file


@pytest.mark.parametrize(
    ("key", "title", "scheme"),
    [
        (f"{UNET}.scale_weight", "UNet", "ComfyUI"),
        (f"{TEXT}.scale_weight", "text encoder", "ComfyUI"),
        (f"{VAE}.scale_input", "VAE", "ComfyUI"),
        ("model.diffusion_model.scaled_fp8", "UNet", "ComfyUI"),
        ("cond_stage_model.transformer.scaled_fp8", "text encoder", "ComfyUI"),
        ("scaled_fp8", "component", "ComfyUI"),
        (f"{TEXT}.comfy_quant", "text encoder", "ComfyUI"),
        (f"{TEXT}.weight_scale", "text encoder", "scales"),
        (f"{UNET}.weight_scale_2", "UNet", "scales"),
        (f"{TEXT}.input_scale", "text encoder", "scales"),
        (f"{TEXT}.SCB", "text encoder", "bitsandbytes in 8 bits"),
        (f"{UNET}.weight.absmax", "UNet", "bitsandbytes in 4 bits"),
        (f"{TEXT}.weight.quant_state.bitsandbytes__nf4", "text encoder", "4 bits"),
        (f"{TEXT}.qweight", "text encoder", "GPTQ"),
        (f"{TEXT}.weight._scale", "text encoder", "scales"),
    ],
)
def test_a_scale_is_never_dropped(
    key: str, title: str, scheme: str, file: Path, folder: Path
) -> None:
    changed(file, {key: torch.ones(1)})
    with pytest.raises(CheckpointError, match=rf"quantised {title} \(.*{scheme}.*") as caught:
        read_checkpoint(file, config=folder)
    assert key in str(caught.value)
    assert "give the same model in float32, float16 or bfloat16" in str(caught.value)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_a_scale_in_a_folder_is_refused(component: str, folder: Path) -> None:
    weights = next((folder / component).glob("*.safetensors"))
    changed(weights, {"some.layer.weight_scale": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"holds a quantised .*some\.layer\.weight_scale"):
        read_checkpoint(folder)


def test_the_header_of_quantised_weights_is_enough(file: Path, folder: Path) -> None:
    changed(file, {}, {"_quantization_metadata": "{}"})
    with pytest.raises(CheckpointError, match="header entry _quantization_metadata"):
        read_checkpoint(file, config=folder)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_a_config_that_says_so_is_enough(component: str, folder: Path) -> None:
    config = folder / component / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "quantization_config": {"quant_method": "torchao"}}))
    with pytest.raises(CheckpointError, match=rf"{component} has a quantization_config \(torchao"):
        read_checkpoint(folder)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e8m0fnu])
@pytest.mark.parametrize("key", [f"{UNET}.weight", f"{TEXT}.weight", f"{VAE}.weight"])
def test_codes_in_the_place_of_numbers_are_refused(
    kind: torch.dtype, key: str, file: Path, folder: Path
) -> None:
    changed(file, {key: torch.ones(load_file(file)[key].shape).to(kind)})
    says = rf"1 weight stored as {str(kind).removeprefix('torch.')} \(.*codes of quantised"
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(file, config=folder)


@pytest.mark.parametrize("kind", FLOATS)
def test_plain_eight_bit_floats_are_read_exactly_and_said(
    kind: torch.dtype, file: Path, folder: Path, tmp_path: Path
) -> None:
    small = {name: weight.to(kind) for name, weight in load_file(file).items()}
    changed(file, small)
    widened = read_checkpoint(file, config=folder)
    for component, weights in widened.components.items():
        assert {weight.dtype for weight in weights.values()} == {torch.float16}, component
    assert len([note for note in widened.notes if "without scales" in note]) == 3
    wanted = {name: weight.float() for name, weight in small.items()}
    assert weights_hash(widened.architecture.to_original(widened.components)) == weights_hash(
        wanted
    )
    write_folder(widened, tmp_path / "out")
    assert read_checkpoint(tmp_path / "out").network_hash() == widened.network_hash()


@pytest.mark.parametrize("kind", FLOATS)
def test_float16_holds_every_value_of_eight_bits(kind: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(kind)
    assert torch.equal(every.half().float().nan_to_num(7), every.float().nan_to_num(7))


def test_a_gguf_file_is_called_by_its_name(tmp_path: Path) -> None:
    for name in ("sd.gguf", "sd.safetensors"):
        (tmp_path / name).write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(100))
        with pytest.raises(CheckpointError, match="is a GGUF file"):
            read_checkpoint(tmp_path / name)


# What else a checkpoint holds


def test_weights_of_no_part_are_kept_and_said(file: Path, folder: Path, tmp_path: Path) -> None:
    more = {
        "control_model.input_blocks.0.0.weight": torch.ones(2),
        "first_stage_model.loss.logvar": torch.zeros(()),
        "cond_stage_model.transformer.adapter.weight": torch.ones(3),
    }
    changed(file, {**more, "betas": torch.ones(10)})
    checkpoint = read_checkpoint(file, config=folder)
    named = {n.replace("transformer.adapter", "transformer.text_model.adapter") for n in more}
    assert set(checkpoint.extras) == named
    for name in ("control_model.input_blocks.0.0.weight", "loss.logvar", "adapter.weight"):
        assert sum(name in note for note in checkpoint.notes) == 1
    write_folder(checkpoint, tmp_path / "out")
    again = read_checkpoint(tmp_path / "out")
    assert set(again.extras) == named


def test_an_averaged_copy_is_left_out_and_said(file: Path, folder: Path) -> None:
    changed(file, {"model_ema.diffusion_modelconv_inweight": torch.zeros(3)})
    checkpoint = read_checkpoint(file, config=folder)
    assert checkpoint.extras == {}
    assert any("averaged copy of the UNet" in note for note in checkpoint.notes)


def test_the_buffers_of_a_published_file_are_nothing_to_say(file: Path, folder: Path) -> None:
    buffers = ["betas", "alphas_cumprod_prev", "sqrt_alphas_cumprod"]
    buffers += ["sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"]
    buffers += ["sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"]
    buffers += ["posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"]
    buffers += ["model_ema.decay", "model_ema.num_updates", "denoiser.sigmas"]
    buffers += ["cond_stage_model.transformer.text_model.embeddings.position_ids"]
    changed(file, {name: torch.ones(1) for name in buffers})
    checkpoint = read_checkpoint(file, config=folder)
    assert (checkpoint.notes, checkpoint.extras) == ((), {})


def test_what_a_text_encoder_in_a_folder_has_more_is_kept_and_said(
    folder: Path, tmp_path: Path
) -> None:
    weights = folder / "text_encoder" / "model.safetensors"
    changed(weights, {"vision_model.embeddings.class_embedding": torch.ones(2)})
    checkpoint = read_checkpoint(folder)
    name = "cond_stage_model.transformer.vision_model.embeddings.class_embedding"
    assert set(checkpoint.extras) == {name}
    assert "vision_model.embeddings.class_embedding" in checkpoint.notes[0]
    write_single_file(checkpoint, tmp_path / "out.safetensors")
    assert name in load_file(tmp_path / "out.safetensors")


@pytest.mark.parametrize("component", ["unet", "vae"])
def test_what_a_network_in_a_folder_has_more_is_refused(component: str, folder: Path) -> None:
    weights = folder / component / "diffusion_pytorch_model.safetensors"
    changed(weights, {"adapter.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"no place for \(adapter\.weight\)"):
        read_checkpoint(folder)


def test_a_gguf_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "flux1-dev-Q4_K.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(CheckpointError, match=r"is a GGUF file.*erase there, and quantise what"):
        read_checkpoint(path)
