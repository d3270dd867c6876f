"""Thin factors of a difference: exact where it is thin, nearest where it is not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.models.tiny_lora import random_factors, with_factors
from torch import Tensor

from erasure.checkpoints import Checkpoint
from erasure.errors import CheckpointError, ConfigError
from erasure.lora.changes import Thin
from erasure.lora.extracting import Size, as_written, extract, moved_in, shortened
from erasure.lora.merging import Part, with_loras
from erasure.lora.names import Naming
from erasure.lora.reading import read_lora
from erasure.lora.writing import write_lora
from erasure.solving.factors import Factors, balanced


def in_float64(checkpoint: Checkpoint) -> Checkpoint:
    """The same network in float64, whose differences are not rounded away."""
    network = {name: weight.double() for name, weight in checkpoint.network.items()}
    return replace(checkpoint, components={**checkpoint.components, "unet": network})


def test_a_thin_difference_is_extracted_without_loss(tiny_checkpoint: Checkpoint) -> None:
    base = in_float64(tiny_checkpoint)
    factors = random_factors(base.network)
    extraction = extract(base, with_factors(base, factors), Size(rank=3))
    assert extraction.factors["unet"].keys() == factors.keys()
    assert extraction.left_out == ()
    for name, one in extraction.factors["unet"].items():
        # Weights of about 1 and changes of about 1e-2, in float64.
        torch.testing.assert_close(one.change(), factors[name].change(), rtol=0, atol=1e-13)
    assert extraction.error < 1e-12
    assert extraction.errors[extraction.worst] < 1e-11


def test_the_error_of_a_cut_is_that_of_the_best_approximation(tiny_checkpoint: Checkpoint) -> None:
    base = in_float64(tiny_checkpoint)
    name = "conv_in.weight"
    draw = torch.Generator().manual_seed(0)
    change = torch.randn(base.network[name].shape, generator=draw, dtype=torch.float64)
    other = {**base.network, name: base.network[name] + change}
    edited = replace(base, components={**base.components, "unet": other})
    sizes = torch.linalg.svdvals(change.flatten(1))
    for rank in (1, 2, len(sizes)):
        got = extract(base, edited, Size(rank=rank))
        wanted = float((sizes[rank:].square().sum() / sizes.square().sum()).sqrt())
        assert got.errors[name] == pytest.approx(wanted, abs=1e-12) == got.error
        one = got.factors["unet"][name]
        off = (one.change() - change.flatten(1)).norm() / change.norm()
        assert float(off) == pytest.approx(wanted, abs=1e-12)
        assert torch.allclose(one.up.norm(dim=0), one.down.norm(dim=1))
    for energy in (0.5, 0.9, 1.0):
        got = extract(base, edited, Size(energy=energy))
        rank = len(got.factors["unet"][name].down)
        held = sizes.square().cumsum(0) / sizes.square().sum()
        assert held[rank - 1] >= energy - 1e-12
        assert rank == 1 or held[rank - 2] < energy


def test_a_text_encoder_that_moved_is_extracted_too(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    name = "text_model.encoder.layers.1.mlp.fc1.weight"
    text = dict(tiny_checkpoint.components["text_encoder"])
    text[name] = text[name] + torch.outer(torch.ones(len(text[name])), torch.arange(8.0)) / 8
    parts = {**tiny_checkpoint.components, "text_encoder": text}
    edited = replace(tiny_checkpoint, components=parts)
    extraction = extract(tiny_checkpoint, edited, Size(rank=1))
    assert set(extraction.errors) == {f"text_encoder.{name}"}
    path = tmp_path / "text.safetensors"
    write_lora(path, extraction.factors, tiny_checkpoint)
    merged = with_loras(tiny_checkpoint, [Part(path)])
    torch.testing.assert_close(merged.components["text_encoder"][name], text[name])
    assert read_lora(path, tiny_checkpoint).changes.keys() == {"text_encoder"}


def test_equal_models_and_moved_norms_alone_are_refused(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="the two models are equal"):
        extract(tiny_checkpoint, tiny_checkpoint, Size(rank=1))
    name = "conv_norm_out.weight"
    network = {**tiny_checkpoint.network, name: tiny_checkpoint.network[name] + 1}
    edited = replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": network})
    with pytest.raises(CheckpointError, match="only biases and norms, which no LoRA holds"):
        extract(tiny_checkpoint, edited, Size(rank=1))
    network.pop("conv_in.bias")
    with pytest.raises(CheckpointError, match="differs in 1 names, shapes or types, conv_in"):
        extract(tiny_checkpoint, edited, Size(rank=1))


@pytest.mark.parametrize(
    ("rank", "energy", "message"),
    [
        (0, None, "rank is 0; give 1 or more"),
        (None, 0.0, "energy is 0.0; give more than 0, at most 1"),
        (None, 1.5, "energy is 1.5; give more than 0, at most 1"),
        (None, float("nan"), "energy is nan"),
        (4, 0.5, "give one of them"),
        (None, None, "give one of them"),
    ],
)
def test_sizes_are_checked(rank: int | None, energy: float | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Size(rank=rank, energy=energy)


def test_a_rank_above_every_layer_that_moved_is_refused(tiny_checkpoint: Checkpoint) -> None:
    factors = random_factors(tiny_checkpoint.network)
    one = {"conv_in.weight": factors["conv_in.weight"]}
    edited = with_factors(tiny_checkpoint, one)
    with pytest.raises(ConfigError, match="rank is 99, and no layer here has more than the 8"):
        extract(tiny_checkpoint, edited, Size(rank=99))


def thin(seed: int) -> Factors:
    draw = torch.Generator().manual_seed(seed)
    up, down = (torch.randn(s, generator=draw, dtype=torch.float64) for s in ((5, 3), (3, 4)))
    return Factors(1e4 * up, 1e-4 * down)


def test_balanced_factors_have_the_same_product_and_sides_of_one_length() -> None:
    one, other = thin(0), balanced(thin(0))
    torch.testing.assert_close(other.change(), one.change(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(other.up.norm(dim=0), other.down.norm(dim=1))
    nothing = balanced(Factors(torch.zeros(2, 1).double(), torch.ones(1, 2).double()))
    assert torch.equal(nothing.change(), torch.zeros(2, 2).double())


def test_a_product_is_shortened_to_its_best_directions() -> None:
    one = thin(1)
    sizes = torch.linalg.svdvals(one.change())
    cut, error = shortened(one, Size(rank=2))
    off: Tensor = (cut.change() - one.change()).norm()
    assert float(off) == pytest.approx(float(sizes[2]), rel=1e-9)
    assert error == pytest.approx(float(sizes[2] / sizes.norm()), rel=1e-9)


@pytest.mark.parametrize("naming", ["kohya", "diffusers"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_errors_of_a_narrow_file_are_of_what_it_adds(
    dtype: torch.dtype, naming: Naming, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    base = in_float64(tiny_checkpoint)
    edited = with_factors(base, random_factors(base.network))
    extraction = extract(base, edited, Size(rank=3))
    path = tmp_path / "lora.safetensors"
    write_lora(path, extraction.factors, base, naming=naming, alpha=2.7, dtype=dtype)
    real = as_written(extraction, read_lora(path, base), moved_in(base, edited), base)
    merged = with_loras(base, [Part(path)])
    off = whole = 0.0
    for name, weight in edited.network.items():
        change = (weight - base.network[name]).square().sum()
        lost = (merged.network[name] - weight).square().sum()
        if change:
            share = float((lost / change).sqrt())
            assert real.errors[name] == pytest.approx(share, rel=1e-6)
        off, whole = off + float(lost), whole + float(change)
    assert real.error == pytest.approx((off / whole) ** 0.5, rel=1e-6)
    assert extraction.error < 1e-12 < 1e-4 < real.error < 1e-2


@pytest.mark.parametrize("alpha", [2.7, 300.3, None])
def test_a_narrow_alpha_is_the_one_that_the_factors_are_scaled_to(
    alpha: float | None, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    name = "conv_in.weight"
    one = random_factors(tiny_checkpoint.network)[name]
    exact = Factors(torch.ones_like(one.up), torch.ones_like(one.down))  # whole in any type
    path, rank = tmp_path / "lora.safetensors", len(one.down)
    written = write_lora(
        path, {"unet": {name: exact}}, tiny_checkpoint, alpha=alpha, dtype=torch.bfloat16
    )
    change = read_lora(path, tiny_checkpoint).changes["unet"][name]
    assert isinstance(change, Thin)
    up = torch.tensor(rank / written.alpha).bfloat16().double()
    torch.testing.assert_close(
        change.factors.change(), exact.change() * up * written.alpha / rank, rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("alpha", [1e-9, 1e9])
def test_an_alpha_that_a_narrow_type_lacks_is_refused(
    alpha: float, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    factors = {"unet": random_factors(tiny_checkpoint.network)}
    with pytest.raises(CheckpointError, match=r"is (0|inf) as torch.float16; give another"):
        write_lora(
            tmp_path / "l.safetensors", factors, tiny_checkpoint, alpha=alpha, dtype=torch.float16
        )
    assert not list(tmp_path.iterdir())


def test_a_zero_that_changed_its_sign_alone_is_no_change(tiny_checkpoint: Checkpoint) -> None:
    zero, moved = "conv_out.weight", "conv_in.weight"
    before = {**tiny_checkpoint.network, zero: torch.zeros_like(tiny_checkpoint.network[zero])}
    after = {**before, zero: -before[zero], moved: before[moved] + 1}
    base, edited = (
        replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": network})
        for network in (before, after)
    )
    assert set(extract(base, edited, Size(rank=1)).errors) == {moved}


def test_a_change_of_no_direction_is_not_written(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    factors = random_factors(tiny_checkpoint.network)
    one, other = list(factors)[:2]
    nothing = Factors(factors[other].up[:, :0], factors[other].down[:0])
    path = tmp_path / "lora.safetensors"
    write_lora(path, {"unet": {one: factors[one], other: nothing}}, tiny_checkpoint)
    assert read_lora(path, tiny_checkpoint).changes["unet"].keys() == {one}
