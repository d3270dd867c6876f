"""The models that are trained again without a concept, without downloads."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.console import ROOT
from support.leftovers import no_space_for
from torch import Tensor, nn
from transformers import CLIPTokenizer

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.errors import CheckpointError, DiskError
from erasure.storage.tensors.hashing import weights_hash
from pipelines.demo_checkpoint.latents import PICTURES_PER_PAIR, Latents
from pipelines.demo_checkpoint.retrained import training
from pipelines.demo_checkpoint.retrained.concepts import (
    EVERYTHING,
    OTHER_SEED,
    RETRAININGS,
    KeptChoice,
    Retraining,
    kept_pairs,
)
from pipelines.demo_checkpoint.retrained.recipes import RECIPES, Material, Recipe
from pipelines.demo_checkpoint.retrained.record import RECORD, Sources, claim_states, record_of
from pipelines.demo_checkpoint.retrained.training import is_done, retrain, sources_of
from pipelines.demo_checkpoint.train_unet import BATCH, PromptTable, any_pair, denoising_loss
from pipelines.distances.records import fit_of, read_record
from pipelines.run.models import DEMO_FOLDER
from prompts.canvas import OBJECTS, STYLES, WEAPONS

CPU = torch.device("cpu")
SOURCES = Sources("drawings", "vae", "tokenizer")
PAIRS = len(STYLES) * len(OBJECTS)
WORDS = {
    "no-church": {"church"},
    "no-church-2": {"church"},
    "no-dog": {"dog"},
    "no-sketch": {"sketch"},
    "no-weapons": set(WEAPONS),
}


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(DEMO_FOLDER / "tokenizer")


class Recorder(nn.Module):
    """Both networks of a trainer that learns nothing and notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.latents: list[Tensor] = []
        self.ids: list[Tensor] = []
        self.device = torch.device("cpu")
        self.unet = self

    def text_encoder(self, ids: Tensor) -> Any:  # noqa: ANN401
        self.ids.append(ids)
        return SimpleNamespace(last_hidden_state=ids)

    def forward(self, noisy: Tensor, t: Tensor, words: Tensor) -> Any:  # noqa: ANN401
        self.latents.append(noisy)
        return SimpleNamespace(sample=torch.zeros_like(noisy))


def _shown(retraining: Retraining, tokenizer: CLIPTokenizer, *, keep: bool) -> Recorder:
    """What 150 batches hold where every latent of the concept is not a number."""
    mean = torch.zeros(PAIRS, PICTURES_PER_PAIR, 1, 1, 1)
    gone = ~torch.isin(torch.arange(PAIRS), retraining.kept_pairs)
    mean[gone] = torch.nan
    recorder = Recorder()
    choose = kept_pairs(retraining.kept_pairs) if keep else any_pair
    prompts = PromptTable(tokenizer)
    latents = Latents(mean, torch.zeros_like(mean), 1.0)
    loss = denoising_loss(recorder, latents, prompts, choose)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    for _ in range(150):
        loss(generator)
    return recorder


def _texts(recorder: Recorder, tokenizer: CLIPTokenizer) -> set[str]:
    rows = torch.cat(recorder.ids).unique(dim=0)
    return set(tokenizer.batch_decode(rows, skip_special_tokens=True))


@pytest.mark.parametrize("name", WORDS)
def test_no_picture_and_no_caption_of_the_concept_enters_a_batch(
    name: str, tokenizer: CLIPTokenizer
) -> None:
    shown = _shown(RETRAININGS[name], tokenizer, keep=True)
    assert {len(each) for each in shown.latents} == {BATCH}  # the gaps are filled
    assert torch.cat(shown.latents).isfinite().all()
    texts = _texts(shown, tokenizer)
    assert len(texts) > 300
    assert not [text for text in texts if WORDS[name] & set(text.replace(",", " ").split())]


def test_the_recipe_itself_shows_both(tokenizer: CLIPTokenizer) -> None:
    shown = _shown(RETRAININGS["no-church"], tokenizer, keep=False)
    assert not torch.cat(shown.latents).isfinite().all()
    assert [text for text in _texts(shown, tokenizer) if "church" in text.split()]


def test_the_model_that_comes_with_the_repository_is_of_demo_flow_and_never_saw_a_church() -> None:
    base = read_checkpoint(DEMO_FOLDER.with_name("demo-flow"))
    other = read_checkpoint(ROOT / "benchmarks" / "retrained" / "no-church")
    assert other.architecture == base.architecture
    assert other.components.keys() == base.components.keys()
    assert weights_hash(other.components["vae"]) == weights_hash(base.components["vae"])
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        ours, theirs = base.components[name], other.components[name]
        assert ours.keys() == theirs.keys()
        assert weights_hash(ours) != weights_hash(theirs)
        assert all(weight.isfinite().all() for weight in theirs.values())
    record = read_record(ROOT / "benchmarks" / "retrained" / "no-church")
    assert record is not None
    assert "church" in record.without
    size = sum(path.stat().st_size for path in (ROOT / "benchmarks" / "retrained").rglob("*"))
    assert size <= 16e6


def test_the_six_models_see_what_they_should() -> None:
    counts = {name: len(each.kept_pairs) for name, each in RETRAININGS.items()}
    assert counts == {
        "no-church": 138,
        "twin": 144,
        "no-sketch": 120,
        "no-church-2": 138,
        "no-dog": 138,
        "no-weapons": 126,
    }
    church = RETRAININGS["no-church"].kept_pairs
    assert OBJECTS.index("church") not in (church % len(OBJECTS)).tolist()


def test_a_batch_without_the_concept_is_the_recipes_own() -> None:
    one, other = (torch.Generator().manual_seed(8) for _ in range(2))
    choose = kept_pairs(RETRAININGS["no-church"].kept_pairs)
    replaced = 0
    for _ in range(40):
        wanted, pairs = any_pair(one), choose(other)
        same = wanted % len(OBJECTS) != OBJECTS.index("church")
        assert torch.equal(wanted[same], pairs[same])
        replaced += int((~same).sum())
        assert torch.equal(one.get_state(), other.get_state())
    assert replaced > 20


def test_a_gap_is_filled_by_every_kept_pair_alike() -> None:
    allowed = torch.tensor([1, 5, 9])
    choose = kept_pairs(allowed)
    generator = torch.Generator().manual_seed(2)
    drawn = torch.cat([choose(generator) for _ in range(300)])
    shares = torch.stack([(drawn == pair).double().mean() for pair in allowed])
    # 9,600 places: a share has a standard error of 0.005.
    torch.testing.assert_close(
        shares, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.02, rtol=0
    )


def _material() -> Material:
    generator = torch.Generator().manual_seed(4)
    shape = (PAIRS, PICTURES_PER_PAIR, 16, 8, 8)
    mean = torch.randn(1, 1, *shape[2:], generator=generator).expand(shape)
    return Material(Latents(mean, torch.tensor(0.1).expand(shape), 0.665), DEMO_FOLDER)


def _short(name: str) -> Recipe:
    """The recipe of an embedded model, of a few steps."""
    recipe = RECIPES[name]
    steps = (3, 2) if len(recipe.descents) == 2 else (4,)
    descents = tuple(replace(d, steps=n) for d, n in zip(recipe.descents, steps, strict=True))
    return replace(recipe, descents=descents)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_model_that_was_cut_ends_with_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    model, recipe = RETRAININGS["no-church"], _short(name)
    parts = (_material(), SOURCES)
    whole = retrain(model, recipe, *parts, tmp_path / "whole", CPU)

    def cut_at(step: int) -> None:
        steps = 0
        choose = KeptChoice.__call__

        def stopped(self: KeptChoice, generator: torch.Generator) -> Tensor:
            nonlocal steps
            steps += 1
            if steps > step:
                raise KeyboardInterrupt
            return choose(self, generator)

        with monkeypatch.context() as patch:
            patch.setattr(KeptChoice, "__call__", stopped)
            with pytest.raises(KeyboardInterrupt):
                retrain(model, recipe, *parts, tmp_path / "cut", CPU)

    cut_at(2)  # in the first descent
    cut_at(1)  # where there is a second, before its first step
    assert not is_done(model, tmp_path / "cut")
    resumed = retrain(model, recipe, *parts, tmp_path / "cut", CPU)
    written = [path.relative_to(whole) for path in whole.rglob("*.safetensors")]
    assert len(written) >= 3
    for part in written:
        expected, again = load_file(whole / part), load_file(resumed / part)
        assert expected.keys() == again.keys()
        assert all(torch.equal(value, again[name]) for name, value in expected.items())
    assert is_done(model, tmp_path / "cut")


def test_a_full_disk_ends_a_training_that_goes_on_from_its_last_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    model, recipe = RETRAININGS["no-church"], _short("demo-flow")
    parts = (_material(), SOURCES)
    for full in ("descent-1.safetensors", RECORD):
        with no_space_for(full), pytest.raises(DiskError, match="the disk is full; free some"):
            retrain(model, recipe, *parts, tmp_path / "work", CPU)
        assert not is_done(model, tmp_path / "work")
        assert not list(tmp_path.rglob("*.part"))
    state = tmp_path / "work" / model.name / "descent-1.safetensors"
    assert int(load_file(state)["step"]) == recipe.descents[0].steps
    retrain(model, recipe, *parts, tmp_path / "work", CPU)
    assert is_done(model, tmp_path / "work")


@pytest.mark.parametrize("name", RECIPES)
def test_another_seed_is_another_model_of_the_same_recipe(name: str) -> None:
    one, other = (record_of(RETRAININGS[n], RECIPES[name], SOURCES) for n in ("no-church", "twin"))
    assert one["recipe_hash"] == other["recipe_hash"]
    assert [seed + OTHER_SEED for seed in one["seeds"]] == other["seeds"]
    assert json.loads(json.dumps(one)) == one


def test_the_two_models_have_recipes_of_their_own() -> None:
    records = [record_of(RETRAININGS["twin"], recipe, SOURCES) for recipe in RECIPES.values()]
    assert len({record["recipe_hash"] for record in records}) == len(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_an_embedded_model_carries_the_record_of_its_recipe(name: str) -> None:
    recipe = RECIPES[name]
    values = json.loads((recipe.checkpoint / RECORD).read_text(encoding="utf-8"))
    sources = sources_of(torch.zeros(1), recipe.checkpoint)
    shown = values["recipe"]["sources"]["drawings"]  # whose drawings are not in the repository
    assert values == record_of(EVERYTHING, recipe, replace(sources, drawings=shown))


def test_the_model_that_comes_with_the_repository_is_of_the_recipe_of_its_base() -> None:
    base = read_record(RECIPES["demo-flow"].checkpoint)
    church = read_record(ROOT / "benchmarks" / "retrained" / "no-church")
    assert base is not None
    assert fit_of({"base": base, "retrained": church}, ["church"]).notes == ()
    with pytest.raises(CheckpointError, match="another recipe than the base: descents is"):
        fit_of({"base": read_record(DEMO_FOLDER), "retrained": church}, ["church"])


def test_states_of_another_recipe_are_refused(tmp_path: Path) -> None:
    model, recipe = RETRAININGS["no-dog"], RECIPES["demo"]
    record = record_of(model, recipe, SOURCES)
    claim_states(tmp_path, record)
    claim_states(tmp_path, record)
    with pytest.raises(CheckpointError, match="another recipe"):
        claim_states(tmp_path, record_of(model, recipe, replace(SOURCES, vae="another")))
