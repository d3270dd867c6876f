"""Masks of the released code, on a tiny diffusers UNet."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from erasure.checkpoints.layout.unet import original_names
from erasure.errors import MaskError
from erasure.masks.mask_file import mask_hash
from erasure.masks.masks import SaliencyMask, salient_mask
from erasure.masks.released_masks import from_released, load_released_mask


@pytest.fixture(scope="module")
def scores() -> dict[str, Tensor]:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
        cross_attention_dim=4,
    )
    return {name: value.detach().abs() for name, value in unet.named_parameters()}


@pytest.fixture(scope="module")
def mask(scores: dict[str, Tensor]) -> SaliencyMask:
    return salient_mask(scores, 0.5)


def released(mask: SaliencyMask, prefix: str = "") -> dict[str, Tensor]:
    """What the released code writes: int64 under CompVis names."""
    names = original_names(mask.entries)
    return {prefix + new: mask.entries[name].long() for name, new in names.items()}


def test_known_names_are_translated(mask: SaliencyMask) -> None:
    values = released(mask)
    ours = from_released(values)
    for old, new in {
        "conv_in.weight": "input_blocks.0.0.weight",
        "time_embedding.linear_2.bias": "time_embed.2.bias",
        "down_blocks.0.resnets.0.time_emb_proj.weight": "input_blocks.1.0.emb_layers.1.weight",
        "mid_block.attentions.0.proj_in.weight": "middle_block.1.proj_in.weight",
        "conv_out.weight": "out.2.weight",
    }.items():
        assert torch.equal(ours.entries[old], values[new].bool())


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.diffusion_model.", "module.model.diffusion_model."]
)
def test_a_released_mask_is_read_without_a_loss(mask: SaliencyMask, prefix: str) -> None:
    ours = from_released(released(mask, prefix), base="ab")
    assert mask_hash(ours) == mask_hash(mask)
    assert list(ours.entries) == list(mask.entries)
    assert (ours.selected, ours.total) == (mask.selected, mask.total)
    assert (ours.info.density, ours.info.base) == (mask.density, "ab")


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_diffusers_names_and_other_number_types_are_read(
    mask: SaliencyMask, dtype: torch.dtype
) -> None:
    values = {f"module.{name}": entry.to(dtype) for name, entry in mask.entries.items()}
    assert mask_hash(from_released(values)) == mask_hash(mask)


def test_a_file_of_the_release_is_read_when_pickles_are_allowed(
    mask: SaliencyMask, tmp_path: Path
) -> None:
    torch.save(released(mask), tmp_path / "with_0.5.pt")
    loaded = load_released_mask(tmp_path / "with_0.5.pt", allow_pickle=True, base="ab")
    assert mask_hash(loaded) == mask_hash(mask)
    assert loaded.info.base == "ab"
    torch.save(released(mask), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = load_released_mask(tmp_path / "old.pt", allow_pickle=True)
    assert mask_hash(old) == mask_hash(mask)


def test_a_pickle_is_refused_unless_allowed(mask: SaliencyMask, tmp_path: Path) -> None:
    torch.save(released(mask), tmp_path / "with_0.5.PT")
    with pytest.raises(MaskError, match=r"is a pickle.*allow_pickle=True.*or save its tensors"):
        load_released_mask(tmp_path / "with_0.5.PT")


class Trap:
    """Opens as a call, were it unpickled without care."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("code of a pickle ran",))


@pytest.mark.parametrize(
    "content", [{"w": Trap()}, [torch.zeros(1)], {"w": 1}, {1: torch.zeros(1)}]
)
def test_a_pickle_of_anything_but_named_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(MaskError, match=r"x\.pt (is damaged|is no dict)"):
        load_released_mask(tmp_path / "x.pt", allow_pickle=True)


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_a_damaged_file_is_refused(
    name: str, keep: int, mask: SaliencyMask, tmp_path: Path
) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(released(mask), path)
    else:
        save_file(released(mask), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MaskError, match="is damaged"):
        load_released_mask(path, allow_pickle=True)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match=r"no mask file .*x\.pt"):
        load_released_mask(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out.2.bias": torch.tensor([0, 1, 2, 0])}, "values other than 0 and 1"),
        ({"out.2.bias": torch.tensor([0.0, 1.0, float("nan"), 0.0])}, "values other than 0 and 1"),
        ({"out.2.bias": torch.tensor([0, -1, 0, 0])}, "values other than 0 and 1"),
        ({"elsewhere.weight": torch.zeros(1)}, "no mask of a Stable Diffusion UNet"),
        ({"module.out.2.bias": torch.zeros(4)}, "differ only in their prefix"),
    ],
)
def test_values_and_names_that_are_no_mask_are_refused(
    mask: SaliencyMask, change: dict[str, Tensor], words: str
) -> None:
    with pytest.raises(MaskError, match=words):
        from_released({**released(mask), **change})


def test_a_mask_of_another_network_or_of_nothing_is_refused(
    mask: SaliencyMask, tmp_path: Path
) -> None:
    save_file({"layer1.0.conv1.weight": torch.ones(3)}, tmp_path / "x.safetensors")
    with pytest.raises(MaskError, match="no mask of a Stable Diffusion UNet"):
        load_released_mask(tmp_path / "x.safetensors")
    with pytest.raises(MaskError, match="selects no weight"):
        from_released({name: torch.zeros_like(v) for name, v in released(mask).items()})
    with pytest.raises(MaskError, match="covers no weights"):
        from_released({})


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.uint16, torch.complex64])
def test_numbers_of_a_type_that_no_mask_has_are_refused(kind: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "mask.safetensors"
    save_file({"conv_in.weight": torch.ones(2).to(kind)}, path)
    with pytest.raises(MaskError, match="is stored as torch"):
        load_released_mask(path)


@pytest.mark.parametrize(
    "odd",
    [torch.eye(3).to_sparse(), torch.ones(1).expand(10**12), torch.ones(2, device="meta")],
    ids=["sparse", "larger than its data", "without data"],
)
def test_a_pickled_mask_of_another_form_is_refused(odd: Tensor, tmp_path: Path) -> None:
    torch.save({"conv_in.weight": odd}, tmp_path / "mask.pt")
    with pytest.raises(MaskError, match="one number after the other"):
        load_released_mask(tmp_path / "mask.pt", allow_pickle=True)


def test_a_file_that_is_no_released_mask_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.ones(2)}, path)
    with pytest.raises(MaskError, match=r"other\.safetensors: this is no mask of a Stable"):
        load_released_mask(path)
