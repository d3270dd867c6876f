"""Transformers in the original layout: published names at full size, and values through diffusers'
own converters."""

from pathlib import Path

import pytest
import torch
from diffusers.loaders import single_file_utils
from support.models.tiny_flow import SD3_KINDS, tiny_flux, tiny_sd3
from support.models.tiny_models import assert_same, randomise
from test_layout_published import published, shapes_of

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.description import shipped_description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.layout import flux, sd3
from erasure.checkpoints.reading.recognise import family_of_file, family_of_folder
from erasure.errors import CheckpointError

KINDS = ["sd3", "sd35_medium", "sd35_large"]


@pytest.mark.parametrize("key", KINDS)
def test_the_diffusers_models_become_exactly_the_published_tensors(key: str) -> None:
    family, configs = ARCHITECTURES[key], shipped_description(key).configs()
    models = {c: expected_weights(family.part(c), configs[c]) for c in family.file_parts}
    table = published(key)
    assert shapes_of(family.to_original(models)) == table.shapes
    file = {name: torch.empty(shape, device="meta") for name, shape in table.shapes.items()}
    for component, model in models.items():
        back = family.part(component).to_diffusers(family.part_of(file, component))
        assert shapes_of(back) == shapes_of(model)


@pytest.mark.parametrize("key", KINDS)
def test_each_family_is_known_by_its_own_configs_and_by_its_published_names(key: str) -> None:
    described = shipped_description(key)
    family = ARCHITECTURES[key]
    assert family_of_folder(described.model_index, described.components, Path()) is family
    assert family_of_file(published(key).shapes, Path()) is family
    assert family.own_size(described) == (1024, 1024)
    assert described.prediction_type == "flow"


@pytest.mark.parametrize("kind", KINDS)
def test_sd3_values_pass_through_the_converter_of_diffusers(kind: str) -> None:
    network = tiny_sd3(**SD3_KINDS[kind])
    randomise(network, 3)
    weights = dict(network.state_dict())
    original = sd3.to_original(weights)
    theirs = single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(dict(original))
    assert_same(weights, {name: theirs[name] for name in weights})
    assert_same(weights, {name: sd3.to_diffusers(original)[name] for name in weights})


def test_the_last_modulations_are_exchanged_and_no_others() -> None:
    network = tiny_sd3()
    randomise(network, 3)
    weights = dict(network.state_dict())
    original = sd3.to_original(weights)
    for ours, theirs in (
        ("norm_out.linear.weight", "final_layer.adaLN_modulation.1.weight"),
        (
            "transformer_blocks.1.norm1_context.linear.bias",
            "joint_blocks.1.context_block.adaLN_modulation.1.bias",
        ),
    ):
        scale, shift = weights[ours].chunk(2)
        assert torch.equal(original[theirs], torch.cat([shift, scale]))
    name = "joint_blocks.0.context_block.adaLN_modulation.1.weight"
    assert torch.equal(original[name], weights["transformer_blocks.0.norm1_context.linear.weight"])


def test_a_row_of_a_key_stands_one_offset_further_in_the_fused_weight() -> None:
    network = tiny_sd3()
    randomise(network, 3)
    weights = dict(network.state_dict())
    fused = sd3.to_original(weights)["joint_blocks.1.context_block.attn.qkv.weight"]
    key = weights["transformer_blocks.1.attn.add_k_proj.weight"]
    assert torch.equal(fused[len(key) + 5], key[5])


def test_a_part_of_a_fused_weight_that_is_missing_is_named() -> None:
    weights = dict(tiny_sd3().state_dict())
    del weights["transformer_blocks.0.attn.to_k.weight"]
    with pytest.raises(CheckpointError, match=r"no transformer_blocks\.0\.attn\.to_k\.weight"):
        sd3.to_original(weights)


# FLUX


@pytest.mark.parametrize("key", ["flux_dev", "flux_schnell"])
def test_flux_becomes_exactly_the_published_tensors_and_back(key: str) -> None:
    family, described = ARCHITECTURES[key], shipped_description(key)
    model = expected_weights(family.main_part, described.components["transformer"])
    table = published(key)
    assert shapes_of(family.to_original({"transformer": model})) == table.shapes
    file = {name: torch.empty(shape, device="meta") for name, shape in table.shapes.items()}
    back = family.main_part.to_diffusers(family.part_of(file, "transformer"))
    assert shapes_of(back) == shapes_of(model)
    assert family_of_file(table.shapes, Path()) is family
    assert family_of_folder(described.model_index, described.components, Path()) is family
    assert family.own_size(described) == (1024, 1024)


def test_flux_values_pass_through_the_converter_of_diffusers() -> None:
    # Its converter has the width 3072 of the rows written in; the second axes may be short.
    config = shipped_description("flux_dev").components["transformer"]
    small = {**config, "num_layers": 1, "num_single_layers": 1}
    wanted = expected_weights(ARCHITECTURES["flux_dev"].main_part, small)
    draw = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(weight.shape[0], *(2 for _ in weight.shape[1:]), generator=draw)
        for name, weight in wanted.items()
    }
    theirs = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(
        dict(flux.to_original(weights))
    )
    assert_same(weights, {name: theirs[name] for name in weights})


def test_flux_goes_to_the_original_and_back_by_value() -> None:
    network = tiny_flux(guidance_embeds=True)
    randomise(network, 3)
    weights = dict(network.state_dict())
    original = flux.to_original(weights)
    back = flux.to_diffusers(original)
    assert_same(weights, {name: back[name] for name in weights})
    fused = original["single_blocks.0.linear1.weight"]
    width = weights["single_transformer_blocks.0.attn.to_q.weight"].shape[0]
    mlp = weights["single_transformer_blocks.0.proj_mlp.weight"]
    assert torch.equal(fused[3 * width + 5], mlp[5])
    # ComfyUI saves the norms under another name.
    renamed = {name.replace(".scale", ".weight"): w for name, w in original.items()}
    assert flux.usual_names(renamed).keys() == original.keys()


def test_a_fused_weight_without_rows_for_its_parts_is_refused() -> None:
    original = flux.to_original(dict(tiny_flux().state_dict()))
    original["double_blocks.0.img_attn.qkv.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError, match="has 7 rows, which are none for the 3 layers"):
        flux.to_diffusers(original)
