"""Scopes, on the names of a tiny diffusers UNet that a person listed."""

import pytest
from diffusers import UNet2DConditionModel

from erasure.architectures.scopes import in_scope
from erasure.architectures.text.names import TEXT_SCOPES
from erasure.architectures.unet.scopes import UNET_SCOPES
from erasure.errors import ConfigError

RESNET = (
    *("norm1.weight", "norm1.bias", "conv1.weight", "conv1.bias"),
    *("time_emb_proj.weight", "time_emb_proj.bias"),
    *("norm2.weight", "norm2.bias", "conv2.weight", "conv2.bias"),
)
SHORTCUT = ("conv_shortcut.weight", "conv_shortcut.bias")
ATTENTION = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias")
BLOCK = "attentions.0.transformer_blocks.0"
AROUND = (
    *("attentions.0.norm.weight", "attentions.0.norm.bias"),
    *("attentions.0.proj_in.weight", "attentions.0.proj_in.bias"),
    *(f"{BLOCK}.norm{i}.{p}" for i in (1, 2, 3) for p in ("weight", "bias")),
    *(f"{BLOCK}.ff.net.{i}.{p}" for i in ("0.proj", "2") for p in ("weight", "bias")),
    *("attentions.0.proj_out.weight", "attentions.0.proj_out.bias"),
)
TIME = {f"time_embedding.linear_{i}.{p}" for i in (1, 2) for p in ("weight", "bias")}
OUT = {f"{layer}.{p}" for layer in ("conv_norm_out", "conv_out") for p in ("weight", "bias")}
PLACES = ("down_blocks.0", "mid_block", "up_blocks.0")
CROSS = {f"{place}.{BLOCK}.attn2.{n}" for place in PLACES for n in ATTENTION}
SELF = {f"{place}.{BLOCK}.attn1.{n}" for place in PLACES for n in ATTENTION}
REST = {
    *("conv_in.weight", "conv_in.bias"),
    *(f"{place}.{n}" for place in PLACES for n in AROUND),
    *(f"down_blocks.0.resnets.0.{n}" for n in RESNET),
    *(f"mid_block.resnets.{i}.{n}" for i in (0, 1) for n in RESNET),
    *(f"up_blocks.0.resnets.{i}.{n}" for i in (0, 1) for n in (*RESNET, *SHORTCUT)),
    *(f"up_blocks.0.attentions.1{n.removeprefix('attentions.0')}" for n in AROUND),
}
SECOND = {n.replace("attentions.0", "attentions.1") for n in CROSS | SELF if n.startswith("up")}
CROSS |= {n for n in SECOND if "attn2" in n}
SELF |= {n for n in SECOND if "attn1" in n}


@pytest.fixture(scope="module")
def names() -> list[str]:
    unet = UNet2DConditionModel(
        sample_size=4,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
        cross_attention_dim=4,
    )
    return [name for name, _ in unet.named_parameters()]


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ("full", REST | CROSS | SELF | TIME | OUT),
        ("xattn", CROSS),
        ("selfattn", SELF),
        ("noxattn", REST | SELF),
        ("notime", REST | SELF | CROSS),
        ("attn", CROSS | SELF),
        ("esd-u", {n for n in REST | SELF | TIME | OUT if "norm" not in n}),
    ],
)
def test_a_scope_of_a_tiny_unet_is_the_listed_one(
    names: list[str], scope: str, wanted: set[str]
) -> None:
    assert set(in_scope(names, scope, UNET_SCOPES)) == wanted


@pytest.mark.parametrize("scope", ["noxattn", "notime"])
def test_the_time_projection_of_each_resnet_stays(names: list[str], scope: str) -> None:
    selected = in_scope(names, scope, UNET_SCOPES)
    assert sum("time_emb_proj.weight" in name for name in selected) == 5
    assert not any(name.startswith("time_embedding") for name in selected)


def test_the_two_layer_scopes_follow_the_full_size_names() -> None:
    names = [
        f"{side}_blocks.{i}.attentions.{j}.transformer_blocks.0.{attention}.to_q.weight"
        for side in ("down", "up")
        for i in (1, 2)
        for j in (0, 1, 2)
        for attention in ("attn1", "attn2")
    ]
    tail = "transformer_blocks.0"
    assert in_scope(names, "xlayer", UNET_SCOPES) == [
        f"up_blocks.2.attentions.{j}.{tail}.attn2.to_q.weight" for j in (0, 2)
    ]
    assert in_scope(names, "selflayer", UNET_SCOPES) == [
        f"down_blocks.{i}.attentions.0.{tail}.attn1.to_q.weight" for i in (1, 2)
    ]


def test_the_layers_of_a_text_encoder_are_all_but_its_tables_and_projection() -> None:
    layer = "text_model.encoder.layers"
    norms = [f"{layer}.0.layer_norm1.weight", "text_model.final_layer_norm.bias"]
    attention, product = f"{layer}.11.self_attn.q_proj.weight", f"{layer}.3.mlp.fc1.bias"
    tables = [f"text_model.embeddings.{n}_embedding.weight" for n in ("token", "position")]
    names = [*tables, *norms, attention, product, "text_projection.weight"]
    assert in_scope(names, "layers", TEXT_SCOPES) == [*norms, attention, product]
    assert in_scope(names, "attn", TEXT_SCOPES) == [attention]
    assert in_scope(names, "mlp", TEXT_SCOPES) == [product]
    assert in_scope(names, "full", TEXT_SCOPES) == names


def test_the_order_of_the_names_is_kept(names: list[str]) -> None:
    assert in_scope(names, "full", UNET_SCOPES) == names
    backwards = in_scope(reversed(names), "xattn", UNET_SCOPES)
    assert backwards == in_scope(names, "xattn", UNET_SCOPES)[::-1]


def test_an_unknown_scope_names_the_nearest_known() -> None:
    with pytest.raises(ConfigError, match="scope 'xatn' is unknown; did you mean 'xattn'"):
        in_scope(["conv_in.weight"], "xatn", UNET_SCOPES)
    with pytest.raises(ConfigError, match="unknown; known are full, xattn, xattn-kv, attn, esd-u"):
        in_scope(["conv_in.weight"], "qqq", UNET_SCOPES)


@pytest.mark.parametrize("scope", sorted(set(UNET_SCOPES) - {"full", "noxattn", "notime", "esd-u"}))
def test_a_scope_that_selects_nothing_is_refused(scope: str) -> None:
    with pytest.raises(ConfigError, match="selects none"):
        in_scope(["conv_in.weight"], scope, UNET_SCOPES)
