"""What flow transformers can be used for, and what is refused with the reason."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from support.models.tiny_chat import write_flux2, write_z_image
from support.models.tiny_flow import write_flux, write_sd3
from support.tiny import assert_same_bits, random_pictures

from erasure import erase, find_mask, read_checkpoint
from erasure.checkpoints import write_single_file
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.errors import CheckpointError, ConfigError
from erasure.methods import METHODS, Esd, SalUn
from erasure.training.step import Step


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd3(tmp_path_factory.mktemp("uses") / "sd3", "sd35_large", t5=False)


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def data(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    prompts = PromptLists(["a church"], ["a dog"])
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain, prompts=prompts)


def test_shards_and_variants_are_read_as_the_whole(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    shutil.rmtree(other / "transformer")
    network = SD3Transformer2DModel.from_pretrained(folder, subfolder="transformer")
    network.half().save_pretrained(other / "transformer", max_shard_size="60KB", variant="fp16")
    assert len(list((other / "transformer").glob("*.safetensors"))) > 1
    half = read_checkpoint(other)
    assert_same_bits(dict(half.network), dict(network.state_dict()))


class Stop(Exception):
    """Ends a run."""


@pytest.mark.slow
def test_a_run_that_was_cut_ends_as_one_that_was_not(
    checkpoint: Checkpoint, data: ConceptData, tmp_path: Path
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.3, scope="text-attn")
    method = SalUn(steps=3, batch_size=2, learning_rate=1e-3)
    whole = erase(checkpoint, data, mask, method)

    def cut(step: Step) -> None:
        if step.index == 2:
            raise Stop

    state = tmp_path / "state.safetensors"
    with pytest.raises(Stop):
        erase(checkpoint, data, mask, method, state=state, on_step=cut)
    again = erase(checkpoint, data, mask, method, state=state)
    assert_same_bits(dict(again.network), dict(whole.network))


@pytest.mark.parametrize("name", ["leco", "sdd", "erasediff"])
def test_other_methods_of_prompts_and_pictures_run(
    checkpoint: Checkpoint, data: ConceptData, name: str
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.3, scope="attn")
    settings: dict[str, Any] = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    if name != "erasediff":
        settings["rollout_steps"] = 3
    edit = erase(checkpoint, data, mask, METHODS[name](**settings))
    assert edit.provenance.last.moved > 0


@pytest.mark.parametrize("name", ["rece", "speed", "mace"])
def test_closed_forms_of_cross_attention_say_what_is_missing(
    checkpoint: Checkpoint, data: ConceptData, name: str
) -> None:
    mask = find_mask(checkpoint, data, "all", scope="text-in")
    with pytest.raises(ConfigError, match=r"has no cross-attention, which is what .* take uce"):
        erase(checkpoint, data, mask, METHODS[name]())


@pytest.mark.parametrize("kind", [Esd, SalUn])
def test_an_adversary_hardens_a_flow_whose_text_is_read_by_clip(
    checkpoint: Checkpoint, data: ConceptData, kind: type[Esd | SalUn]
) -> None:
    mask = find_mask(checkpoint, data, "random", density=0.1, scope="attn")
    settings: dict[str, Any] = {"steps": 1, "batch_size": 1, "learning_rate": 1e-3}
    if kind is Esd:
        settings["rollout_steps"] = 2
    plain, hard = (erase(checkpoint, data, mask, kind(**settings, harden=n)) for n in (0, 1))
    assert hard.provenance.last.moved > 0
    name = next(iter(mask.entries))
    assert not torch.equal(plain.network[name], hard.network[name])


def test_an_adversary_of_words_says_what_t5_lacks(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_flux(tmp_path / "flux"))
    prompts = PromptLists(["a church"], ["a dog"])
    data = encode_concept(checkpoint, None, {"a church": ["a castle"]}, prompts=prompts)
    mask = find_mask(checkpoint, data, "random", density=0.1, scope="attn")
    method = Esd(steps=1, rollout_steps=3, harden=1)
    with pytest.raises(ConfigError, match=r"FLUX.1 dev reads prompts by other .* set harden to 0"):
        erase(checkpoint, data, mask, method)


def test_a_transformer_alone_under_diffusers_names_is_read_with_a_folder(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone.safetensors"
    save_file({name: value.contiguous() for name, value in checkpoint.network.items()}, file)
    again = read_checkpoint(file, config=folder)
    assert again.in_file == {"transformer"}
    assert_same_bits(dict(again.network), dict(checkpoint.network))
    with pytest.raises(CheckpointError, match=r"give .*config=FOLDER"):
        read_checkpoint(file)


def test_a_file_that_held_the_text_encoders_is_written_with_them(
    checkpoint: Checkpoint, folder: Path, tmp_path: Path
) -> None:
    whole = replace(checkpoint, in_file=frozenset(checkpoint.components))
    file = write_single_file(whole, tmp_path / "whole.safetensors").path
    again = read_checkpoint(file)  # configs and vocabularies are in its header
    assert again.in_file == set(checkpoint.components)
    assert again.network_hash() == checkpoint.network_hash()
    for component, weights in checkpoint.components.items():
        assert_same_bits(dict(again.components[component]), dict(weights))
    assert any("has no T5" in note for note in again.notes)


@pytest.mark.parametrize(
    ("writer", "renamed"),
    [
        (write_flux, {"first_stage_model.": "vae."}),
        (
            write_z_image,
            {
                "first_stage_model.": "vae.",
                "text_encoders.qwen3.transformer.": "text_encoders.qwen3_4b.transformer.",
            },
        ),
        (
            write_flux2,
            {
                "first_stage_model.": "vae.",
                "vae.quant_conv.": "vae.encoder.quant_conv.",
                "vae.post_quant_conv.": "vae.decoder.post_quant_conv.",
            },
        ),
    ],
    ids=["flux", "z_image", "flux2"],
)
def test_a_whole_file_is_read_and_written_by_the_names_that_comfyui_has(
    writer: Callable[[Path], Path], renamed: dict[str, str], tmp_path: Path
) -> None:
    model = read_checkpoint(writer(tmp_path / "model"))
    whole = replace(model, in_file=frozenset(model.components))
    file = write_single_file(whole, tmp_path / "whole.safetensors").path
    names = load_file(file)
    for old, new in renamed.items():
        assert any(name.startswith(new) for name in names)
        names = {
            f"{new}{n.removeprefix(old)}" if n.startswith(old) else n: w for n, w in names.items()
        }
        older = {
            f"{old}{n.removeprefix(new)}" if n.startswith(new) else n: w for n, w in names.items()
        }
        for tensors in (names, older):  # the older ones are those that were written before
            save_file(tensors, tmp_path / "again.safetensors")
            again = read_checkpoint(tmp_path / "again.safetensors", config=tmp_path / "model")
            assert again.in_file == set(model.components)
            assert again.hashes() == model.hashes()
            assert not again.extras


def test_a_file_with_a_part_under_strange_names_keeps_the_prefix_of_the_network(
    tmp_path: Path,
) -> None:
    folder = write_flux(tmp_path / "flux")
    model = read_checkpoint(folder)
    mixed = {
        f"model.diffusion_model.{n}": w
        for n, w in model.architecture.main_part.to_original(model.network).items()
    }
    save_file({**mixed, "other_encoder.weight": torch.ones(2)}, tmp_path / "mixed.safetensors")
    again = read_checkpoint(tmp_path / "mixed.safetensors", config=folder)
    written = load_file(write_single_file(again, tmp_path / "written.safetensors").path)
    assert written.keys() == {*mixed, "other_encoder.weight"}


def test_a_quantised_transformer_is_called_one(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    file = other / "transformer" / "diffusion_pytorch_model.safetensors"
    scale = {"transformer_blocks.0.attn.to_q.weight_scale": torch.ones(1)}
    save_file({**load_file(file), **scale}, file)
    with pytest.raises(
        CheckpointError, match=r"a quantised transformer .* quantise what comes out"
    ):
        read_checkpoint(other)
    alone = save_as_comfyui(read_checkpoint(folder), tmp_path / "fp8.safetensors")
    with pytest.raises(CheckpointError, match=r"a quantised transformer \(ComfyUI's scaled 8-bit"):
        read_checkpoint(alone, config=folder)


def save_as_comfyui(checkpoint: Checkpoint, path: Path) -> Path:
    """Write a transformer alone in 8 bits, with the marks that ComfyUI's files have."""
    names = checkpoint.architecture.main_part.to_original(checkpoint.network)
    small = {name: weight.to(torch.float8_e4m3fn) for name, weight in names.items()}
    marks = {"joint_blocks.0.x_block.attn.qkv.scale_weight": torch.ones(1)}
    save_file({**small, **marks}, path)
    return path
