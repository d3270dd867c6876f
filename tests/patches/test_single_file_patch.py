"""Patches in the weights of a single file: any of its parts, under whatever names it has them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.models.tiny_lora import family_model
from torch import Tensor

from erasure.checkpoints import Checkpoint, write_single_file
from erasure.errors import ConfigError, PatchError
from erasure.patches.patch import Patch, make_patch
from erasure.patches.single_file_patch import patch_single_file
from erasure.storage.tensors.tensor_file import read_tensors


def moved(base: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shift = {n: torch.rand(w.shape, generator=generator).round() for n, w in base.items()}
    return {n: w + shift[n].to(w.dtype) for n, w in base.items()}


def written(checkpoint: Checkpoint, path: Path) -> Mapping[str, Tensor]:
    write_single_file(checkpoint, path, force=True)
    return read_tensors(path).tensors


def patches_of(checkpoint: Checkpoint, *components: str) -> tuple[Checkpoint, dict[str, Patch]]:
    """The checkpoint with these components moved, and the patches that lead to it."""
    edited, patches = checkpoint, {}
    for seed, name in enumerate(components):
        change = moved(checkpoint.components[name], seed)
        patches[name] = make_patch(checkpoint.components[name], change, component=name)
        edited = edited.having(name, change)
    return edited, patches


@pytest.mark.parametrize("components", [("unet",), ("text_encoder",), ("unet", "text_encoder")])
def test_the_file_becomes_that_of_the_edited_model(
    components: tuple[str, ...], tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    before = written(tiny_checkpoint, tmp_path / "before.safetensors")
    edited, patches = patches_of(tiny_checkpoint, *components)
    after = written(edited, tmp_path / "after.safetensors")
    done = patch_single_file(before, [(patches, 1.0)])
    assert done.keys() == after.keys()
    assert all(torch.equal(done[name], after[name]) for name in after)
    none = patch_single_file(before, [(patches, 0.0)])
    assert all(torch.equal(none[name], before[name]) for name in before)


def test_buffers_and_copies_beside_the_weights_stay(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    _, patches = patches_of(tiny_checkpoint, "text_encoder")
    file = dict(written(tiny_checkpoint, tmp_path / "before.safetensors"))
    buffer = "cond_stage_model.transformer.text_model.embeddings.position_ids"
    file |= {buffer: torch.arange(77), "model_ema.decay": torch.tensor(0.5)}
    done = patch_single_file(file, [(patches, 1.0)])
    assert done.keys() == file.keys()
    assert all(torch.equal(done[name], file[name]) for name in (buffer, "model_ema.decay"))


@pytest.mark.parametrize("last", [True, False])
def test_a_published_file_of_sd2_holds_more_of_its_text_encoder_than_is_patched(
    tmp_path: Path, last: bool
) -> None:
    # Its last layer and the projection are read by nobody, and diffusers has neither.
    model = family_model("sd2", tmp_path)
    edited, patches = patches_of(model, "text_encoder")
    file = dict(written(model, tmp_path / "before.safetensors"))
    layers = "cond_stage_model.model.transformer.resblocks."
    count = 1 + max(int(name.removeprefix(layers)[0]) for name in file if name.startswith(layers))
    more = {
        name.replace(f"{layers}0.", f"{layers}{count}."): weight + 1
        for name, weight in file.items()
        if last and name.startswith(f"{layers}0.")
    }
    more["cond_stage_model.model.text_projection"] = torch.eye(3)
    done = patch_single_file(file | more, [(patches, 1.0)])
    after = written(edited, tmp_path / "after.safetensors")
    assert done.keys() == {**after, **more}.keys()
    assert all(torch.equal(done[name], weight) for name, weight in {**after, **more}.items())


def test_a_file_without_the_part_or_of_another_model_is_refused(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    _, patches = patches_of(tiny_checkpoint, "unet")
    file = written(tiny_checkpoint, tmp_path / "before.safetensors")
    rest = {name: weight for name, weight in file.items() if not name.startswith("model.")}
    with pytest.raises(PatchError, match="the patch changes the unet, which these weights do not"):
        patch_single_file(rest, [(patches, 1.0)])
    other = {name: weight + 1 for name, weight in file.items()}
    with pytest.raises(PatchError, match="give the model it was made for"):
        patch_single_file(other, [(patches, 1.0)])
    with pytest.raises(ConfigError, match="from -10 to 10"):
        patch_single_file(file, [(patches, float("nan"))])


def test_several_patches_add_up_each_at_its_strength(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = written(tiny_checkpoint, tmp_path / "before.safetensors")
    base = tiny_checkpoint.network
    one, two = moved(base, 1), moved(base, 2)
    wanted = [({"unet": make_patch(base, one)}, 0.5), ({"unet": make_patch(base, two)}, 1.0)]
    done = patch_single_file(file, wanted)
    exact = {
        name: base[name].double()
        + 0.5 * (one[name].double() - base[name])
        + (two[name].double() - base[name])
        for name in base
    }
    expected = tiny_checkpoint.architecture.main_part.to_original(exact)
    for name, weight in expected.items():
        torch.testing.assert_close(
            done[f"model.diffusion_model.{name}"], weight.to(torch.float32), rtol=0, atol=0
        )
