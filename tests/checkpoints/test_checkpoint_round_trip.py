"""Folder -> single file -> folder is the identity, and diffusers' own loader agrees by value."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from support.models.tiny_models import assert_same

from erasure.architectures.unet.sd1 import SD1
from erasure.architectures.unet.sd2 import SD2
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.facts.scheduler import noise_schedule_of
from erasure.checkpoints.layout import clip

KINDS = ("sd1", "sd2", "small")


def assert_equal_checkpoints(one: Checkpoint, other: Checkpoint) -> None:
    for component in ("unet", "vae", "text_encoder"):
        assert_same(dict(one.components[component]), dict(other.components[component]))
    assert one.description.configs() == other.description.configs()
    assert one.description.vocabularies["tokenizer"] == other.description.vocabularies["tokenizer"]


def assert_equal_to_pipeline(checkpoint: Checkpoint, pipeline: StableDiffusionPipeline) -> None:
    for component in ("unet", "vae", "text_encoder"):
        state = getattr(pipeline, component).state_dict()
        assert not [name for name, weight in state.items() if weight.is_meta]
        if component == "text_encoder":
            state = clip.with_prefix(state)
        assert_same(dict(checkpoint.components[component]), state)


@pytest.mark.default("small")
@pytest.mark.parametrize("kind", KINDS)
def test_folder_to_file_to_folder_is_the_identity(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders[kind])
    write_single_file(start, tmp_path / "one.safetensors")
    middle = read_checkpoint(tmp_path / "one.safetensors")  # no --config: the header has it all
    write_folder(middle, tmp_path / "back")
    assert middle.architecture is (SD2 if kind == "sd2" else SD1)
    assert_equal_checkpoints(start, middle)
    assert_equal_checkpoints(start, read_checkpoint(tmp_path / "back"))


@pytest.mark.default("small")
@pytest.mark.parametrize("kind", KINDS)
def test_the_loader_of_diffusers_reads_the_same_values_from_the_single_file(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders[kind])
    write_single_file(start, tmp_path / "one.safetensors")
    pipeline = StableDiffusionPipeline.from_single_file(
        str(tmp_path / "one.safetensors"), config=str(folders[kind]), local_files_only=True
    )
    assert_equal_to_pipeline(start, pipeline)


@pytest.mark.default("small")
@pytest.mark.parametrize("kind", KINDS)
def test_the_loader_of_diffusers_reads_the_same_values_from_the_folder(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders[kind])
    write_folder(start, tmp_path / "copy")
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "copy", local_files_only=True)
    assert_equal_to_pipeline(start, pipeline)
    assert pipeline.tokenizer("an image of a church").input_ids
    original = StableDiffusionPipeline.from_pretrained(folders[kind], local_files_only=True)
    assert dict(pipeline.scheduler.config) == dict(original.scheduler.config)


def test_a_file_without_our_header_is_read_with_a_config_folder(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    start = read_checkpoint(folders["sd2"])
    write_single_file(start, tmp_path / "one.safetensors")
    save_file(load_file(tmp_path / "one.safetensors"), tmp_path / "bare.safetensors")
    again = read_checkpoint(tmp_path / "bare.safetensors", config=folders["sd2"])
    assert_equal_checkpoints(start, again)


def test_stored_types_are_kept_and_can_be_changed(sd1: Path, tmp_path: Path) -> None:
    start = read_checkpoint(sd1)
    half = {name: weight.half() for name, weight in start.components["vae"].items()}
    start = replace(start, components={**start.components, "vae": half})
    write_single_file(start, tmp_path / "own.safetensors")
    own = read_checkpoint(tmp_path / "own.safetensors")
    assert_same(dict(own.components["vae"]), half)
    assert own.network["conv_in.weight"].dtype == torch.float32

    write_folder(own, tmp_path / "bf16", dtype=torch.bfloat16)
    changed = read_checkpoint(tmp_path / "bf16")
    for component, weights in changed.components.items():
        wanted = {n: w.bfloat16() for n, w in own.components[component].items()}
        assert_same(dict(weights), wanted)


def test_ema_copy_and_buffers_are_lost_and_what_only_the_original_has_is_kept(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    write_single_file(read_checkpoint(folders["sd2"]), tmp_path / "one.safetensors")
    tensors = load_file(tmp_path / "one.safetensors")
    text = "cond_stage_model.model."
    last = f"{text}transformer.resblocks.2"
    extras = {
        f"{text}text_projection": torch.randn(8, 8),
        f"{text}logit_scale": torch.tensor(4.6),
        **{
            name.replace("resblocks.1", "resblocks.2"): torch.randn_like(weight)
            for name, weight in tensors.items()
            if name.startswith(f"{text}transformer.resblocks.1.")
        },
    }
    assert len(extras) == 14
    assert f"{last}.attn.in_proj_weight" in extras
    levels = noise_schedule_of(read_checkpoint(folders["sd2"]).description.scheduler).alphas_cumprod
    dropped = {
        "model_ema.decay": torch.tensor(0.9999),
        "model_ema.num_updates": torch.tensor(5, dtype=torch.int32),
        "model_ema.diffusion_modelconv_inweight": torch.zeros(3),
        "alphas_cumprod": levels,
    }
    save_file({**tensors, **extras, **dropped}, tmp_path / "full.safetensors")

    again = read_checkpoint(tmp_path / "full.safetensors", config=folders["sd2"])
    assert_same(dict(again.extras), extras)
    write_folder(again, tmp_path / "folder")
    write_single_file(read_checkpoint(tmp_path / "folder"), tmp_path / "again.safetensors")
    assert_same(load_file(tmp_path / "again.safetensors"), {**tensors, **extras})
    pipeline = StableDiffusionPipeline.from_single_file(
        str(tmp_path / "again.safetensors"), config=str(folders["sd2"]), local_files_only=True
    )
    assert pipeline.text_encoder.config.num_hidden_layers == 2


def test_a_file_whose_text_encoder_lacks_its_prefix_is_repaired(sd1: Path, tmp_path: Path) -> None:
    write_single_file(read_checkpoint(sd1), tmp_path / "one.safetensors")
    tensors = load_file(tmp_path / "one.safetensors")
    flat = {name.replace(".text_model.", "."): weight for name, weight in tensors.items()}
    save_file(flat, tmp_path / "flat.safetensors")
    write_single_file(
        read_checkpoint(tmp_path / "flat.safetensors", config=sd1), tmp_path / "two.safetensors"
    )
    assert_same(load_file(tmp_path / "two.safetensors"), tensors)


def test_variants_shards_old_names_and_other_files_of_a_folder(sd1: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "odd"
    shutil.copytree(sd1, folder)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(unet)
    names = sorted(weights)
    halves = {"a.safetensors": names[:50], "b.safetensors": names[50:]}
    for file, some in halves.items():
        save_file({name: weights[name] for name in some}, unet.with_name(file))
    places = {name: file for file, some in halves.items() for name in some}
    unet.with_name(f"{unet.name}.index.json").write_text(json.dumps({"weight_map": places}))
    unet.unlink()

    text = folder / "text_encoder" / "model.safetensors"
    text.rename(text.with_name("model.fp16.safetensors"))

    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = load_file(vae)
    for new_name, old_name in old.items():
        renamed = {n.replace(f".{new_name}.", f".{old_name}."): w for n, w in renamed.items()}
    save_file(renamed, vae)

    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]  # its folder is missing
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "config.json").write_text("{}")
    (folder / "LICENSE.md").write_text("licence")
    (folder / "before.safetensors").write_bytes(unet.with_name("a.safetensors").read_bytes())

    again = read_checkpoint(folder)
    plain = read_checkpoint(sd1)
    for component in ("unet", "vae", "text_encoder"):
        assert_same(dict(again.components[component]), dict(plain.components[component]))
    write_folder(again, tmp_path / "copy")
    written = {
        file.relative_to(tmp_path / "copy").as_posix() for file in (tmp_path / "copy").rglob("*")
    }
    assert {"safety_checker/config.json", "LICENSE.md"} <= written
    assert "before.safetensors" not in written
    copied = json.loads((tmp_path / "copy" / "model_index.json").read_text())
    assert copied["safety_checker"] == index["safety_checker"]
    assert copied["feature_extractor"] == [None, None]
