"""Each part's naming, by value, and for structures other than the published ones."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from support.models.tiny_models import assert_same
from torch import Tensor

from erasure.architectures.text.qwen_towers import visual_names, with_prefix, without_prefix
from erasure.checkpoints.layout import clip, flux, flux2_vae, openclip, unet, vae
from erasure.checkpoints.layout.renaming import Convert
from erasure.errors import CheckpointError

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"


def unet_names(down: tuple[str, ...], layers: int) -> list[str]:
    with torch.device("meta"):
        model = UNet2DConditionModel(
            block_out_channels=(4,) * len(down),
            layers_per_block=layers,
            down_block_types=down,
            up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
            cross_attention_dim=4,
            attention_head_dim=2,
            norm_num_groups=2,
        )
    return list(model.state_dict())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    "down", [(CROSS,), (PLAIN, CROSS), (CROSS, PLAIN, CROSS), (PLAIN, PLAIN), (CROSS,) * 5]
)
def test_any_structure_is_read_back_from_its_own_names(down: tuple[str, ...], layers: int) -> None:
    names = unet_names(down, layers)
    forward = unet.original_names(names)
    assert unet.diffusers_names(forward.values()) == {new: old for old, new in forward.items()}
    assert len(set(forward.values())) == len(names)


def test_the_numbering_of_the_published_unet() -> None:
    # Layer numbers by hand: 3 steps a block, conv_in first; up blocks have 3 resnets each.
    names = unet_names((CROSS, CROSS, CROSS, PLAIN), 2)
    forward = unet.original_names(names)
    wanted = {
        "conv_in.weight": "input_blocks.0.0.weight",
        "down_blocks.1.attentions.1.proj_in.weight": "input_blocks.5.1.proj_in.weight",
        "down_blocks.2.downsamplers.0.conv.bias": "input_blocks.9.0.op.bias",
        "mid_block.resnets.1.time_emb_proj.weight": "middle_block.2.emb_layers.1.weight",
        "up_blocks.0.upsamplers.0.conv.weight": "output_blocks.2.1.conv.weight",
        "up_blocks.2.upsamplers.0.conv.weight": "output_blocks.8.2.conv.weight",
        "up_blocks.3.resnets.2.conv_shortcut.weight": "output_blocks.11.0.skip_connection.weight",
        "conv_out.bias": "out.2.bias",
    }
    for name, original in wanted.items():
        assert forward.get(name) == original


def test_a_gap_or_an_unknown_name_is_an_error() -> None:
    names = [n for n in unet_names((CROSS, PLAIN), 1) if not n.startswith("down_blocks.0.")]
    with pytest.raises(CheckpointError, match="gaps"):
        unet.original_names(names)
    with pytest.raises(CheckpointError, match=r"'motion\.weight' has no place"):
        unet.original_names([*unet_names((CROSS,), 1), "motion.weight"])
    original = unet.original_names(unet_names((CROSS, PLAIN), 1)).values()
    with pytest.raises(CheckpointError, match="gaps"):
        unet.diffusers_names(n for n in original if not n.startswith("output_blocks.1."))


def test_decoder_levels_are_counted_from_the_other_end_and_attention_is_a_convolution() -> None:
    weights = {
        "encoder.down_blocks.0.resnets.0.conv_shortcut.weight": torch.ones(1),
        "encoder.down_blocks.2.resnets.0.norm1.weight": torch.ones(2),
        "decoder.up_blocks.0.upsamplers.0.conv.weight": torch.ones(3),
        "decoder.mid_block.attentions.0.to_out.0.weight": torch.randn(4, 4),
        "decoder.mid_block.attentions.0.to_q.bias": torch.ones(4),
    }
    original = vae.to_original(weights)
    assert list(original) == [
        "encoder.down.0.block.0.nin_shortcut.weight",
        "encoder.down.2.block.0.norm1.weight",
        "decoder.up.2.upsample.conv.weight",
        "decoder.mid.attn_1.proj_out.weight",
        "decoder.mid.attn_1.q.bias",
    ]
    assert original["decoder.mid.attn_1.proj_out.weight"].shape == (4, 4, 1, 1)
    assert_same(vae.to_diffusers(original), weights)


def test_clip_names_have_their_prefix_whichever_transformers_wrote_them() -> None:
    new = {
        "embeddings.token_embedding.weight": torch.ones(2),
        "final_layer_norm.bias": torch.ones(1),
    }
    old = {f"text_model.{name}": weight for name, weight in new.items()}
    buffer = {"text_model.embeddings.position_ids": torch.arange(77)}
    assert_same(clip.to_original(new), old)
    assert_same(clip.to_original(old | buffer), old)
    assert_same(clip.to_diffusers(new), old)


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_openclip_fuses_query_key_value_in_this_order_and_transposes_the_projection(
    prefix: str,
) -> None:
    attention = f"{prefix}encoder.layers.0.self_attn"
    values = {letter: torch.randn(2, 2) for letter in "vkq"}
    weights = {f"{attention}.{letter}_proj.weight": value for letter, value in values.items()}
    weights["text_projection.weight"] = torch.randn(2, 2)
    weights[f"{prefix}embeddings.position_embedding.weight"] = torch.randn(77, 2)
    original = openclip.to_original(weights)
    wanted = torch.cat([values["q"], values["k"], values["v"]])
    assert torch.equal(original["transformer.resblocks.0.attn.in_proj_weight"], wanted)
    assert torch.equal(original["text_projection"], weights["text_projection.weight"].T)
    assert original["positional_embedding"].shape == (77, 2)
    assert_same(openclip.to_diffusers(original), clip.with_prefix(weights))
    with pytest.raises(CheckpointError, match=r"no text_model.*k_proj"):
        openclip.to_original({n: w for n, w in weights.items() if "k_proj" not in n})


QKV = {f"encoder.layers.0.self_attn.{letter}_proj.weight": torch.zeros(2, 2) for letter in "qkv"}
LAST = "final_layer.adaLN_modulation.1.weight"
TURNED = {"text_projection": torch.zeros(1, 2, 2)}


@pytest.mark.parametrize("shape", [(), (0, 2), (1, 2), (4, 2)])
def test_rows_that_cannot_be_parted_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="rows are none for 3 parts"):
        openclip.to_diffusers({"transformer.resblocks.0.attn.in_proj_weight": torch.zeros(shape)})


@pytest.mark.parametrize("shape", [(), (1, 2), (3, 2)])
def test_a_modulation_without_halves_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckpointError, match="rows are none for 2 parts"):
        flux.to_diffusers({LAST: torch.zeros(shape)})
    with pytest.raises(CheckpointError, match="rows are none for 2 parts"):
        flux.to_original({"norm_out.linear.weight": torch.zeros(shape)})


@pytest.mark.parametrize("odd", [torch.zeros(2, 3), torch.zeros(())])
def test_weights_that_do_not_go_one_below_the_other_are_an_error(odd: Tensor) -> None:
    with pytest.raises(CheckpointError, match="do not go one below the other"):
        openclip.to_original({**QKV, "encoder.layers.0.self_attn.k_proj.weight": odd})


def test_a_projection_that_is_no_matrix_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="not two dimensions"):
        openclip.to_diffusers(TURNED)
    with pytest.raises(CheckpointError, match="not two dimensions"):
        openclip.to_original({"text_projection.weight": TURNED["text_projection"]})


@pytest.mark.parametrize(
    ("tidy", "one", "other"),
    [
        (clip.with_prefix, "final_layer_norm.bias", "text_model.final_layer_norm.bias"),
        (flux.usual_names, "a.norm.key_norm.weight", "a.norm.key_norm.scale"),
        (vae.modern_names, "a.attentions.0.query.bias", "a.attentions.0.to_q.bias"),
        (flux2_vae.usual_names, "quant_conv.bias", "encoder.quant_conv.bias"),
        (with_prefix, "norm.weight", "model.norm.weight"),
        (without_prefix, "model.norm.weight", "norm.weight"),
        (visual_names, "visual.a.weight", "model.visual.a.weight"),
    ],
)
def test_a_weight_under_two_names_has_one_value(tidy: Convert, one: str, other: str) -> None:
    weight = torch.arange(3.0)
    assert len(tidy({one: weight, other: weight.clone()})) == 1
    for wrong in (weight + 1, weight[:2]):
        with pytest.raises(CheckpointError, match="one weight under two names, with two values"):
            tidy({one: weight, other: wrong})
