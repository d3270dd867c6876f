"""Only plain text-to-image models pass: any other UNet or VAE is named for what it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_models import Size, tiny_vae
from support.models.tiny_sdxl import write_sdxl

from erasure.architectures.building import build_codec
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints import read_checkpoint, write_single_file
from erasure.checkpoints.checks.plain import require_plain
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.reading.settings_of import default_settings
from erasure.errors import CheckpointError
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.drawing.schedulers import build_scheduler

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[3] / "erasure" / "checkpoints" / "configs"


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sdxl(tmp_path_factory.mktemp("plain") / "sdxl")


@pytest.fixture
def file(sd1_file: Path) -> Path:
    """A single file; do not write into it."""
    return sd1_file


def with_config(folder: Path, copy: Path, component: str, **settings: Any) -> Path:  # noqa: ANN401
    """A copy of a folder whose component has other settings; `...` takes one out."""
    shutil.copytree(folder, copy)
    path = copy / component / "config.json"
    config = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    return copy


UNETS: dict[str, tuple[dict[str, Any], str]] = {
    "inpainting": ({"in_channels": 9}, "an inpainting UNet.* takes 9 channels, not 4"),
    "pix2pix": ({"in_channels": 8}, "an InstructPix2Pix UNet"),
    "depth": ({"in_channels": 5}, "a depth-to-image UNet"),
    "upscaler": ({"in_channels": 7, "num_class_embeds": 1000}, "an upscaler's UNet"),
    "upscaler by classes": ({"num_class_embeds": 1000}, r"upscaler.*num_class_embeds is 1000"),
    "other channels": ({"in_channels": 3}, "takes 3 channels and gives 4, and latents of 4"),
    "variance": ({"out_channels": 8}, "takes 4 channels and gives 8"),
    "unclip": ({"class_embed_type": "projection"}, "an unCLIP UNet"),
    "lcm": ({"time_cond_proj_dim": 256}, r"\(LCM\)"),
    "kandinsky": ({"encoder_hid_dim_type": "image_proj"}, "IP-Adapter, Kandinsky"),
    "deepfloyd": ({"encoder_hid_dim": 4096}, "or other encoders"),
    "added text": ({"addition_embed_type": "text"}, "addition_embed_type 'text', and that of"),
    "size of xl": ({"addition_embed_type": "text_time"}, "that of Stable Diffusion 1.x is None"),
    "dual": ({"dual_cross_attention": True}, "Versatile Diffusion"),
    "gligen": ({"attention_type": "gated"}, "a GLIGEN UNet"),
    "class": ({"_class_name": "UNet3DConditionModel"}, "of class 'UNet3DConditionModel'"),
    "concatenated": ({"class_embeddings_concat": True}, "class_embeddings_concat = 'True'"),
    "unknown": ({"my_gate": 3}, "my_gate = '3' in its config.*no such setting"),
    "width": ({"cross_attention_dim": 12}, "listens to 12 features.*that gives 8"),
}


@pytest.mark.parametrize(("settings", "says"), UNETS.values(), ids=UNETS)
def test_a_unet_that_wants_more_is_named(
    settings: dict[str, Any], says: str, sd1: Path, file: Path, tmp_path: Path
) -> None:
    folder = with_config(sd1, tmp_path / "other", "unet", **settings)
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(folder)
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(file, config=folder)


def test_a_unet_of_xl_must_be_told_the_size(sdxl: Path, tmp_path: Path) -> None:
    folder = with_config(sdxl, tmp_path / "other", "unet", addition_embed_type=None)
    with pytest.raises(CheckpointError, match=r"addition_embed_type None.*is 'text_time'"):
        read_checkpoint(folder)


@pytest.mark.parametrize("key", [key for key in ARCHITECTURES if (CONFIGS / key).is_dir()])
def test_the_published_models_are_plain(key: str) -> None:
    notes = require_plain(shipped_description(key), ARCHITECTURES[key], key)
    distilled = ["FLUX.1 schnell, which was distilled to 4 steps"] if key == "flux_schnell" else []
    assert len(notes) == len(distilled)
    assert all(words in note for note, words in zip(notes, distilled, strict=True))


def test_settings_of_averaged_weights_mean_nothing(sd1: Path, tmp_path: Path) -> None:
    averaged = {"decay": 0.9999, "optimization_step": 70000, "use_ema_warmup": False}
    folder = with_config(sd1, tmp_path / "other", "unet", **averaged, new_one=None)
    assert read_checkpoint(folder).network_hash() == read_checkpoint(sd1).network_hash()


@pytest.mark.parametrize(
    ("component", "kind"), [("unet", UNet2DConditionModel), ("vae", AutoencoderKL)]
)
def test_the_whole_config_that_diffusers_writes_is_plain(
    component: str, kind: type[UNet2DConditionModel | AutoencoderKL]
) -> None:
    description = shipped_description("sd1")
    with torch.device("meta"):
        full = dict(kind.from_config(dict(description.components[component])).config)
    assert set(default_settings(kind.__name__)) <= set(full)
    whole = description.having(**{component: full})
    assert require_plain(whole, ARCHITECTURES["sd1"], "sd1") == ()


FIRST = "model.diffusion_model.input_blocks.0.0.weight"
FILES: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "inpainting": ({FIRST: (4, 9, 3, 3)}, "an inpainting UNet"),
    "pix2pix": ({FIRST: (4, 8, 3, 3)}, "an InstructPix2Pix UNet"),
    "depth": ({FIRST: (4, 5, 3, 3)}, "a depth-to-image UNet"),
    "upscaler": ({"model.diffusion_model.label_emb.weight": (1000, 16)}, "an upscaler's UNet"),
    "unclip": ({"model.diffusion_model.label_emb.0.0.weight": (16, 8)}, "an unCLIP UNet"),
    "lcm": ({"model.diffusion_model.time_embed.cond_proj.weight": (4, 8)}, r"\(LCM\)"),
    "gligen": ({"model.diffusion_model.position_net.linears.0.weight": (4, 8)}, "a GLIGEN UNet"),
    "video": ({"model.diffusion_model.input_blocks.1.0.time_stack.x": (4, 8)}, "a video UNet"),
    "adapter": (
        {"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k_ip.weight": (4, 8)},
        "IP-Adapter",
    ),
}


@pytest.mark.parametrize(("shapes", "says"), FILES.values(), ids=FILES)
def test_a_file_whose_weights_want_more_is_named(
    shapes: dict[str, tuple[int, ...]], says: str, sd1: Path, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_file({**load_file(file), **{k: torch.zeros(v) for k, v in shapes.items()}}, other)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_checkpoint(other, config=sd1)
    assert "only plain text-to-image models can be edited" in str(caught.value)


# Autoencoders

VAES: dict[str, tuple[dict[str, Any], str]] = {
    "class": ({"_class_name": "AutoencoderTiny"}, "a VAE of class 'AutoencoderTiny'"),
    "shift": ({"shift_factor": 0.1159}, "shift_factor 0.1159, which the pipeline"),
    "statistics": ({"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}, "passes over"),
    "colours": ({"in_channels": 4}, "in_channels 4, not the 3 of colour"),
    "zero": ({"scaling_factor": 0}, "scaling_factor 0; it must be a number above 0"),
    "text": ({"scaling_factor": "0.18"}, "scaling_factor '0.18'"),
    "infinite": ({"scaling_factor": float("inf")}, "scaling_factor inf"),
    "unknown": ({"latents_power": 2}, "latents_power = '2' in its config"),
}


@pytest.mark.parametrize(("settings", "says"), VAES.values(), ids=VAES)
def test_a_vae_that_scales_otherwise_is_refused(
    settings: dict[str, Any], says: str, sd1: Path, tmp_path: Path
) -> None:
    folder = with_config(sd1, tmp_path / "other", "vae", **settings)
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"latents_mean": [0.0] * 4},
        {"latents_std": [1.0] * 4},
        {"latents_mean": [0.0] * 3, "latents_std": [1.0] * 4},
        {"latents_mean": [0.0] * 4, "latents_std": [1.0, 1.0, 0.0, 1.0]},
        {"latents_mean": "none", "latents_std": [1.0] * 4},
    ],
)
def test_statistics_that_are_half_there_are_refused(
    settings: dict[str, Any], sdxl: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"latents_(mean|std)"):
        read_checkpoint(with_config(sdxl, tmp_path / "other", "vae", **settings))


def test_a_missing_scaling_factor_is_that_of_diffusers_and_said(sd1: Path, tmp_path: Path) -> None:
    silent = read_checkpoint(with_config(sd1, tmp_path / "other", "vae", scaling_factor=...))
    assert "without scaling_factor; diffusers' 0.18215 is used" in silent.notes[0]
    assert AutoencoderKL().config.scaling_factor == 0.18215
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ours, plain = (build_codec(c).encode(pixels) for c in (silent, read_checkpoint(sd1)))
    assert torch.equal(ours[0], plain[0])


STATISTICS = {"latents_mean": [-1.6, 2.3, 0.8, -0.2], "latents_std": [8.4, 6.0, 5.3, 0.5]}


@pytest.fixture(scope="module")
def shifted(sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("shifted") / "model"
    return with_config(sdxl, copy, "vae", **STATISTICS, scaling_factor=0.5)


def test_pictures_are_shifted_and_stretched_as_the_pipeline_does(shifted: Path) -> None:
    checkpoint = read_checkpoint(shifted)
    painter = Painter(checkpoint, DrawingConfig(steps=2, guidance=1.0), CPU)
    (picture,) = painter.draw([Request("a church", 3)])
    pipeline = diffusers_pipeline(checkpoint)
    pipeline.scheduler = build_scheduler("ddim", checkpoint.description.scheduler)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    shown = pipeline(
        "a church", latents=noise, num_inference_steps=2, guidance_scale=1.0, output_type="pt"
    ).images[0]
    ours = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    ours = ours.view(picture.height, picture.width, 3).permute(2, 0, 1) / 255
    # Half a step of 255: the painter rounds to bytes.
    torch.testing.assert_close(ours, shown.float().cpu(), rtol=0, atol=0.5001 / 255)
    assert shown.std() > 0.01


def test_training_pictures_are_shifted_and_stretched_as_the_pipeline_does(shifted: Path) -> None:
    checkpoint = read_checkpoint(shifted)
    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        shifted, local_files_only=True, add_watermarker=False
    )
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    wanted = pipeline.prepare_latents(
        *(pixels, None, 1, 1, torch.float32, CPU),
        generator=torch.Generator().manual_seed(5),
        add_noise=False,
    )
    mean, std = build_codec(checkpoint).encode(pixels)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(mean + std * noise, wanted)


def test_a_vae_without_quant_convolutions_is_read_drawn_and_exported(tmp_path: Path) -> None:
    made = tiny_vae(Size())
    vae = AutoencoderKL(**{**made.config, "use_quant_conv": False, "use_post_quant_conv": False})
    folder = write_sdxl(tmp_path / "bare", {"vae": vae})
    checkpoint = read_checkpoint(folder)
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        posterior = vae.eval().encode(pixels).latent_dist
    mean, std = build_codec(checkpoint).encode(pixels)
    torch.testing.assert_close(mean, posterior.mean * vae.config.scaling_factor)
    torch.testing.assert_close(std, posterior.std * vae.config.scaling_factor)
    again = read_checkpoint(write_single_file(checkpoint, tmp_path / "bare.safetensors").path)
    assert again.components["vae"].keys() == checkpoint.components["vae"].keys()
    for name, weight in checkpoint.components["vae"].items():
        assert torch.equal(again.components["vae"][name], weight), name
