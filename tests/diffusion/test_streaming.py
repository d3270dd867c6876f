"""Blocks that lie in main memory while they do not compute change no bit of what comes out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.models.tiny_flow import write_flux, write_sd3
from support.tiny import CPU, assert_same_bits, random_pictures
from torch import nn

from erasure import erase, find_mask, read_checkpoint
from erasure.architectures.building import build_network
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import ConfigError
from erasure.methods import SalUn
from erasure.moving.streaming import streamed_network
from erasure.pass_costs import recomputed_blocks
from erasure.training.weights.low_rank import LowRank

KINDS = ["sd1", "sd35_medium", "flux_dev"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> dict[str, Checkpoint]:
    place = tmp_path_factory.mktemp("streamed")
    folders = {
        "sd1": tiny_folder,
        "sd35_medium": write_sd3(place / "sd35", "sd35_medium"),
        "flux_dev": write_flux(place / "flux", "flux_dev"),
    }
    return {kind: read_checkpoint(folder) for kind, folder in folders.items()}


def data_of(checkpoint: Checkpoint) -> ConceptData:
    forget, retain = random_pictures(["a church"] * 2), random_pictures(["a dog"] * 2, seed=1)
    return encode_concept(checkpoint, forget, {"a church": ["a castle"]}, retain)


def away(parameter: nn.Parameter) -> bool:
    return bool(parameter.detach().isnan().all()) and parameter.untyped_storage().nbytes() <= 4


@pytest.mark.default("flux_dev")
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_there_one_at_a_time_and_answer_alike(
    models: dict[str, Checkpoint], kind: str
) -> None:
    checkpoint = models[kind]
    family, config = checkpoint.architecture, checkpoint.description.components
    plain = build_network(checkpoint)
    network, streamed = streamed_network(checkpoint, torch.float32, CPU)
    blocks = recomputed_blocks(family, config[family.main])
    inside = {p for name in blocks for p in network.get_submodule(name).parameters()}
    assert inside == set(streamed.homes)
    assert all(away(parameter) for parameter in inside)
    # All but embedders, the last layers and what is not recomputed lies in main memory.
    assert sum(p.numel() for p in inside) > 0.4 * sum(p.numel() for p in network.parameters())
    there: list[int] = []

    def look(*_: object) -> None:
        now = [p for name in blocks for p in network.get_submodule(name).parameters()]
        there.append(sum(not away(p) for p in now))

    for name in blocks:
        network.get_submodule(name).register_forward_pre_hook(look)
    x_t, t, condition = family.sample(config[family.main], (8, 8), 8)
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(x_t.shape, generator=generator)
    t = torch.full_like(t, 1)
    texts = {
        name: torch.randn(value.shape, generator=generator)
        for name, value in condition.tensors.items()
    }
    condition = condition.having(**texts)
    with torch.no_grad():
        answers = [family.denoiser(one)(x_t, t, condition) for one in (plain, network)]
    assert torch.equal(*answers)
    most = max(len(list(network.get_submodule(name).parameters())) for name in blocks)
    assert 0 < max(there) <= most
    assert all(away(parameter) for parameter in inside)
    streamed.restore()
    for name, value in network.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name])


def test_the_blocks_of_a_transformer_of_few_places_are_known(
    models: dict[str, Checkpoint],
) -> None:
    family = models["sd35_medium"].architecture
    config = models["sd35_medium"].description.components[family.main]
    few = recomputed_blocks(family, {**config, "pos_embed_max_size": 4})  # of 8 x 8 latents
    assert few == recomputed_blocks(family, config)


@pytest.mark.default("flux_dev")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16-weights"])
def test_a_mask_is_the_same_to_the_bit(
    models: dict[str, Checkpoint], kind: str, precision: str
) -> None:
    checkpoint = models[kind]
    names = checkpoint.architecture.candidates(checkpoint.network, "full")
    alike: dict[str, Any] = {"loss": "plain", "batch_size": 1, "precision": precision}
    data = data_of(checkpoint)
    plain, other, grouped = (
        measure_scores(checkpoint, data, names, Measuring(config=SaliencyConfig(**alike, **way)))
        for way in ({}, {"stream": True}, {"stream": True, "groups": 2})
    )
    for name in names:
        assert torch.equal(plain[name], other[name]), name
        assert torch.equal(plain[name], grouped[name]), name


@pytest.mark.default("flux_dev")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp32", "bf16-weights"])
def test_an_edit_is_the_same_to_the_bit(
    models: dict[str, Checkpoint],
    kind: str,
    precision: Any,  # noqa: ANN401
) -> None:
    checkpoint = models[kind]
    data = data_of(checkpoint)
    mask = find_mask(checkpoint, data, "random", density=0.3)
    # kept = base asks the base, whose values of the selected weights are swapped in and out.
    method = SalUn(steps=2, batch_size=2, learning_rate=1e-2, precision=precision, kept="base")
    plain, other = (erase(checkpoint, data, mask, method, stream=way) for way in (False, True))
    assert plain.provenance.last.moved > 0
    assert_same_bits(dict(plain.network), dict(other.network))
    assert other.unselected_identical


def test_factors_move_beside_streamed_weights(models: dict[str, Checkpoint]) -> None:
    checkpoint = models["flux_dev"]
    data = data_of(checkpoint)
    mask = find_mask(checkpoint, data, "all", scope="attn")
    entries = {name: entry for name, entry in mask.entries.items() if entry.ndim == 2}
    mask = type(mask)(entries, mask.info)
    method = SalUn(steps=2, batch_size=1, learning_rate=1e-2)
    plain, other = (
        erase(checkpoint, data, mask, method, stream=way, low_rank=LowRank(rank=2))
        for way in (False, True)
    )
    assert_same_bits(dict(plain.network), dict(other.network))


def test_an_origin_and_streamed_weights_are_refused_together(
    models: dict[str, Checkpoint],
) -> None:
    checkpoint = models["sd1"]
    data = data_of(checkpoint)
    mask = find_mask(checkpoint, data, "random", density=0.3)
    with pytest.raises(ConfigError, match="no origin can be put in their place"):
        erase(
            *(checkpoint, data, mask, SalUn(steps=1, kept="base")),
            stream=True,
            origin=checkpoint.network,
        )
