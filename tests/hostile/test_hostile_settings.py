"""Values of settings that a library takes as they are, refused before a network computes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.models.tiny_chat import write_flux2, write_qwen_image, write_z_image
from support.models.tiny_flow import write_flux
from support.models.tiny_labels import write_ddpm, write_dit, write_index

from erasure.checkpoints import read_checkpoint
from erasure.diffusion.data.latent_scale import DEFAULT_FACTOR, latent_scale
from erasure.errors import CheckpointError


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder to spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


LISTS: list[object] = ["x", True, None, 0, [2, 2], [0, 0, 0], ["a", "b", "c"], {"a": 1}]
NUMBERS: list[object] = ["x", None, -1, [2, 2]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model of each kind, written once; do not write into it."""
    root = tmp_path_factory.mktemp("kinds")
    writers: dict[str, Callable[[Path], Path]] = {
        "z_image": write_z_image,
        "qwen_image": write_qwen_image,
        "flux2": write_flux2,
        "flux": write_flux,
        "dit": write_dit,
        "ddpm": write_ddpm,
    }

    def made(kind: str) -> Path:
        folder = root / kind
        return folder if folder.exists() else writers[kind](folder)

    return made


@pytest.mark.parametrize(
    ("kind", "part", "name", "values"),
    [
        ("z_image", "transformer", "axes_lens", LISTS),
        ("z_image", "transformer", "axes_dims", [*LISTS, [9, 3, 4], [8, 8, 4]]),
        ("z_image", "transformer", "rope_theta", [*NUMBERS, 0, True]),
        ("z_image", "transformer", "t_scale", [*NUMBERS, 0, True]),
        ("z_image", "transformer", "qk_norm", ["x", 1]),
        ("z_image", "transformer", "norm_eps", [*NUMBERS, True, 3]),
        ("z_image", "vae", "norm_num_groups", [True, -1, "x", 1.0]),
        ("qwen_image", "transformer", "axes_dims_rope", [*LISTS, [9, 3, 4], [8, 8, 4]]),
        ("qwen_image", "transformer", "patch_size", [*NUMBERS, 1, 4]),
        ("qwen_image", "vae", "temperal_downsample", [*LISTS, [], [0], ["x"], [None], [[True]]]),
        ("qwen_image", "vae", "dim_mult", ["x", True, None, 0, [1], [1, 2, 4]]),
        ("flux2", "transformer", "axes_dims_rope", [*LISTS, [5, 3, 4, 4], [8, 4, 4, 4]]),
        ("flux2", "transformer", "patch_size", [*NUMBERS, 2, True]),
        ("flux2", "transformer", "rope_theta", [*NUMBERS, 0]),
        ("flux2", "vae", "patch_size", ["x", None, 2, [2], [1, 4], [0, 0], {"a": 1}]),
        ("flux2", "vae", "batch_norm_eps", NUMBERS),
        ("flux", "transformer", "axes_dims_rope", [*LISTS, [5, 3, 8], [4, 4, 4]]),
        ("flux", "text_encoder_2", "relative_attention_max_distance", [*NUMBERS, 0, 32, True]),
        ("flux", "text_encoder_2", "layer_norm_epsilon", NUMBERS),
        ("dit", "transformer", "patch_size", ["x", True, None, 0, -1, [2, 2], 3]),
        ("ddpm", "unet", "flip_sin_to_cos", ["x", None, 1]),
        ("ddpm", "unet", "norm_num_groups", [True, -1, "x"]),
        ("ddpm", "unet", "mid_block_scale_factor", [*NUMBERS, 0]),
        ("ddpm", "unet", "norm_eps", [*NUMBERS, True]),
    ],
)
def test_a_setting_that_a_network_cannot_compute_with_is_refused_by_name(
    kind: str,
    part: str,
    name: str,
    values: list[object],
    whole: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    file = shutil.copytree(whole(kind), tmp_path / "model") / part / "config.json"
    config = json.loads(file.read_text())
    for value in values:
        file.write_text(json.dumps(config | {name: value}))
        with pytest.raises(CheckpointError, match=rf"\b{name}\b.*; (correct|mend) "):
            read_checkpoint(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("eos_token_id", [None, [2, 2], "x", True, -1]),
        ("layer_norm_eps", NUMBERS),
        ("num_attention_heads", ["x", -1, 0, True]),
        ("num_hidden_layers", ["x", -1, 0, True, None]),
        ("use_attention_mask", ["x", 1]),
    ],
)
def test_a_setting_of_a_text_encoder_that_it_cannot_compute_with_is_refused_by_name(
    name: str, values: list[object], model: Path
) -> None:
    file = model / "text_encoder" / "config.json"
    config = json.loads(file.read_text())
    for value in values:
        file.write_text(json.dumps(config | {name: value}))
        with pytest.raises(CheckpointError, match=rf"has {name} = .* in the config of its text_en"):
            read_checkpoint(model)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("clip_sample_range", [0, -1.0, "x", None, True, 1e40, [1]]),
        ("dynamic_thresholding_ratio", [0, -0.5, 1.5, "x", None, True]),
        ("sample_max_value", [0, 0.5, -1, "x", None, True]),
    ],
)
def test_limits_that_no_picture_of_pixels_can_be_cut_to_are_refused(
    name: str, values: list[object], whole: Callable[[str], Path], tmp_path: Path
) -> None:
    model = shutil.copytree(whole("ddpm"), tmp_path / "model")
    file = model / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    for value in values:
        file.write_text(json.dumps(config | {name: value}))
        with pytest.raises(CheckpointError, match=rf"scheduler whose {name} is .*; it must be a "):
            read_checkpoint(model)


@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_component_that_the_index_gives_no_class_is_refused(name: str, model: Path) -> None:
    for entry in (5, "unet", True, [], ["diffusers"], ["diffusers", None], ["a", "b", "c"], [1, 2]):
        write_index(model, **{name: entry})
        with pytest.raises(CheckpointError, match=rf"has {name} = .*library and its class must"):
            read_checkpoint(model)


def test_a_vae_whose_factor_is_null_has_the_usual_one(model: Path) -> None:
    file = model / "vae" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"scaling_factor": None}))
    checkpoint = read_checkpoint(model)
    assert any("without scaling_factor" in note for note in checkpoint.notes)
    assert latent_scale(checkpoint.description.components["vae"]).factor == DEFAULT_FACTOR
