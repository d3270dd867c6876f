"""Class-conditional DDPM on tiny random models: as diffusers, masked, erased, proved, refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from support.models.tiny_labels import CLASSES, SIDE, write_ddpm, write_index
from support.tiny import CPU, assert_same_bits, outside, random_pictures, seeded

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import (
    build_codec,
    build_network,
    build_text_encoder,
    schedule_of,
)
from erasure.architectures.labels.classes import Classes
from erasure.architectures.labels.label_encoder import LABELS
from erasure.architectures.labels.unet2d import LabelDenoiser
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints import write_single_file
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.batches import PictureBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import CheckpointError, ConfigError
from erasure.masks.mask_file import mask_hash
from erasure.methods import EraseDiff, Esd, GradientAscent, SalUn, Uce
from erasure.moving.component import moving_of
from erasure.seeds import generator_for, initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request

GUIDED = SaliencyConfig(guidance_scale=3.0, batch_size=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_ddpm(tmp_path_factory.mktemp("ddpm") / "model"))


@pytest.fixture(scope="module")
def data(model: Checkpoint) -> ConceptData:
    forget = random_pictures(["sneaker"] * 4, side=SIDE)
    retain = random_pictures(["shirt", "T-shirt"] * 2, seed=1, side=SIDE)
    prompts = PromptLists(["sneaker"], ["shirt"])
    return encode_concept(model, forget, {"sneaker": ["T-shirt"]}, retain, prompts=prompts)


def test_groups_of_weights_measure_alike(model: Checkpoint, data: ConceptData) -> None:
    # Norms of the second group have an input that no weight of the group made.
    whole, parts = (
        find_mask(model, data, density=0.3, config=replace(GUIDED, groups=groups))
        for groups in (1, 3)
    )
    assert mask_hash(parts) == mask_hash(whole)


def test_recomputing_leaves_dropout_off(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "dropping", dropout=0.5)
    moving = moving_of(read_checkpoint(folder), "unet", CPU)
    denoise = LabelDenoiser(moving.network)
    x, t = torch.randn(2, 1, SIDE, SIDE, generator=seeded(1)), torch.tensor([10, 900])
    condition = Condition({LABELS: torch.tensor([0, 3])})
    plain = denoise(x, t, condition)
    moving.recompute()
    assert moving.network.training  # else diffusers keeps all activations
    torch.testing.assert_close(denoise(x, t, condition), plain)


# What it is told


def test_a_class_is_told_by_its_name_or_its_number_and_none_by_the_empty_prompt(
    model: Checkpoint,
) -> None:
    assert model.architecture is ARCHITECTURES["ddpm"]
    condition = build_text_encoder(model)(["sneaker", "3", " Ankle  BOOT", "0", ""])
    assert condition.tensors[LABELS].tolist() == [3, 3, 2, 0, len(CLASSES)]
    assert condition.tensors[LABELS].dtype == torch.int64
    assert condition.to(CPU, torch.bfloat16).tensors[LABELS].dtype == torch.int64


def test_a_model_without_names_is_told_numbers_and_its_last_row_is_no_class(tmp_path: Path) -> None:
    classes = read_checkpoint(write_ddpm(tmp_path / "bare", names=False)).classes
    assert classes == Classes(("0", "1", "2", "3"), 4)


def test_a_table_without_a_row_for_no_class_has_none(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "full", num_class_embeds=len(CLASSES))
    classes = read_checkpoint(folder).classes
    assert classes == Classes(CLASSES, None)
    assert classes is not None
    with pytest.raises(ConfigError, match="no label that stands for no class"):
        classes.label("")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("4", "label '4' is out of range, as this model has 4 classes; give a number from 0 to 3"),
        ("-1", "label '-1' is out of range"),
        ("9" * 4000, "is out of range"),
        ("a photo of a sneaker", "is told a class and reads no text .*give one of T-shirt, shirt"),
    ],
)
def test_what_is_no_class_is_refused_in_a_sentence(
    model: Checkpoint, prompt: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_text_encoder(model)([prompt])


def test_a_name_with_commas_is_known_by_each_of_its_parts() -> None:
    classes = Classes(("tench, Tinca tinca", "goldfish"), None)
    assert [classes.label(text) for text in ("Tinca tinca", "tench", "tench, tinca tinca")] == [
        0
    ] * 3
    assert classes.name("tench") == "tench, Tinca tinca"


def test_a_label_for_a_text_model_and_text_for_a_label_model_are_refused(
    model: Checkpoint,
) -> None:
    denoise = LabelDenoiser(build_network(model))
    x, t = torch.zeros(1, 1, SIDE, SIDE), torch.tensor([5])
    with pytest.raises(ConfigError, match="has tokens and no labels"):
        denoise(x, t, Condition({"tokens": torch.zeros(1, 2, 3)}))
    with pytest.raises(ConfigError, match="has labels and no tokens"):
        _ = Condition({LABELS: torch.tensor([1])}).tokens
    with pytest.raises(ConfigError, match="has no text encoder"):
        build_text_encoder(model).tokenize(["sneaker"])


# Parity with diffusers


def test_the_denoiser_is_the_network_itself_and_hears_its_label(model: Checkpoint) -> None:
    network: Any = UNet2DModel.from_pretrained(model.path / "unet")
    denoise = LabelDenoiser(build_network(model))
    x, t = torch.randn(3, 1, SIDE, SIDE, generator=seeded(1)), torch.tensor([10, 500, 900])
    labels = torch.tensor([0, 3, 4])
    with torch.no_grad():
        ours = denoise(x, t, Condition({LABELS: labels}))
        assert torch.equal(ours, network(x, t, labels).sample)
        other = denoise(x, t, Condition({LABELS: torch.tensor([1, 1, 1])}))
        assert float((ours - other).abs().amax(dim=(1, 2, 3)).min()) > 1e-3
        for n in range(3):
            row = torch.tensor([n])
            alone = denoise(x[row], t[row], Condition({LABELS: labels})[row])
            torch.testing.assert_close(alone, ours[row], rtol=0, atol=1e-5)


def test_a_picture_is_that_of_a_guided_loop_by_hand(model: Checkpoint) -> None:
    painter = Painter(model, DrawingConfig(steps=4, guidance=2.5), CPU)
    (ours,) = painter.draw([Request("sneaker", 7)])
    network: Any = UNet2DModel.from_pretrained(model.path / "unet")
    scheduler: Any = DDIMScheduler.from_pretrained(model.path / "scheduler")
    assert scheduler.config.clip_sample  # a bound on pixels, which the drawing keeps to
    x = initial_noise([7], (1, SIDE, SIDE))
    scheduler.set_timesteps(4)
    with torch.no_grad():
        for t in scheduler.timesteps:
            one, none = (network(x, t, torch.tensor([n])).sample for n in (3, len(CLASSES)))
            fresh = torch.randn(1, SIDE, SIDE, generator=generator_for(7, "fresh noise", int(t)))
            x = scheduler.step(
                none + 2.5 * (one - none),
                t,
                x,
                eta=1.0,  # that of DDPM, as the release draws
                use_clipped_model_output=True,
                variance_noise=fresh[None],
            ).prev_sample
    wanted = ((x[0, 0] * 0.5 + 0.5).clamp(0, 1) * 255).round().numpy()
    apart = np.asarray(ours, dtype=np.float64) - wanted[:, :, None]
    assert np.asarray(ours).shape == (SIDE, SIDE, 3)
    assert np.abs(apart).max() <= 1  # both round to bytes
    assert np.asarray(ours).std() > 5
    (plain,) = painter.draw([Request("sneaker", 7, eta=0.0)])
    assert np.asarray(plain).tolist() != np.asarray(ours).tolist()


def test_pixels_pass_through_the_codec_and_back(model: Checkpoint) -> None:
    codec = build_codec(model)
    grey = torch.rand(2, 1, 4, 4, generator=seeded()) * 2 - 1
    mean, std = codec.encode(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(mean, grey)
    assert not std.any()
    torch.testing.assert_close(codec.decode(mean), grey.expand(-1, 3, -1, -1))


# Masks, erasing and files


def test_the_replacement_of_a_random_label_is_a_label(model: Checkpoint, data: ConceptData) -> None:
    batch = PictureBatches(data, schedule_of(model), 0, CPU).at(0, 4, None, None)  # type: ignore[arg-type]
    assert batch.forget.condition.tensors[LABELS].tolist() == [3] * 4
    assert batch.replacement.tensors[LABELS].tolist() == [0] * 4
    assert batch.retain is not None
    assert set(batch.retain.condition.tensors[LABELS].tolist()) <= {0, 1}


METHODS: dict[str, Any] = {
    "salun": SalUn(steps=2, batch_size=2, learning_rate=1e-3),
    "ascent": GradientAscent(steps=2, batch_size=2, learning_rate=1e-3),
    "esd": Esd(steps=1, batch_size=2, rollout_steps=3, learning_rate=1e-3),
    "erasediff": EraseDiff(steps=1, batch_size=2, learning_rate=1e-3),
}


@pytest.mark.default("salun")
@pytest.mark.parametrize("name", METHODS)
def test_a_class_is_erased_and_the_folder_loads_in_diffusers(
    model: Checkpoint, data: ConceptData, tmp_path: Path, name: str
) -> None:
    mask = find_mask(model, data, "salient", density=0.3, concept="sneaker", config=GUIDED)
    edit = erase(model, data, mask, METHODS[name], concept="sneaker")
    assert 0 < edit.provenance.last.moved <= mask.selected
    base = {name: model.network[name] for name in mask.entries}
    after = {name: edit.network[name] for name in mask.entries}
    assert_same_bits(after, base, outside(mask.entries))
    out = tmp_path / "erased"
    write_folder(model, out, network=edit.network, provenance=edit.provenance)
    assert verify(out).passed
    assert_same_bits(UNet2DModel.from_pretrained(out / "unet").state_dict(), dict(edit.network))
    again = read_checkpoint(out)
    assert again.classes == model.classes
    assert again.provenance is not None
    assert again.provenance.concepts == ("sneaker",)


def test_a_mask_finds_the_row_of_its_class_and_never_that_of_another(
    model: Checkpoint, data: ConceptData
) -> None:
    mask = find_mask(model, data, "salient", density=1.0, scope="full", config=GUIDED)
    assert mask.total == sum(weight.numel() for weight in model.network.values())
    table = "class_embedding.weight"
    few = find_mask(model, data, "salient", density=0.2, scope="labels", config=GUIDED)
    rows = few.entries[table].any(dim=1).nonzero()[:, 0].tolist()
    assert rows == [3, len(CLASSES)]  # the class, and no class through the guidance
    without = find_mask(model, data, "random", density=0.2, scope="nolabels")
    assert table not in without.entries


def test_scopes_and_methods_that_need_text_are_refused_with_what_to_take(
    model: Checkpoint, data: ConceptData
) -> None:
    with pytest.raises(ConfigError, match="no cross-attention, so take full"):
        find_mask(model, data, "random", scope="xattn")
    mask = find_mask(model, data, "all")
    with pytest.raises(ConfigError):
        erase(model, data, mask, Uce())


def test_there_is_no_single_file_of_such_a_model(model: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no layout of a single file.*write_folder"):
        write_single_file(model, tmp_path / "one.safetensors")
    assert not (tmp_path / "one.safetensors").exists()


# Bad input


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"id2label": ["a", "b"]}, "must name the classes 0 to n - 1"),
        ({"id2label": {"0": "a", "2": "b"}}, "must name the classes 0 to n - 1"),
        ({"id2label": {"0": "a\n", "1": "b", "2": "c", "3": "d"}}, "printable text"),
        ({"id2label": {"0": "a", "1": "A", "2": "c", "3": "d"}}, "has a name twice"),
        ({"id2label": {"0": "a", "1": "b"}}, "names 2 classes .* table of 5 labels"),
    ],
)
def test_names_that_fit_no_table_are_refused(
    tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    folder = write_ddpm(tmp_path / "model", names=False)
    write_index(folder, **entries)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_a_network_that_is_told_no_class_is_refused(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "model", names=False, num_class_embeds=None)
    with pytest.raises(CheckpointError, match="told no class and there is nothing to name"):
        read_checkpoint(folder)


def test_a_setting_that_nobody_knows_is_refused(model: Checkpoint) -> None:
    config = {**model.description.components["unet"], "time_embedding_type": "fourier"}
    described = model.description.having(unet=config)
    with pytest.raises(CheckpointError, match="'fourier' in the config of its UNet2DModel"):
        model.architecture.check_configs(described, "this")
