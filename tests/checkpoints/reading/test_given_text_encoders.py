"""A main component in a file, its text encoders in others, as ComfyUI's split sets have them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models.tiny_chat import write_flux2, write_z_image
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_models import SD2_LIKE, write_pipeline
from support.models.tiny_sdxl import write_sdxl

from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.facts.given_text import GivenText
from erasure.errors import CheckpointError
from erasure.storage.tensors.hashing import weights_hash
from erasure.storage.tensors.tensor_file import read_tensors

WRITERS: dict[str, Callable[[Path], Path]] = {
    "sd2": lambda folder: write_pipeline(folder, SD2_LIKE),
    "sdxl": write_sdxl,
    "sd3": write_sd3,
    "flux": write_flux,
    "flux2": write_flux2,
    "z_image": write_z_image,
}


def written(key: str, tmp_path: Path) -> Path:
    return WRITERS[key](tmp_path / key)


def hashes(checkpoint: Checkpoint) -> dict[str, str]:
    return {name: weights_hash(weights) for name, weights in checkpoint.components.items()}


def configs_of(folder: Path, to: Path) -> Path:
    """The folder without any weights: configs and tokenizers alone."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
    return to


def main_alone(folder: Path, file: Path) -> Path:
    """The main component under its original names, without a prefix."""
    checkpoint = read_checkpoint(folder)
    part = checkpoint.architecture.main_part
    save_file(part.to_original(checkpoint.network), file)
    return file


def text_files(folder: Path, to: Path) -> list[Path]:
    """Each text encoder in a file, as transformers names its weights, in the reverse order."""
    to.mkdir()
    there = sorted(folder.glob("text_encoder*/*.safetensors"), reverse=True)
    return [Path(shutil.copy(one, to / f"words-{n}.safetensors")) for n, one in enumerate(there)]


@pytest.mark.parametrize("key", list(WRITERS))
def test_a_split_set_is_the_whole_model(key: str, tmp_path: Path) -> None:
    folder = written(key, tmp_path)
    configs = configs_of(folder, tmp_path / "configs")
    main = main_alone(folder, tmp_path / "main.safetensors")
    files = text_files(folder, tmp_path / "texts")
    vae = folder / "vae" / "diffusion_pytorch_model.safetensors"
    completed = read_checkpoint(main, config=configs, vae=vae, text_encoders=files)
    whole = read_checkpoint(folder)
    assert hashes(completed) == hashes(whole)
    parts = [part for part in whole.architecture.parts if part.is_text]
    said = [note for note in completed.notes if "text" in note and "is used" in note]
    assert len(said) == len(parts) == len(files)
    write_folder(completed, tmp_path / "out")
    assert hashes(read_checkpoint(tmp_path / "out")) == hashes(whole)


@pytest.mark.parametrize("key", ["sd2", "sdxl"])
def test_the_names_of_single_files_are_read_too(key: str, tmp_path: Path) -> None:
    folder = written(key, tmp_path)
    whole = read_checkpoint(folder)
    main = main_alone(folder, tmp_path / "main.safetensors")
    files = []
    for part in whole.architecture.parts:
        if part.is_text:
            files.append(tmp_path / f"{part.component}.safetensors")
            named = part.to_original(whole.components[part.component])
            save_file({name: weight.contiguous() for name, weight in named.items()}, files[-1])
    configs = configs_of(folder, tmp_path / "configs")
    read = read_checkpoint(main, config=configs, vae=folder, text_encoders=files)
    assert hashes(read) == hashes(whole)


def test_files_as_comfyui_has_them(tmp_path: Path) -> None:
    folder = written("flux", tmp_path)
    main = main_alone(folder, tmp_path / "main.safetensors")
    clip, t5 = (
        {name: weight.half() for name, weight in read_checkpoint(folder).components[part].items()}
        for part in ("text_encoder", "text_encoder_2")
    )
    beside = {"logit_scale": torch.tensor(4.6), "text_projection.weight": torch.eye(8)}
    places = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    save_file({**clip, **beside, **places}, tmp_path / "clip_l.safetensors")
    small = {name: weight.to(torch.float8_e4m3fn) for name, weight in t5.items()}
    twin = {"encoder.embed_tokens.weight": small["shared.weight"].clone()}
    save_file({**small, **twin}, tmp_path / "t5xxl_fp8_e4m3fn.safetensors")
    files = [tmp_path / "t5xxl_fp8_e4m3fn.safetensors", tmp_path / "clip_l.safetensors"]
    read = read_checkpoint(main, config=folder, text_encoders=files)
    assert weights_hash(read.components["text_encoder"]) == weights_hash(clip)
    widened = {name: weight.half() for name, weight in small.items()}
    assert weights_hash(read.components["text_encoder_2"]) == weights_hash(widened)
    assert not any("no place for" in note for note in read.notes)
    file = write_single_file(read, tmp_path / "out.safetensors").path
    assert load_file(file).keys() == load_file(main).keys()  # nothing beside what it lacks
    whole = hashes(read_checkpoint(folder))
    assert hashes(read_checkpoint(file, config=folder)) == whole


def test_the_first_text_encoder_of_sd3_has_no_projection(tmp_path: Path) -> None:
    folder = written("sd3", tmp_path)
    whole = read_checkpoint(folder)
    name = "text_projection.weight"
    clip = {n: w for n, w in whole.components["text_encoder"].items() if n != name}
    save_file(clip, tmp_path / "clip_l.safetensors")
    main = main_alone(folder, tmp_path / "main.safetensors")
    read = read_checkpoint(main, config=folder, text_encoders=[tmp_path / "clip_l.safetensors"])
    everything = whole.architecture.to_original({**whole.components, "text_encoder": clip})
    save_file({n: w.contiguous() for n, w in everything.items()}, tmp_path / "all.safetensors")
    for one in (read, read_checkpoint(tmp_path / "all.safetensors", config=folder)):
        words = one.components["text_encoder"]
        assert torch.equal(words[name], torch.eye(8))
        assert weights_hash({n: w for n, w in words.items() if n != name}) == weights_hash(clip)
    without = {n: w for n, w in whole.components["text_encoder_2"].items() if n != name}
    save_file(without, tmp_path / "clip_g.safetensors")
    with pytest.raises(CheckpointError, match=r"second text encoder, lacks 1 of \d+ .*projection"):
        read_checkpoint(main, config=folder, text_encoders=[tmp_path / "clip_g.safetensors"])


def test_notes_for_others_name_no_folder(tmp_path: Path) -> None:
    folder = written("flux", tmp_path)
    main = main_alone(folder, tmp_path / "main.safetensors")
    (clip,) = folder.glob("text_encoder/*.safetensors")
    read = read_checkpoint(main, config=folder, vae=folder / "vae", text_encoders=[clip])
    assert all(any(str(place) in n for n in read.notes) for place in (folder, folder / "vae", clip))
    assert str(tmp_path) not in " ".join(read.public_notes)
    assert "the text encoder of model.safetensors is used" in read.public_notes


def test_a_checkpoint_with_all_text_encoders_can_be_given_for_them(tmp_path: Path) -> None:
    folder = written("sdxl", tmp_path)
    all_in_one = write_single_file(read_checkpoint(folder), tmp_path / "all.safetensors").path
    main = main_alone(folder, tmp_path / "main.safetensors")
    configs = configs_of(folder, tmp_path / "configs")
    read = read_checkpoint(main, config=configs, vae=all_in_one, text_encoders=[all_in_one])
    assert hashes(read) == hashes(read_checkpoint(folder))
    first = {k: v for k, v in load_file(all_in_one).items() if ".embedders.0." in k}
    save_file(first, tmp_path / "first.safetensors")
    named = [f"text_encoder_2={tmp_path / 'first.safetensors'}"]
    with pytest.raises(CheckpointError, match=r"has no text_encoder_2; it holds text_encoder$"):
        read_checkpoint(main, config=folder, text_encoders=named)


def test_a_given_one_comes_before_that_of_the_config_folder(tmp_path: Path) -> None:
    folder = written("flux", tmp_path)
    main = main_alone(folder, tmp_path / "main.safetensors")
    (t5,) = folder.glob("text_encoder_2/*.safetensors")
    other = tmp_path / "t5.safetensors"
    save_file({name: weight + 0.125 for name, weight in load_file(t5).items()}, other)
    read = read_checkpoint(main, config=folder, text_encoders=[other])
    whole = hashes(read_checkpoint(folder))
    assert hashes(read)["text_encoder_2"] != whole["text_encoder_2"]
    assert hashes(read)["text_encoder"] == whole["text_encoder"]


def test_what_a_file_has_beside_is_kept_and_said(tmp_path: Path) -> None:
    folder = written("flux", tmp_path)
    main = main_alone(folder, tmp_path / "main.safetensors")
    (clip,) = folder.glob("text_encoder/*.safetensors")
    file = tmp_path / "clip.safetensors"
    save_file({**load_file(clip), "odd.weight": torch.ones(3, 3)}, file)
    read = read_checkpoint(main, config=folder, text_encoders=[file])
    assert any("odd.weight" in name for name in read.extras)
    assert any("clip.safetensors" in note and "odd.weight" in note for note in read.notes)


def test_equal_sizes_are_told_apart_by_name(tmp_path: Path) -> None:
    folder = written("sd3", tmp_path)
    for n, config in enumerate(sorted(folder.glob("text_encoder*/config.json"))[:2]):
        values = json.loads(config.read_text())
        if n == 0:
            first = values
        (weights,) = config.parent.glob("*.safetensors")
        if n == 1:
            shutil.copy(folder / "text_encoder" / "model.safetensors", weights)
            config.write_text(json.dumps({**first, "hidden_act": values["hidden_act"]}))
    main_config = folder / "transformer" / "config.json"
    values = json.loads(main_config.read_text())
    width = 2 * first["projection_dim"]
    main_config.write_text(json.dumps({**values, "pooled_projection_dim": width}))
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    name = "time_text_embed.text_embedder.linear_1.weight"
    weights[name] = weights[name][:, :width].contiguous()
    save_file(weights, file)
    main = main_alone(folder, tmp_path / "main.safetensors")
    words = folder / "text_encoder" / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"can be text_encoder or text_encoder_2 of .*say w"):
        read_checkpoint(main, config=folder, text_encoders=[words])
    named = [f"text_encoder={words}", f"text_encoder_2={words}"]
    read = read_checkpoint(main, config=folder, text_encoders=named)
    assert hashes(read) == hashes(read_checkpoint(folder))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = written("flux", tmp_path)
    main = main_alone(folder, tmp_path / "main.safetensors")
    clip, t5 = (
        next(folder.glob(f"{name}/*.safetensors")) for name in ("text_encoder", "text_encoder_2")
    )

    def refused(says: str, *texts: str | Path) -> None:
        with pytest.raises(CheckpointError, match=says):
            read_checkpoint(main, config=folder, text_encoders=texts)

    refused(r"there is no text encoder .*nowhere", tmp_path / "nowhere.safetensors")
    refused(r"is a folder; give a \.safetensors file, or .* as config=FOLDER", folder)
    refused(r"are both the text encoder of FLUX", clip, clip)
    refused(r"FLUX.1 dev has no text_encoder_3; it has text_encoder and", f"text_encoder_3={t5}")
    refused(r"read as T5, .* lacks \d+ of \d+ weights", f"text_encoder_2={clip}")
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    refused(r"x\.safetensors holds no text encoder, .* give its text encoder or its T5, the", file)
    for odd, what in (("lora_te1_x.lora_up.weight", "a LoRA"), ("encoder.conv_in.bias", "a VAE")):
        save_file({odd: torch.zeros(4, 4)}, file)
        refused(rf"x\.safetensors holds {what}, and not what FLUX.1 dev reads prompts with", file)
    for blank in ("", "text_encoder_2="):
        refused(rf"the text encoder '{blank}' names no file", blank)
    weights = load_file(t5)
    dropped = dict(list(weights.items())[1:])
    save_file(dropped, file)
    refused(r"x\.safetensors, read as T5, .* lacks 1 of \d+ weights", file)
    name = next(iter(weights))
    save_file({**weights, name: torch.zeros(3, 3)}, file)
    refused(r"read as T5, .* has 1 weight of another shape .*; give the T5, the second", file)
    save_file({**weights, name: weights[name] * torch.inf}, file)
    refused(r"the text_encoder_2 of .*x\.safetensors has NaN or infinite values", file)
    scaled = {name: w.to(torch.float8_e4m3fn) for name, w in weights.items()}
    save_file({**scaled, "scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}, file)
    refused(r"x\.safetensors.*(fp8|quantised)", file)
    file.write_bytes(b"GGUF" + bytes(32))
    refused(r"GGUF", file)


def test_one_that_would_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = written("sdxl", tmp_path)
    words = next(folder.glob("text_encoder/*.safetensors"))
    with pytest.raises(CheckpointError, match=r"is a folder with text encoders of its own"):
        read_checkpoint(folder, text_encoders=[words])
    whole = write_single_file(read_checkpoint(folder), tmp_path / "all.safetensors").path
    with pytest.raises(CheckpointError, match=r"holds its own .*leave text_encoders out, or give"):
        read_checkpoint(whole, config=folder, text_encoders=[words])


def test_a_model_of_classes_has_no_use_for_one(tmp_path: Path) -> None:
    words = next(written("flux", tmp_path).glob("text_encoder/*.safetensors"))
    one = GivenText(words, read_tensors(words))
    with pytest.raises(CheckpointError, match=r"reads no prompts, so .*leave text_encoders out"):
        one.taken(ARCHITECTURES["ddpm"], {})


def test_t5_needs_the_configs_that_tell_of_it(tmp_path: Path) -> None:
    folder = written("sd3", tmp_path)
    t5 = next(folder.glob("text_encoder_3/*.safetensors"))
    main = main_alone(folder, tmp_path / "main.safetensors")
    bare = write_sd3(tmp_path / "without", t5=False)
    with pytest.raises(CheckpointError, match=r"say nothing of T5, .*give config=FOLDER"):
        read_checkpoint(main, config=bare, text_encoders=[t5])
    with pytest.raises(CheckpointError, match=r"holds T5, .* the configs .* say nothing; give"):
        read_checkpoint(main, config=bare, text_encoders=[f"text_encoder_3={t5}"])
