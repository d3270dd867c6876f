"""DiT on a tiny random pipeline: as diffusers, masked, erased, its copies equal, refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_labels import DIT_CONFIG, write_dit, write_index
from support.tiny import CPU, assert_same_bits, outside, random_pictures, seeded

from erasure import erase, find_mask, read_checkpoint, verify, write_folder
from erasure.architectures.building import build_network, build_text_encoder
from erasure.architectures.labels.dit import DitDenoiser, dit_of
from erasure.architectures.labels.label_encoder import LABELS
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import CheckpointError, ConfigError, MaskError
from erasure.masks.mask_file import mask_hash
from erasure.masks.masks import all_mask
from erasure.methods import Esd, GradientAscent, SalUn
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request

SIDE = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_dit(tmp_path_factory.mktemp("dit") / "model"))


@pytest.fixture(scope="module")
def data(model: Checkpoint) -> ConceptData:
    forget = random_pictures(["207"] * 2, side=SIDE)
    retain = random_pictures(["3", "4"], seed=1, side=SIDE)
    prompts = PromptLists(["207"], ["3"])
    return encode_concept(model, forget, {"207": ["307"]}, retain, prompts=prompts)


# Parity with diffusers


def test_a_picture_is_that_of_the_plain_pipeline(model: Checkpoint) -> None:
    assert model.architecture is ARCHITECTURES["dit"]
    pipeline = diffusers_pipeline(model)
    painter = Painter(model, DrawingConfig(steps=3, guidance=3.0), CPU)
    for request in (Request("207", 3), Request("5", 4, 1.0)):
        plain = pipeline(
            class_labels=[int(str(request.prompt))],
            guidance_scale=3.0 if request.guidance is None else request.guidance,
            generator=seeded(request.seed),
            num_inference_steps=3,
        ).images[0]
        (ours,) = painter.draw([request])
        apart = np.asarray(ours, dtype=np.int16) - np.asarray(plain, dtype=np.int16)
        assert np.abs(apart).max() <= 1  # both round to bytes
        assert np.asarray(ours).std() > 5  # there is something to see


def test_no_label_is_lost_in_training_and_labels_are_heard(model: Checkpoint) -> None:
    network = build_network(model)
    denoise = DitDenoiser(network)
    x, t = torch.randn(2, 4, 8, 8, generator=seeded(1)), torch.tensor([10, 900])
    one, other = (Condition({LABELS: torch.tensor(pair)}) for pair in ([3, 1000], [4, 5]))
    with torch.no_grad():
        answer = denoise(x, t, one)
        assert answer.shape == x.shape
        assert not torch.allclose(denoise(x, t, other), answer, atol=1e-3)
        whole = network(x, timestep=t, class_labels=one.tensors[LABELS]).sample
        assert whole.shape == (2, 8, 8, 8)
        assert torch.equal(answer, whole[:, :4])  # the noise, and not the variance behind it
        for n in range(2):
            row = torch.tensor([n])
            alone = denoise(x[row], t[row], one[row])
            torch.testing.assert_close(alone, answer[row], rtol=0, atol=1e-6)
        network.train()
        for _ in range(20):  # a label would be lost in one of ten
            assert torch.equal(denoise(x, t, one), answer)


def test_the_published_size_has_as_many_weights_as_is_said() -> None:
    with torch.device("meta"):
        network = dit_of({**DIT_CONFIG, "sample_size": 32, "num_layers": 28, **_XL})
    weights = {name: weight.numel() for name, weight in network.named_parameters()}
    copies = sum(n for name, n in weights.items() if ".norm1.emb." in name)
    assert round(sum(weights.values()) / 1e6, 1) == 749.8
    assert round((sum(weights.values()) - copies * 27 / 28) / 1e6) == 675


_XL = {"attention_head_dim": 72, "num_attention_heads": 16}


# Masks, erasing and files


@pytest.mark.parametrize(
    "method",
    [
        SalUn(steps=1, batch_size=2, learning_rate=1e-3),
        GradientAscent(steps=1, batch_size=2, learning_rate=1e-3),
        Esd(steps=1, batch_size=1, rollout_steps=2, learning_rate=1e-3),
    ],
    ids=lambda method: method.name,
)
def test_a_class_is_erased_and_the_copies_stay_equal(
    model: Checkpoint,
    data: ConceptData,
    tmp_path: Path,
    method: Any,  # noqa: ANN401
) -> None:
    mask = find_mask(model, data, "salient", density=0.3, config=SaliencyConfig(batch_size=2))
    assert not any(".norm1.emb." in name for name in mask.entries)
    edit = erase(model, data, mask, method, concept="207")
    assert 0 < edit.provenance.last.moved <= mask.selected
    base = {name: model.network[name] for name in mask.entries}
    assert_same_bits({n: edit.network[n] for n in mask.entries}, base, outside(mask.entries))
    copies = [name for name in edit.network if ".norm1.emb." in name]
    assert len(copies) == 2 * 5
    for name in copies:
        first = name.replace("transformer_blocks.1.", "transformer_blocks.0.")
        assert torch.equal(edit.network[name], model.network[first])
    out = tmp_path / "erased"
    write_folder(model, out, network=edit.network, provenance=edit.provenance)
    assert verify(out).passed
    loaded = DiTPipeline.from_pretrained(out, local_files_only=True)
    assert_same_bits(loaded.transformer.state_dict(), dict(edit.network))


def test_a_mask_of_the_copies_is_refused_wherever_it_is_from(
    model: Checkpoint, data: ConceptData
) -> None:
    mask = all_mask(dict(model.network))
    info = replace(mask.info, base=model.network_hash(), component=model.architecture.main)
    with pytest.raises(MaskError, match=r"the mask selects transformer_blocks\.0\.norm1\.emb\."):
        erase(model, data, mask.with_info(info), SalUn(steps=1, batch_size=2))


def test_labels_are_told_to_a_network_of_narrow_weights(
    model: Checkpoint, data: ConceptData
) -> None:
    config = SaliencyConfig(batch_size=2, precision="bf16-weights")
    mask = find_mask(model, data, density=0.3, scope="attn", config=config)
    method = SalUn(steps=1, batch_size=2, learning_rate=1e-3, precision="bf16-weights")
    assert erase(model, data, mask, method).provenance.last.moved > 0


def test_streamed_blocks_measure_and_train_alike(model: Checkpoint, data: ConceptData) -> None:
    # The condition of the last layer is made by a part of the first block, apart from it.
    config = SaliencyConfig(batch_size=2)
    plain, streamed = (
        find_mask(model, data, density=0.3, config=replace(config, stream=stream))
        for stream in (False, True)
    )
    assert mask_hash(streamed) == mask_hash(plain)
    method = SalUn(steps=2, batch_size=2, learning_rate=1e-3)
    one, two = (erase(model, data, plain, method, stream=stream) for stream in (False, True))
    assert_same_bits(two.network, dict(one.network))


def test_scopes_are_named_and_those_of_text_are_refused(model: Checkpoint) -> None:
    family, names = model.architecture, list(model.network)
    full = family.candidates(names, "full")
    parts = [family.candidates(names, scope) for scope in ("attn", "ff", "modulation")]
    assert {name for part in parts for name in part} < set(full)
    assert {family.layers.block_of(name) for name in names} == {"in", "block.0", "block.1", "out"}
    kinds = {family.layers.kind_of(name) for name in names}
    assert kinds == {"attn", "ff", "modulation", "time", "in", "out"}
    with pytest.raises(ConfigError, match="a model of labels has no cross-attention, so take full"):
        family.candidates(names, "xattn")


# What it is told


def test_two_classes_of_one_name_are_told_by_their_numbers(tmp_path: Path) -> None:
    folder = write_dit(tmp_path / "named", num_embeds_ada_norm=3)
    names = {"0": "crane", "1": "tench, Tinca tinca", "2": "crane"}
    write_index(folder, id2label=names)
    text = build_text_encoder(read_checkpoint(folder))
    prompts = ["crane (0)", "tinca tinca", "crane (2)", "2", ""]
    assert text(prompts).tensors[LABELS].tolist() == [0, 1, 2, 2, 3]
    with pytest.raises(ConfigError, match=r"give one of crane \(0\)"):
        text(["crane"])


# Bad input


def test_labels_sizes_and_settings_that_are_none_of_it_are_refused(model: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="label '1001' is out of range"):
        build_text_encoder(model)(["1001"])
    family, described = model.architecture, model.description
    with pytest.raises(ConfigError, match="knows the places of 16 x 16 alone"):
        family.latent_shape(described, 32, 32)
    config = {**described.components["transformer"], "norm_type": "layer_norm"}
    with pytest.raises(CheckpointError, match="norm_type"):
        family.check_configs(described.having(transformer=config), "this")
