"""Kohya's names of SD3 and FLUX, which are of several layers together."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_lora import random_factors, with_factors
from torch import Tensor

from erasure.architectures.transformer.packing import packed
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.errors import CheckpointError, ConfigError
from erasure.lora.changes import Thin
from erasure.lora.merging import Part, with_loras
from erasure.lora.reading import read_lora
from erasure.lora.writing import write_differences, write_lora
from erasure.solving.factors import Factors

KINDS = ["flux_dev", "sd35_medium"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    place = tmp_path_factory.mktemp("fused")
    return {
        "flux_dev": read_checkpoint(write_flux(place / "flux")),
        "sd35_medium": read_checkpoint(write_sd3(place / "sd3", "sd35_medium", t5=False)),
    }


def of_blocks(checkpoint: Checkpoint) -> dict[str, Factors]:
    """Factors of every layer of the blocks and of the last modulation, but for some parts of
    fused layers."""
    whole = random_factors(checkpoint.network)
    left_out = ("transformer_blocks.0.attn.to_k.weight", "single_transformer_blocks.0.attn.to_q")
    return {
        name: one
        for name, one in whole.items()
        if ("_blocks." in name or "norm_out" in name) and not name.startswith(left_out)
    }


def added_by(file: Path) -> dict[str, Tensor]:
    """Kohya's name -> the change that a reader adds to that layer."""
    tensors = load_file(file)
    changes = {}
    for key, up in tensors.items():
        name = key.removesuffix(".lora_up.weight")
        if name != key:
            down, alpha = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.alpha"]
            change = up.double().flatten(1) @ down.double().flatten(1)
            changes[name] = float(alpha) / len(down) * change
    return changes


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_to_the_published_layers_is_what_was_trained(
    models: dict[str, Checkpoint], kind: str, tmp_path: Path
) -> None:
    checkpoint, file = models[kind], tmp_path / "lora.safetensors"
    factors = of_blocks(checkpoint)
    write_lora(file, {"transformer": factors}, checkpoint)
    part = checkpoint.architecture.main_part
    base = part.to_original(checkpoint.network)
    edited = part.to_original(with_factors(checkpoint, factors).network)
    changes = added_by(file)
    moved = {name for name in base if not torch.equal(base[name], edited[name])}
    named = {f"lora_unet_{n.removesuffix('.weight').replace('.', '_')}": n for n in moved}
    assert changes.keys() == named.keys()
    for key, name in named.items():
        wanted = edited[name].double() - base[name].double()
        torch.testing.assert_close(changes[key].view(wanted.shape), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_comes_back_layer_by_layer(
    models: dict[str, Checkpoint], kind: str, tmp_path: Path
) -> None:
    checkpoint, file = models[kind], tmp_path / "lora.safetensors"
    factors = random_factors(checkpoint.network)
    written = write_lora(file, {"transformer": factors}, checkpoint)
    assert written.layers == len(factors)
    read = read_lora(file, checkpoint).changes["transformer"]
    assert read.keys() == factors.keys()
    for name, one in factors.items():
        change = read[name]
        assert isinstance(change, Thin)
        torch.testing.assert_close(change.factors.change(), one.change(), rtol=0, atol=1e-6)


def test_a_down_factor_that_layers_share_is_read_for_each(
    models: dict[str, Checkpoint], tmp_path: Path
) -> None:
    checkpoint, file = models["flux_dev"], tmp_path / "shared.safetensors"
    up, down = torch.randn(96, 2), torch.randn(2, 32)
    name = "double_blocks.0.txt_attn.qkv"
    save_file(
        {
            f"diffusion_model.{name}.lora_B.weight": up,
            f"diffusion_model.{name}.lora_A.weight": down,
        },
        file,
    )
    merged = with_loras(checkpoint, [Part(file)])
    for n, part in enumerate(("add_q_proj", "add_k_proj", "add_v_proj")):
        weight = f"transformer_blocks.0.attn.{part}.weight"
        moved = merged.network[weight] - checkpoint.network[weight]
        torch.testing.assert_close(moved, up[32 * n : 32 * n + 32] @ down, rtol=0, atol=1e-5)


def answer(pipeline: Any) -> Tensor:  # noqa: ANN401
    """What the transformer of FLUX says to fixed inputs."""
    draw = torch.Generator().manual_seed(7)
    x = torch.randn(1, 4, 4, 6, generator=draw)
    with torch.no_grad():
        said: Tensor = pipeline.transformer(
            hidden_states=packed(x),
            encoder_hidden_states=torch.randn(1, 5, 32, generator=draw),
            pooled_projections=torch.randn(1, 8, generator=draw),
            timestep=torch.tensor([0.7]),
            img_ids=torch.zeros(6, 3),
            txt_ids=torch.zeros(5, 3),
            guidance=torch.ones(1),
            return_dict=False,
        )[0]
    return said


def test_diffusers_loads_kohya_s_names_of_flux_as_they_were_written(
    models: dict[str, Checkpoint], tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="peft is not installed, which diffusers loads LoRA with")
    checkpoint, file = models["flux_dev"], tmp_path / "lora.safetensors"
    # diffusers cuts the first layer of a single block at the width of the published model alone.
    factors = {
        name: one
        for name, one in of_blocks(checkpoint).items()
        if name.startswith("transformer_blocks.")
    }
    write_lora(file, {"transformer": factors}, checkpoint)
    pipeline = diffusers_pipeline(checkpoint)
    plain = answer(pipeline)
    pipeline.load_lora_weights(file)
    loaded = answer(pipeline)
    edited = answer(diffusers_pipeline(with_factors(checkpoint, factors)))
    moved = float((edited - plain).abs().max())
    assert moved > 1e-3
    # Factors are added after the product and not before it, in float32.
    torch.testing.assert_close(loaded, edited, rtol=0, atol=1e-3 * moved)


def test_rows_that_are_none_of_the_fused_layers_are_refused(
    models: dict[str, Checkpoint], tmp_path: Path
) -> None:
    file = tmp_path / "odd.safetensors"
    name = "lora_unet_joint_blocks_0_x_block_attn_qkv"
    save_file(
        {
            f"{name}.lora_up.weight": torch.ones(95, 1),
            f"{name}.lora_down.weight": torch.ones(1, 32),
        },
        file,
    )
    with pytest.raises(CheckpointError, match=r"shape \(95, 1\), and the layers .* have 96 rows"):
        read_lora(file, models["sd35_medium"])


def test_whole_differences_are_refused_with_what_to_take(
    models: dict[str, Checkpoint], tmp_path: Path
) -> None:
    checkpoint = models["sd35_medium"]
    edited = with_factors(checkpoint, of_blocks(checkpoint))
    with pytest.raises(ConfigError, match=r"not written so; give the two models to save_patches"):
        write_differences(tmp_path / "diff.safetensors", checkpoint, edited)
