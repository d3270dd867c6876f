"""Flow transformers in little memory: sums in groups, text encoders one by one, no second model."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_sdxl import write_sdxl
from support.tiny import CPU, random_pictures
from torch import nn

from erasure import read_checkpoint
from erasure.architectures.building import build_text_encoder
from erasure.architectures.loading import OnDevice, on_device
from erasure.architectures.text import apart
from erasure.architectures.text.apart import ApartText, encode_apart, without_networks
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.scores.summing import Measuring

PROMPTS = ["", "a church", "a dog on a hill", "a castle"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    place = tmp_path_factory.mktemp("flow-memory")
    folders = {
        "sd35_medium": write_sd3(place / "sd35", "sd35_medium"),
        "flux_dev": write_flux(place / "flux", "flux_dev"),
    }
    return {kind: read_checkpoint(folder) for kind, folder in folders.items()}


@pytest.mark.crossed
@pytest.mark.parametrize("kind", ["sd35_medium", "flux_dev"])
@pytest.mark.parametrize("precision", ["fp32", "bf16-weights"])
def test_groups_of_a_transformer_s_weights_have_the_sums_of_one_pass(
    models: dict[str, Checkpoint], kind: str, precision: str, tmp_path: Path
) -> None:
    checkpoint = models[kind]
    data = encode_concept(checkpoint, random_pictures(["a church"] * 2), {"a church": ["a castle"]})
    names = checkpoint.architecture.candidates(checkpoint.network, "full")
    alike: dict[str, Any] = {"loss": "plain", "batch_size": 1, "precision": precision}
    ways: list[dict[str, Any]] = [{}, {"groups": 3}, {"mapped": True, "checkpointing": True}]
    plain, *others = (
        measure_scores(
            checkpoint,
            data,
            names,
            Measuring(config=SaliencyConfig(**alike, **way), scratch=tmp_path),
        )
        for way in ways
    )
    for other in others:
        assert all(torch.equal(plain[name], other[name]) for name in names)
    assert sum(int(score.count_nonzero()) for score in plain.values()) > 1000


@pytest.mark.parametrize("kind", ["sd35_medium", "flux_dev"])
def test_text_encoders_read_one_after_the_other_and_are_gone(
    models: dict[str, Checkpoint], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = models[kind]
    there: WeakSet[nn.Module] = WeakSet()
    most = 0
    answer = apart._answer

    def noting(network: nn.Module, words: object) -> object:
        nonlocal most
        there.add(network)
        most = max(most, len(there))
        return answer(network, words)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "_answer", noting)
    encoder = without_networks(checkpoint)
    assert all(network.device.type == "meta" for network in encoder.networks)
    made = encode_apart(checkpoint, encoder, PROMPTS, device=CPU)
    assert most == 1
    assert len(there) == 0
    wanted = build_text_encoder(checkpoint)(PROMPTS)
    assert made.tensors.keys() == wanted.tensors.keys()
    for name, value in wanted.tensors.items():
        assert torch.equal(made.tensors[name], value)


def test_the_two_encoders_of_sd_xl_read_apart_too(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_sdxl(tmp_path / "xl"))
    made = encode_apart(checkpoint, without_networks(checkpoint), PROMPTS, device=CPU)
    for name, value in build_text_encoder(checkpoint)(PROMPTS).tensors.items():
        assert torch.equal(made.tensors[name], value)


def test_long_prompts_are_read_fewer_at_a_time(
    models: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, sizes = models["flux_dev"], []
    answer = apart._answer

    def noting(network: object, words: Any) -> object:  # noqa: ANN401
        sizes.append(len(words.ids))
        return answer(network, words)

    monkeypatch.setattr(apart, "_answer", noting)
    encode_apart(checkpoint, without_networks(checkpoint), ["a"] * 20, device=CPU)
    assert sizes == 2 * [9, 9, 2]  # 9 of 512 tokens are 4,608; 64 of 77 are 4,928


def test_a_painter_s_text_encoders_answer_alike_and_come_when_they_are_asked_for(
    models: dict[str, Checkpoint],
) -> None:
    checkpoint = models["sd35_medium"]
    away, whole = ApartText(checkpoint, torch.float32, CPU), build_text_encoder(checkpoint)
    for prompt in PROMPTS:
        for name, value in whole([prompt]).tensors.items():
            assert torch.equal(away([prompt]).tensors[name], value)
    assert away._whole is None
    assert torch.equal(away.last_words(PROMPTS), whole.last_words(PROMPTS))
    tokens = away.tokenize(PROMPTS)
    one, other = away.encode(tokens), whole.encode(whole.tokenize(PROMPTS))
    assert away._whole is not None
    assert torch.equal(one.tokens, other.tokens)


def test_weights_go_to_a_device_when_they_are_asked_for(models: dict[str, Checkpoint]) -> None:
    checkpoint = models["flux_dev"]
    assert on_device(checkpoint, CPU) is checkpoint
    away = on_device(checkpoint, torch.device("meta"))
    asked: list[str] = []

    class Noting(dict[str, torch.Tensor]):
        def __getitem__(self, name: str) -> torch.Tensor:
            asked.append(name)
            return super().__getitem__(name)

    own = OnDevice(Noting(checkpoint.network), torch.device("meta"))
    assert list(own) == list(checkpoint.network)
    assert asked == []
    first = next(iter(own.values()))
    assert first.is_meta
    assert len(asked) == 1
    assert replace(away).network["x_embedder.weight"].is_meta
