"""Densities by block and kind."""

import pytest
import torch

from erasure.architectures.unet.names import KINDS, block_of, kind_of
from erasure.masks.mask_report import DensityRow, mask_report
from erasure.masks.masks import SaliencyMask

ATTENTION = "attentions.0.transformer_blocks.0"


@pytest.mark.parametrize(
    ("name", "block", "kind"),
    [
        ("conv_in.weight", "in", "in"),
        ("time_embedding.linear_1.weight", "time", "time"),
        ("add_embedding.linear_2.bias", "time", "time"),
        ("down_blocks.0.resnets.1.conv1.weight", "down.0", "resnet"),
        ("down_blocks.0.resnets.1.norm2.bias", "down.0", "norm"),
        ("down_blocks.1.resnets.0.conv_shortcut.weight", "down.1", "resnet"),
        ("down_blocks.1.resnets.0.time_emb_proj.weight", "down.1", "time"),
        ("down_blocks.2.downsamplers.0.conv.weight", "down.2", "resample"),
        (f"mid_block.{ATTENTION}.attn1.to_q.weight", "mid", "attn1"),
        (f"mid_block.{ATTENTION}.attn2.to_out.0.bias", "mid", "attn2"),
        (f"mid_block.{ATTENTION}.norm3.weight", "mid", "norm"),
        (f"up_blocks.10.{ATTENTION}.ff.net.0.proj.weight", "up.10", "ff"),
        ("up_blocks.3.attentions.0.norm.weight", "up.3", "norm"),
        ("up_blocks.3.attentions.0.proj_in.weight", "up.3", "proj"),
        ("up_blocks.0.upsamplers.0.conv.bias", "up.0", "resample"),
        ("conv_norm_out.weight", "out", "norm"),
        ("conv_out.bias", "out", "out"),
        ("controlnet_thing.weight", "other", "other"),
    ],
)
def test_a_name_tells_its_block_and_kind(name: str, block: str, kind: str) -> None:
    assert (block_of(name), kind_of(name)) == (block, kind)
    assert kind in KINDS


def test_rows_come_in_the_order_of_the_signal_and_add_up() -> None:
    names = [
        *(
            "conv_out.weight",
            "up_blocks.0.resnets.0.conv1.weight",
            "mid_block.resnets.0.norm1.bias",
        ),
        *("down_blocks.10.resnets.0.conv1.weight", "down_blocks.2.resnets.0.conv1.weight"),
        *("time_embedding.linear_1.bias", "conv_in.weight", "other.weight"),
    ]
    entries = {
        name: torch.tensor([True] * (i + 1) + [False] * (9 - i)) for i, name in enumerate(names)
    }
    report = mask_report(SaliencyMask(entries))
    assert [row.part for row in report.blocks] == [
        *("in", "time", "down.2", "down.10", "mid", "up.0", "out", "other")
    ]
    assert report.kinds == (
        DensityRow("resnet", 2 + 4 + 5, 30),
        DensityRow("norm", 3, 10),
        DensityRow("time", 6, 10),
        DensityRow("in", 7, 10),
        DensityRow("out", 1, 10),
        DensityRow("other", 8, 10),
    )
    assert report.whole == DensityRow("all", 36, 80)
    for rows in (report.blocks, report.kinds):
        assert (sum(r.selected for r in rows), sum(r.total for r in rows)) == (36, 80)


def test_density_is_the_selected_share() -> None:
    assert DensityRow("in", 1, 4).density == 0.25
    assert DensityRow("in", 0, 0).density == 0.0
