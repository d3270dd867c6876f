"""The strength of a patch: to the bit nothing of it at 0 and all at 1, the line between them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.console import erasure
from support.models.tiny_flow import tiny_sd3
from torch import Tensor, nn

from erasure import apply_patch, load_patch, patch_pipeline, patched_pipeline, read_checkpoint
from erasure.errors import ConfigError, PatchError
from erasure.patches.applying import patched
from erasure.patches.patch import make_patch
from erasure.patches.patch_file import save_patch
from erasure.patches.patch_stack import stack_patches, stacked
from erasure.storage.tensors.hashing import weights_hash

Weights = dict[str, Tensor]


def pair(seed: int, dtype: torch.dtype) -> tuple[Weights, Weights]:
    """A base, and the same with about half of its weights moved."""
    generator = torch.Generator().manual_seed(seed)
    fine = {"generator": generator, "dtype": torch.float64}
    base = {"w": torch.randn(4, 9, **fine), "b": torch.randn(9, **fine)}
    base = {name: value.to(dtype) for name, value in base.items()}
    edited = {}
    for name, value in base.items():
        free = torch.rand(value.shape, generator=generator) < 0.5
        fresh = torch.randn(value.shape, **fine).to(dtype)
        edited[name] = torch.where(free, fresh, value)
    return base, edited


def bits(weights: Weights) -> list[bytes]:
    return [weights[name].contiguous().view(torch.uint8).numpy().tobytes() for name in weights]


TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@given(seed=st.integers(0, 20), dtype=st.sampled_from(TYPES), strength=st.floats(-3, 3))
def test_a_weight_lies_on_the_line_through_base_and_edit(
    seed: int, dtype: torch.dtype, strength: float
) -> None:
    base, edited = pair(seed, dtype)
    blend = patched(base, make_patch(base, edited), strength=strength)
    for name, before in base.items():
        exact = before.double() + strength * (edited[name].double() - before.double())
        expected = torch.where(before == edited[name], before, exact.to(dtype))
        assert torch.equal(blend[name], expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_strength_0_is_the_base_and_1_is_the_edit_to_the_bit(dtype: torch.dtype) -> None:
    base, edited = pair(1, dtype)
    base["b"][0], edited["b"][0] = 0.0, -0.0  # base + 1 * (edited - base) would lose the sign
    base["b"][1], edited["b"][1] = 1e4, 1e-4  # and here all the digits of the small one
    patch = make_patch(base, edited)
    assert bits(patched(base, patch, strength=0)) == bits(base)
    assert bits(patched(base, patch, strength=1)) == bits(edited)


def test_a_wider_copy_gets_the_values_of_the_type_the_patch_was_made_in() -> None:
    base, edited = pair(2, torch.float16)
    patch = make_patch(base, edited)
    wide = {name: value.float() for name, value in base.items()}
    apply_patch(wide, patch, strength=0.3)
    narrow = patched(base, patch, strength=0.3)
    assert all(torch.equal(wide[name], narrow[name].float()) for name in base)


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf"), 10.5, -11, True])
def test_a_strength_that_is_no_usable_number_is_refused(strength: float) -> None:
    base, edited = pair(3, torch.float32)
    before = bits(base)
    for use in (apply_patch, patched):
        with pytest.raises(ConfigError, match="from -10 to 10"):
            use(base, make_patch(base, edited), strength=strength)
    assert bits(base) == before


def test_a_strength_that_leaves_the_numbers_of_the_type_changes_nothing() -> None:
    base = {"a": torch.zeros(3).half(), "b": torch.zeros(3).half()}
    edited = {"a": torch.ones(3).half(), "b": torch.full((3,), 3e4).half()}
    patch = make_patch(base, edited)
    with pytest.raises(PatchError, match="at strength 5 b would hold values that are not finite"):
        apply_patch(base, patch, strength=5)
    assert not base["a"].any()


def test_patches_that_together_leave_the_numbers_of_the_type_are_refused() -> None:
    base = {"a": torch.zeros(3).half()}
    # Their sum is no half any more.
    patches = [make_patch(base, {"a": torch.full((3,), to).half()}) for to in (4e4, 3.2e4)]
    for together in (
        lambda: stack_patches(base, patches),
        lambda: stacked(base, patches, [1.0, 0.9]),
    ):
        with pytest.raises(PatchError, match="values of a that are not finite in torch"):
            together()
    assert stacked(base, patches, [1.0, 0.5])["a"].tolist() == [5.6e4] * 3


@pytest.mark.parametrize("strengths", [[1.0, 1.0, 1.0], [0.5, -1.0, 2.0]])
def test_a_stack_on_a_wider_copy_gives_the_values_of_the_type_it_was_made_in(
    strengths: list[float],
) -> None:
    base, _ = pair(4, torch.float16)
    edits = [pair(seed, torch.float16)[1] for seed in (5, 6, 7)]
    patches = [make_patch(base, edited) for edited in edits]
    wide = {name: value.float() for name, value in base.items()}
    narrow = stacked(base, patches, strengths)
    widened = {name: value.float() for name, value in narrow.items()}
    assert bits(stacked(wide, patches, strengths)) == bits(widened)


def test_patches_of_two_types_stack_on_the_wider_base() -> None:
    base = {"w": torch.tensor([1.0, 1.0, 1.0])}
    fine = make_patch(base, {"w": torch.tensor([1.0, 1.25, 1.1])})
    halves = {"w": base["w"].half()}
    coarse = make_patch(halves, {"w": torch.tensor([2.0, 3.0, 1.0]).half()})
    # Alone: 2 and 1.1 as they are; together: 1 + (1.25 - 1) + (3 - 1).
    assert torch.equal(stacked(base, [fine, coarse], [1, 1])["w"], torch.tensor([2.0, 3.25, 1.1]))


def test_another_base_is_refused_at_every_strength() -> None:
    base, edited = pair(4, torch.float32)
    other, _ = pair(5, torch.float32)
    for strength in (0, 0.5, 1):
        with pytest.raises(PatchError, match="give the model it was made for"):
            patched(other, make_patch(base, edited), strength=strength)


class Network(nn.Module):
    """As a pipeline's: named weights of the type they were stored in."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name, nn.Parameter(value.clone()))


@pytest.fixture
def pipeline_and_patch(tmp_path: Path) -> tuple[SimpleNamespace, Path, Weights, Weights]:
    base, edited = pair(6, torch.float32)
    path = tmp_path / "church.patch"
    save_patch(path, make_patch(base, edited))
    return SimpleNamespace(unet=Network(base)), path, base, edited


def state(pipeline: SimpleNamespace) -> Weights:
    return dict(pipeline.unet.state_dict())


def test_a_pipeline_is_patched_in_place(
    pipeline_and_patch: tuple[SimpleNamespace, Path, Weights, Weights],
) -> None:
    pipeline, path, _, edited = pipeline_and_patch
    places = [value.data_ptr() for value in state(pipeline).values()]
    patch_pipeline(pipeline, str(path))
    assert bits(state(pipeline)) == bits(edited)
    assert [value.data_ptr() for value in state(pipeline).values()] == places


def test_a_transformer_of_a_pipeline_is_patched_for_a_block_and_a_unet_is_not_asked_for(
    tmp_path: Path,
) -> None:
    network = tiny_sd3()
    base = {name: value.clone() for name, value in network.state_dict().items()}
    edited = {n: w if n == "pos_embed.pos_embed" else w + 0.5 for n, w in base.items()}
    path = tmp_path / "church.patch"
    save_patch(path, make_patch(base, edited, component="transformer"))
    with patched_pipeline(SimpleNamespace(transformer=network), path):
        assert bits(network.state_dict()) == bits(edited)
    assert bits(network.state_dict()) == bits(base)
    with pytest.raises(PatchError, match="the patch changes the transformer, and SimpleNamespace"):
        patch_pipeline(SimpleNamespace(unet=network), path)


@pytest.mark.parametrize("strength", [0.0, 0.37, 1.0, -2.0])
def test_after_the_block_the_base_is_there_to_the_bit(
    strength: float, pipeline_and_patch: tuple[SimpleNamespace, Path, Weights, Weights]
) -> None:
    pipeline, path, base, edited = pipeline_and_patch
    with patched_pipeline(pipeline, path, strength):
        assert bits(state(pipeline)) == bits(
            patched(base, make_patch(base, edited), strength=strength)
        )
    assert bits(state(pipeline)) == bits(base)


def test_an_error_in_the_block_and_a_replaced_parameter_do_not_keep_the_base_away(
    pipeline_and_patch: tuple[SimpleNamespace, Path, Weights, Weights],
) -> None:
    pipeline, path, base, _ = pipeline_and_patch

    def go_wrong() -> None:
        with patched_pipeline(pipeline, path):
            for parameter in pipeline.unet.parameters():  # as a move to another device does
                parameter.data = parameter.data.clone()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        go_wrong()
    assert bits(state(pipeline)) == bits(base)


def take_away(pipeline: SimpleNamespace) -> None:
    del pipeline.unet


def offload(pipeline: SimpleNamespace) -> None:
    pipeline.unet.to("meta")


def change(pipeline: SimpleNamespace) -> None:
    with torch.no_grad():
        pipeline.unet.b += 1


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (take_away, "SimpleNamespace has none"),
        (offload, "before offloading is enabled"),
        (change, "give the model it was made for"),
    ],
)
def test_a_pipeline_that_cannot_take_the_patch_is_refused(
    spoil: Callable[[SimpleNamespace], None],
    wanted: str,
    pipeline_and_patch: tuple[SimpleNamespace, Path, Weights, Weights],
) -> None:
    pipeline, path, _, _ = pipeline_and_patch
    spoil(pipeline)
    with pytest.raises(PatchError, match=wanted):
        patch_pipeline(pipeline, path)
    with pytest.raises(PatchError, match=wanted), patched_pipeline(pipeline, path):
        pytest.fail("the block must not begin")


def test_the_command_line_writes_a_part_of_an_edit_and_says_so(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    patch = tmp_path / "church.patch"
    assert not erasure(
        "export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch
    ).code
    half = tmp_path / "half"
    said = erasure("patch", "apply", tiny_folder, patch, "--strength", 0.5, "--out", half)
    assert said.code == 0, said.err
    assert "strength  0.5" in said.out
    assert "the patch names the weights of its whole edit alone" in said.err
    expected = patched(read_checkpoint(tiny_folder).network, load_patch(patch), strength=0.5)
    assert read_checkpoint(half).network_hash() == weights_hash(expected)
    (edit,) = json.loads((half / "erasure.json").read_text())["edits"]
    assert (edit["strength"], edit["result_hash"]) == (0.5, weights_hash(expected))
    assert "| strength | 0.5:" in (half / "README.md").read_text()
    verified = erasure("verify", half)
    assert verified.code == 0, verified.err
    assert "at strength 0.5" in verified.out
    refused(("patch", "remove", half, patch, "--out", tmp_path / "back"), "needs weights")
    wrong = ("patch", "apply", tiny_folder, patch, "--strength", "nan", "--out", tmp_path / "nan")
    refused(wrong, "strength is nan", "from -10 to 10")


def test_of_strength_0_nothing_is_recorded(
    tiny_folder: Path, tiny_run: Path, tmp_path: Path
) -> None:
    patch, none = tmp_path / "church.patch", tmp_path / "none"
    assert not erasure(
        "export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch
    ).code
    said = erasure("patch", "apply", tiny_folder, patch, "--strength", 0, "--out", none)
    assert said.code == 0, said.err
    assert "erased    nothing" in said.out
    assert read_checkpoint(none).network_hash() == read_checkpoint(tiny_folder).network_hash()
    assert read_checkpoint(none).edits == ()
