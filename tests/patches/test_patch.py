"""The reversible patch: exact both ways, refuses another base, stacks by the stated rule."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.console import erasure
from support.refusals import assert_told
from torch import Tensor

from erasure.errors import PatchError
from erasure.patches.applying import apply_patch, patched, remove_patch, unpatched
from erasure.patches.patch import Patch, make_patch
from erasure.patches.patch_file import load_patch, save_patch
from erasure.patches.patch_stack import overlap, stack_patches
from erasure.storage.tensors.hashing import rounded_hash

Weights = dict[str, Tensor]


def weights(seed: int, dtype: torch.dtype = torch.float32) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "norm.weight": (7,)}
    return {k: torch.randn(s, generator=generator).to(dtype) for k, s in shapes.items()}


def moved(base: Weights, share: float, seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, value in base.items():
        free = torch.rand(value.shape, generator=generator) < share
        out[name] = torch.where(free, torch.randn(value.shape, generator=generator), value)
        out[name] = out[name].to(value.dtype)
    return out


def same_bits(one: Weights, other: Weights) -> bool:
    def raw(value: Tensor) -> Tensor:
        return value.contiguous().view(torch.uint8)

    return set(one) == set(other) and all(torch.equal(raw(one[k]), raw(other[k])) for k in one)


@given(
    share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    seed=st.integers(0, 20),
)
def test_applying_gives_the_edit_and_removing_gives_the_base_to_the_bit(
    share: float, dtype: torch.dtype, seed: int
) -> None:
    base = weights(seed, dtype)
    edited = moved(base, share, seed + 1)
    patch = make_patch(base, edited)
    assert same_bits(patched(base, patch), edited)
    assert same_bits(unpatched(edited, patch), base)
    assert patch.moved == sum(int((base[k] != edited[k]).sum()) for k in base)


def test_the_sign_of_a_zero_is_kept() -> None:
    base, edited = {"w": torch.tensor([0.0, 1.0])}, {"w": torch.tensor([-0.0, 1.0])}
    patch = make_patch(base, edited)
    assert torch.signbit(patched(base, patch)["w"]).tolist() == [True, False]


def test_a_few_weights_are_listed_and_many_are_packed() -> None:
    base = {"few": torch.zeros(320), "many": torch.zeros(320)}
    edited = {"few": base["few"].clone(), "many": torch.ones(320)}
    edited["few"][7] = 1
    entries = make_patch(base, edited).entries
    assert entries["few"].where.tolist() == [7]
    assert entries["many"].where.dtype == torch.uint8
    assert entries["many"].where.numel() == 40


def test_it_applies_in_place_to_a_wider_and_to_a_channels_last_copy() -> None:
    base = weights(0, torch.float16)
    edited = moved(base, 0.5, 1)
    patch = make_patch(base, edited)
    wide = {k: v.float() for k, v in base.items()}
    wide["conv.weight"] = wide["conv.weight"].contiguous(memory_format=torch.channels_last)
    where = {k: v.data_ptr() for k, v in wide.items()}
    apply_patch(wide, patch)
    assert same_bits({k: v.half() for k, v in wide.items()}, edited)
    assert {k: v.data_ptr() for k, v in wide.items()} == where
    remove_patch(wide, patch)
    assert same_bits({k: v.half() for k, v in wide.items()}, base)


def test_it_applies_to_a_module_in_one_line() -> None:
    layer = torch.nn.Linear(5, 3)
    base = {k: v.clone() for k, v in layer.state_dict().items()}
    edited = moved(base, 0.5, 1)
    apply_patch(layer.state_dict(), make_patch(base, edited))
    assert same_bits(dict(layer.state_dict()), edited)


def test_another_base_is_refused_and_left_as_it_was() -> None:
    base = weights(0)
    patch = make_patch(base, moved(base, 0.5, 1))
    other = weights(3)
    copies = {k: v.clone() for k, v in other.items()}
    with pytest.raises(PatchError, match="give the model it was made for"):
        apply_patch(other, patch)
    assert same_bits(other, copies)
    with pytest.raises(PatchError, match="there is nothing to take out"):
        remove_patch(base, patch)
    with pytest.raises(PatchError, match="applied already"):
        apply_patch(patched(base, patch), patch)


def test_a_narrower_type_and_other_shapes_are_refused() -> None:
    base = weights(0)
    patch = make_patch(base, moved(base, 0.5, 1))
    with pytest.raises(PatchError, match="load the model in the type"):
        apply_patch({k: v.half() for k, v in base.items()}, patch)
    with pytest.raises(PatchError, match="not there"):
        apply_patch({}, patch)
    with pytest.raises(PatchError, match="one architecture and type"):
        make_patch(base, {k: v.half() for k, v in base.items()})


def test_a_file_keeps_all_of_it_and_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    base = weights(0, torch.bfloat16)
    patch = make_patch(base, moved(base, 0.3, 1), concepts=("church",), provenance={"a": 1})
    path = tmp_path / "church.patch"
    save_patch(path, patch)
    loaded = load_patch(path)
    assert loaded.info == patch.info
    assert same_bits(patched(base, loaded), patched(base, patch))
    again = tmp_path / "again.patch"
    save_patch(again, loaded)
    assert again.read_bytes() == path.read_bytes()
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(PatchError, match="damaged"):
        load_patch(path)


def test_stacked_patches_act_alone_where_alone_and_add_up_where_both_move() -> None:
    base = {"w": torch.tensor([1.0, 1.0, 1.0, 1.0])}
    one = make_patch(base, {"w": torch.tensor([3.0, 1.0, 0.1, 1.0])}, concepts=("church",))
    two = make_patch(base, {"w": torch.tensor([1.5, 4.0, 1.0, 1.0])}, concepts=("dog",))
    both = stack_patches(base, [one, two])
    # Alone: 4.0 and 0.1 as they are; together: 1 + (3 - 1) + (1.5 - 1).
    assert torch.equal(patched(base, both)["w"], torch.tensor([3.5, 4.0, 0.1, 1.0]))
    assert both.info.concepts == ("church", "dog")
    assert overlap([one, two]) == 1


@given(seed=st.integers(0, 20))
def test_the_order_of_a_stack_does_not_matter(seed: int) -> None:
    base = weights(seed, torch.float16)
    patches = [make_patch(base, moved(base, 0.6, seed + n)) for n in (1, 2, 3)]
    there = patched(base, stack_patches(base, patches))
    assert same_bits(there, patched(base, stack_patches(base, patches[::-1])))


def test_stacking_refuses_none_and_a_stranger() -> None:
    base, other = weights(0), weights(1)
    with pytest.raises(PatchError, match="at least one"):
        stack_patches(base, [])
    with pytest.raises(PatchError, match="made for"):
        stack_patches(base, [make_patch(other, moved(other, 0.5, 2))])


def test_the_command_line_goes_there_and_back(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    patch = tmp_path / "church.patch"
    said = erasure("export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch)
    assert said.code == 0, said.err
    there, back = tmp_path / "there", tmp_path / "back"
    assert erasure("patch", "apply", tiny_folder, patch, "--out", there).code == 0
    assert erasure("verify", there).code == 0
    assert erasure("patch", "remove", there, patch, "--out", back).code == 0
    weights_file = "unet/diffusion_pytorch_model.safetensors"
    assert (there / weights_file).read_bytes() == (tiny_run / "model" / weights_file).read_bytes()
    assert json.loads((back / "erasure.json").read_text())["edits"] == []
    assert not (back / "README.md").exists()
    said = erasure("patch", "apply", there, patch, "--out", tmp_path / "twice")
    assert said.code == 2
    assert "applied already" in said.err
    assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--to", "patch"], "--base"),
        (["--to", "patch", "--base", "demo", "--dtype", "fp16"], "own type"),
        (["--to", "diffusers", "--base", "demo"], "leave --base out"),
    ],
)
def test_export_of_a_patch_says_what_it_needs(
    options: list[str], wanted: str, tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure("export", tiny_folder, *options, "--out", tmp_path / "x")
    assert said.code == 2
    assert wanted in said.err


def test_a_file_of_the_first_format_is_held_against_the_hashes_of_its_time(tmp_path: Path) -> None:
    # Only where float32 does not hold a value do the two kinds of hash differ.
    base = {name: value / 3 for name, value in weights(0, torch.float64).items()}
    edited = moved(base, 0.5, 1)
    patch = make_patch(base, edited)
    hashes = {"base": rounded_hash(base), "result": rounded_hash(edited)}
    assert hashes["base"] != patch.info.base
    save_patch(
        tmp_path / "old.patch", Patch(patch.entries, replace(patch.info, **hashes, rounded=True))
    )
    old = load_patch(tmp_path / "old.patch")
    assert old.info.rounded
    assert same_bits(patched(base, old), edited)
    save_patch(tmp_path / "new.patch", patch)
    assert not load_patch(tmp_path / "new.patch").info.rounded


def lying(patch: Patch, **changes: str) -> Patch:
    """The same header over other content: no weight moves, or another base or result is named."""
    info = replace(patch.info, **changes)
    return Patch({} if not changes else patch.entries, info)


def test_a_patch_that_does_not_lead_to_its_result_is_refused_and_nothing_changes() -> None:
    base = weights(0)
    edited = moved(base, 0.5, 1)
    patch = make_patch(base, edited)
    copies = {name: value.clone() for name, value in base.items()}
    for wrong in (lying(patch), lying(patch, result="ab" * 32)):
        for use in (patched, apply_patch):
            with pytest.raises(PatchError, match="not what it says"):
                use(base, wrong)
        with pytest.raises(PatchError, match="not what it says"):
            stack_patches(base, [patch, wrong])
        assert same_bits(base, copies)
    with pytest.raises(PatchError, match="not what it says"):
        unpatched(edited, lying(patch))
    with pytest.raises(PatchError, match="not what it says"):
        remove_patch(edited, lying(patch, base="ab" * 32))


def test_a_stack_refuses_a_patch_of_weights_that_the_base_has_not() -> None:
    base = weights(0)
    patch = make_patch(base, moved(base, 0.5, 1))
    more = Patch({**patch.entries, "other.weight": patch.entries["conv.bias"]}, patch.info)
    with pytest.raises(PatchError, match="not there"):
        stack_patches(base, [more])


def test_the_command_line_writes_nothing_of_a_patch_that_lies(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    patch = tmp_path / "church.patch"
    said = erasure("export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch)
    assert said.code == 0, said.err
    empty = tmp_path / "empty.patch"
    save_patch(empty, lying(load_patch(patch)))
    out = ("--out", tmp_path / "out")
    refused(("patch", "apply", tiny_folder, empty, *out), "not what it says")
    refused(("patch", "remove", tiny_run, empty, *out), "not what it says")
    refused(("patch", "stack", tiny_folder, patch, empty, *out), "not what it says")


def test_a_patch_is_stacked_with_others_alone(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    patch, again = tmp_path / "church.patch", tmp_path / "again.patch"
    line = ("export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch)
    assert erasure(*line).code == 0
    again.write_bytes(patch.read_bytes())
    stack, out = ("patch", "stack", tiny_folder, patch), ("--out", tmp_path / "both.patch")
    assert_told(erasure(*stack, *out), 2, "there is one patch", "two or more are stacked")
    assert_told(erasure(*stack, again, *out), 2, "are one edit, which would be put in twice")
    assert not (tmp_path / "both.patch").exists()
