"""diffusers loads what is written and computes what the edited model computes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_lora import FAMILIES, family_model, random_factors, with_factors
from torch import Tensor

from erasure.architectures.building import build_pipeline
from erasure.checkpoints import Checkpoint
from erasure.lora.layers import factored
from erasure.lora.names import NAMINGS, Naming
from erasure.lora.writing import write_lora
from erasure.solving.factors import Factors

pytest.importorskip("peft", reason="peft is not installed, which diffusers loads LoRA with")


def answer(pipeline: Any, checkpoint: Checkpoint) -> Tensor:  # noqa: ANN401
    """What the UNet of a pipeline says to fixed inputs."""
    described = checkpoint.description.components["unet"]
    draw = torch.Generator().manual_seed(7)
    latents = torch.randn(2, described["in_channels"], 8, 8, generator=draw)
    told = torch.randn(2, 5, described["cross_attention_dim"], generator=draw)
    added: Mapping[str, Tensor] | None = None
    if described.get("addition_embed_type"):
        added = {"text_embeds": torch.randn(2, 12, generator=draw), "time_ids": torch.ones(2, 6)}
    with torch.no_grad():
        out = pipeline.unet(
            latents, torch.tensor([3, 700]), told, added_cond_kwargs=added, return_dict=False
        )
    return out[0]


def moved_by(
    checkpoint: Checkpoint, factors: Mapping[str, Factors], path: Path
) -> tuple[Tensor, Tensor, Tensor]:
    """Answers of the base, of the model with the factors merged, and of diffusers with the file."""
    pipeline = build_pipeline(checkpoint)
    plain = answer(pipeline, checkpoint)
    pipeline.load_lora_weights(path)
    loaded = answer(pipeline, checkpoint)
    edited = answer(build_pipeline(with_factors(checkpoint, factors)), checkpoint)
    return plain, edited, loaded


@pytest.mark.parametrize("naming", NAMINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_of_every_family_is_loaded_as_it_was_written(
    family: str, naming: Naming, tmp_path: Path
) -> None:
    checkpoint = family_model(family, tmp_path)
    factors = random_factors(checkpoint.network)
    assert factors.keys() == set(factored(checkpoint.network))
    path = tmp_path / f"{naming}.safetensors"
    write_lora(path, {"unet": factors}, checkpoint, naming=naming)
    plain, edited, loaded = moved_by(checkpoint, factors, path)
    moved = float((edited - plain).abs().max())
    # Factors are added after the product and not before it, in float32.
    torch.testing.assert_close(loaded, edited, rtol=0, atol=1e-4 * moved)
