"""Saliency by a method's own loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure
from support.threads import as_team

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.measuring import measure_scores
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.scores.summing import Measuring
from erasure.errors import ConfigError
from erasure.masks.mask_file import load_mask
from erasure.methods import Esd, GradientAscent, Method, SalUn, Uce
from erasure.team import ALONE, Team

OWN = SaliencyConfig(loss="own", draws=4, batch_size=8)
NAMES = ["conv_in.weight", "conv_out.weight"]


@pytest.fixture(scope="module")
def texts(tiny_checkpoint: Checkpoint) -> ConceptData:
    instead = {"a church": ["a castle"], "an image of a church": ["an image of a castle"]}
    return encode_concept(tiny_checkpoint, None, instead, prompts=PromptLists(list(instead)))


def scores(
    checkpoint: Checkpoint,
    data: ConceptData,
    method: Method,
    config: SaliencyConfig = OWN,
    team: Team = ALONE,
) -> dict[str, torch.Tensor]:
    how = Measuring(config=config, method=method, team=team)
    return measure_scores(checkpoint, data, NAMES, how)


def test_scores_of_esd_need_no_picture_and_do_not_depend_on_passes_or_processes(
    tiny_checkpoint: Checkpoint, texts: ConceptData
) -> None:
    method = Esd(rollout_steps=3)
    whole = scores(tiny_checkpoint, texts, method)
    assert all(float(score.max()) > 0 for score in whole.values())
    others = [scores(tiny_checkpoint, texts, method, replace(OWN, batch_size=3))]
    others += as_team(lambda team: scores(tiny_checkpoint, texts, method, team=team))
    for other in others:
        for name, score in whole.items():
            assert score.shape == tiny_checkpoint.network[name].shape
            torch.testing.assert_close(
                other[name], score, rtol=1e-2, atol=1e-3 * float(score.max())
            )


def test_every_prompt_or_picture_is_drawn_as_often_as_was_asked(
    tiny_checkpoint: Checkpoint, texts: ConceptData, tiny_data: ConceptData
) -> None:
    seen: list[tuple[int, int]] = []
    for method, data in ((Esd(rollout_steps=2), texts), (SalUn(), tiny_data)):
        how = Measuring(
            config=replace(OWN, draws=3),
            method=method,
            on_pass=lambda progress: seen.append((progress.done, progress.total)),
        )
        measure_scores(tiny_checkpoint, data, NAMES, how)
    assert seen == [(6, 6), (8, 12), (12, 12)]  # 2 prompts, then 4 pictures in passes of 8


def test_methods_of_different_losses_give_different_scores(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    salun = scores(tiny_checkpoint, tiny_data, SalUn())
    ascent = scores(tiny_checkpoint, tiny_data, GradientAscent(bound=0.0))
    assert not torch.allclose(salun[NAMES[0]], ascent[NAMES[0]], rtol=0.05)


def test_what_is_retained_does_not_count(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    one = scores(tiny_checkpoint, tiny_data, SalUn(alpha=0.0))
    other = scores(tiny_checkpoint, tiny_data, SalUn(alpha=50.0))
    for name, score in one.items():
        torch.testing.assert_close(other[name], score, rtol=1e-4, atol=1e-9)


def test_nothing_of_the_base_moves_and_the_mask_says_whose_loss_it_was(
    tiny_checkpoint: Checkpoint, texts: ConceptData
) -> None:
    before = {name: weight.clone() for name, weight in tiny_checkpoint.network.items()}
    mask = find_mask(
        tiny_checkpoint, texts, "salient", density=0.1, config=OWN, method=Esd(rollout_steps=3)
    )
    assert mask.info.loss == "own loss of esd"
    assert all(torch.equal(w, before[name]) for name, w in tiny_checkpoint.network.items())


def test_a_closed_form_has_no_loss_and_no_method_has_none_either(
    tiny_checkpoint: Checkpoint, texts: ConceptData
) -> None:
    with pytest.raises(ConfigError, match="solves in closed form and has no loss of its own"):
        find_mask(tiny_checkpoint, texts, "salient", scope="xattn-kv", config=OWN, method=Uce())
    with pytest.raises(ConfigError, match="'own' and there is no method"):
        find_mask(tiny_checkpoint, texts, "salient", config=OWN)


@pytest.mark.slow
def test_the_command_makes_such_a_mask_without_a_picture(tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.safetensors"
    line: tuple[Any, ...] = ("mask", tiny_folder, "--concept", "church", "--out", out)
    own = ("--method", "esd", "--saliency-loss", "own", "--draws", 1, "--density", 0.01)
    said = erasure(*line, *own, "--device", "cpu", "--cache", tmp_path / "cache")
    assert said.code == 0, said.err
    assert "draw" not in said.err
    assert load_mask(out).info.loss == "own loss of esd"
    said = erasure(*line, "--method", "esd", "--force")
    assert said.code == 2
    assert "is read for --saliency-loss own alone; leave it out, or give that loss" in said.err
