"""Concept ablation: its two objectives, and the pictures that it is given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.console import erasure
from support.rolled import batches_of
from support.tiny import Toy, ToyDenoiser, toy_batches, toy_data, toy_latents

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.data.concept_data import Anchors, ConceptData
from erasure.errors import ConfigError
from erasure.methods import ConceptAblation, SalUn
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


def anchored() -> ConceptData:
    """Make data in which five pictures of the prompts 3 and 4 stand in for the prompts 1 and 2."""
    pictures = toy_latents(5, [3, 4], 20)
    return replace(toy_data(), anchors=Anchors(pictures, torch.tensor([1, 2, 1, 2, 1])))


def batch_of(*, retained: bool = False) -> PictureBatch:
    network = Toy()
    mask = {n: torch.ones_like(w, dtype=torch.bool) for n, w in network.named_parameters()}
    denoise = ToyDenoiser(network)
    frozen = FrozenDenoiser(denoise, SelectedWeights(network, mask), needed=False)
    return toy_batches(anchored().of_anchors(also_retained=retained)).at(0, 4, denoise, frozen)


@pytest.mark.parametrize(("prior", "retained"), [(0.0, 0), (0.5, 5)])
def test_anchors_are_retained_where_their_prior_has_a_weight(prior: float, retained: int) -> None:
    assert len(batches_of(ConceptAblation(prior=prior), anchored()).data.retain) == retained


def test_anchor_pictures_are_captioned_as_the_concept_and_replaced_by_their_own_prompt() -> None:
    data, table = anchored(), toy_data().prompts.tokens
    assert data.anchors is not None
    made = data.of_anchors(also_retained=True)
    assert torch.equal(made.forget.mean, data.anchors.pictures.mean)
    assert made.forget.prompt.tolist() == [1, 2, 1, 2, 1]
    assert made.replacements.tolist() == [[3], [4], [3], [4], [3]]
    assert made.retain.prompt.tolist() == [3, 4, 3, 4, 3]
    assert len(data.of_anchors(also_retained=False).retain) == 0
    batch = batch_of()
    for caption, other in zip(batch.forget.condition.tokens, batch.replacement.tokens, strict=True):
        first = torch.equal(caption, table[1])
        assert torch.equal(caption, table[1 if first else 2])
        assert torch.equal(other, table[3 if first else 4])


def test_by_the_model_it_is_salun_without_what_is_kept_on_the_same_tensors() -> None:
    network, batch = Toy(), batch_of()
    denoise = ToyDenoiser(network)
    ours = ConceptAblation()(denoise, denoise, batch).total
    theirs = SalUn(alpha=0.0, target="moving")(denoise, denoise, batch).total
    assert torch.equal(ours, theirs)
    weights = list(network.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True
    ):
        assert torch.equal(one, other)


def test_by_the_noise_it_is_the_diffusion_loss_under_the_concept_s_caption() -> None:
    network, batch = Toy(), batch_of()
    denoise = ToyDenoiser(network)
    shown = batch.forget
    plain = F.mse_loss(network(shown.x_t, shown.t, shown.condition.tokens), shown.target)
    assert torch.equal(ConceptAblation(wanted="noise")(denoise, denoise, batch).total, plain)


def test_an_anchor_that_is_the_target_leaves_no_loss() -> None:
    network, batch = Toy(), batch_of()
    same = replace(batch, replacement=batch.forget.condition)
    denoise = ToyDenoiser(network)
    assert float(ConceptAblation()(denoise, denoise, same).total.detach()) < 1e-12


def test_the_prior_is_the_plain_loss_under_the_pictures_own_captions() -> None:
    network, batch = Toy(), batch_of(retained=True)
    denoise = ToyDenoiser(network)
    assert batch.retain is not None
    r = batch.retain
    plain = F.mse_loss(network(r.x_t, r.t, r.condition.tokens), r.target)
    loss = ConceptAblation(prior=2.0)(denoise, denoise, batch)
    torch.testing.assert_close(loss.retain, 2 * plain)


def test_without_anchor_pictures_there_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"no anchor pictures; set data\.anchors\.drawn"):
        toy_data().of_anchors(also_retained=False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"wanted": "noisy"}, "give 'model' or 'noise'"), ({"prior": -1.0}, r"prior is -1\.0")],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ConceptAblation(**settings)  # type: ignore[arg-type]


def test_it_draws_pictures_of_what_stands_in_and_none_of_the_concept(
    tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", "concept-ablation"),
        *("--steps", 2, "--set", "data.anchors.drawn=4", "--set", "data.drawing.steps=2"),
        *("--seeds", 0, "--set", "grid.drawing.steps=2", "--device", "cpu"),
        *("--cache", tmp_path / "cache", "--out", tmp_path / "run", "--json"),
    )
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["moved"] > 0
    assert "draw anchors pictures" in report["seconds"]
    assert "draw forget pictures" not in report["seconds"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "esd", "--set", "data.anchors.drawn=4"), "data.anchors.drawn is '4'"),
        (("--method", "concept-ablation", "--retain-drawn", "4"), "--retain-drawn is '4'"),
        (("--method", "concept-ablation", "--set", "data.anchors.drawn=0"), "drawn is 0"),
    ],
)
def test_pictures_that_would_not_be_looked_at_are_refused(
    options: tuple[str, ...], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    line = ("erase", tiny_folder, "--concept", "church", "--out", tmp_path / "run")
    said = erasure(*line, *options)
    assert said.code == 2, said.err
    assert words in said.err
