"""Models that are told a class run the attacks that put no words in, and no others."""

from pathlib import Path

import pytest
import torch
from support.attacked import material, same, tiny_target, weights_of
from support.models.tiny_labels import CLASSES, write_ddpm, write_dit, write_index

from erasure.attacks import ATTACKS, Budget, Case, Concept, Target, make_attack
from erasure.attacks.protocol import lacking
from erasure.attacks.search.open_class import open_class
from erasure.attacks.tuning.screen import screened
from erasure.checkpoints.reading.reading import read_checkpoint
from pipelines.audit.cells import tensors_of

WRITTEN = ("words", "prefixes", "concept-vector", "pooled-text", "prefix", "prefix-match")
"""Attacks that put words in."""
SMALL = {
    "benign-tuning": {"marks": (1,), "batch_size": 1},
    "relearning": {"marks": (1,), "batch_size": 1},
    "inversion": {"steps": 2, "rounds": 1},
    "soft-token": {"marks": (1,), "batch_size": 1},
}


def told_classes(folder: Path, *classes: str) -> Target:
    """Make a target whose concept is the first of its classes, and whose second is another."""
    plain = tiny_target(read_checkpoint(folder))
    first, other, *_ = classes
    return tiny_target(
        read_checkpoint(folder),
        concept=Concept(name=first, prompts=(first,), replacement=other, others=classes[1:]),
        cases=tuple(Case(f"case-{n}", first, n) for n in range(3)),
        budget=Budget(draws=4),
        pictures=material(plain.codec, [first] * 2, 1),
        other_pictures=material(plain.codec, [other] * 2, 2),
    )


@pytest.fixture(scope="module")
def ddpm(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return told_classes(write_ddpm(tmp_path_factory.mktemp("told") / "ddpm"), *CLASSES[::-1])


@pytest.mark.parametrize("name", [n for n in ATTACKS if n not in WRITTEN])
def test_an_attack_without_words_asks_by_the_class_and_changes_no_weight(
    name: str, ddpm: Target
) -> None:
    attack, before = make_attack(name, **SMALL.get(name, {})), weights_of(ddpm.network)
    assert lacking(attack, ddpm) == ""
    attempts = list(attack.run(ddpm))
    assert attempts
    assert {one.payload.prompt for one in attempts} <= {"sneaker", ""}
    assert same(before, weights_of(ddpm.network))


@pytest.mark.parametrize("name", WRITTEN)
def test_an_attack_that_writes_words_is_left_out_with_its_reason(name: str, ddpm: Target) -> None:
    reason = lacking(ATTACKS[name], ddpm)
    assert reason.startswith("class-conditional DDPM is told a class and reads no text")


def test_a_model_that_can_be_told_nothing_is_asked_without_a_class(ddpm: Target) -> None:
    assert int(ddpm.told([""]).named("labels")) == len(CLASSES)
    arms = {one.arm.partition(", ")[2] for one in make_attack("completion").run(ddpm)}
    assert arms == {"null text", "prompt"}


def test_a_model_that_learned_no_label_of_no_class_is_never_told_nothing(tmp_path: Path) -> None:
    folder = write_ddpm(tmp_path / "model", num_class_embeds=len(CLASSES))
    target = told_classes(folder, *CLASSES)
    assert not target.has_null
    for name in ("completion", "inpainting"):
        attack = make_attack(name)
        attempts = list(attack.run(target))
        assert {one.payload.prompt for one in attempts} == {CLASSES[0]}
        assert attack.estimate(target).draws >= len(attempts)
    assert "no label of no class" in lacking(ATTACKS["inversion"], target)


def test_a_transformer_of_classes_is_attacked_like_a_unet(tmp_path: Path) -> None:
    folder = write_dit(tmp_path / "dit")
    write_index(folder, id2label={str(n): f"class {n}" for n in range(1000)})
    target = told_classes(folder, "class 7", "class 8")
    for name in ("rounding", "completion", "relearning", "soft-token"):
        attempts = list(make_attack(name, **SMALL.get(name, {})).run(target))
        assert {one.payload.prompt for one in attempts} <= {"class 7", ""}
    assert "DiT is told a class" in lacking(ATTACKS["words"], target)


def test_a_row_is_learned_in_the_place_of_the_class_and_no_other_changes(ddpm: Target) -> None:
    place, own = open_class(ddpm), CLASSES.index("sneaker")
    assert place.label == own
    x, t = (
        torch.randn(2, *ddpm.latent_shape, generator=torch.Generator().manual_seed(0)),
        torch.tensor([9, 700]),
    )
    (row,) = place.start(True, 0)
    condition = place.told([row.expand(2, 1, -1)], torch.zeros(2).long())
    assert torch.equal(
        place.denoise(x, t, condition), ddpm.denoise(x, t, ddpm.told(["sneaker"] * 2))
    )
    attack = make_attack("soft-token", marks=(1, 2), batch_size=2)
    first, *_, last = attack.run(ddpm)
    assert first.payload.kinds == ("weights",)
    name, table = "class_embedding.weight", ddpm.learned["class_embedding.weight"]
    assert first.payload.weights is not None
    assert last.payload.weights is not None
    moved = (first.payload.weights[name] != table).any(dim=1)
    assert moved.tolist() == [n == own for n in range(len(table))]
    assert not torch.equal(first.payload.weights[name], last.payload.weights[name])
    assert float(last.payload.weights[name][own].norm()) <= place.limits[0] * 1.001  # rounding
    assert torch.equal(tensors_of(last.payload)["row"][0], last.payload.weights[name][own])


def test_a_learned_row_draws_what_its_weights_say(ddpm: Target) -> None:
    place = open_class(ddpm)
    vectors = place.start(False, CLASSES.index("T-shirt"))
    case = ddpm.cases[0]
    weights = place.payload(case, vectors, {}).weights
    assert weights is not None
    network = ddpm.copy().requires_grad_(False)
    network.load_state_dict(dict(weights), strict=False)
    x, t = (
        torch.randn(1, *ddpm.latent_shape, generator=torch.Generator().manual_seed(0)),
        torch.tensor([500]),
    )
    drawn = ddpm.architecture.denoiser(network)(x, t, ddpm.told([case.prompt]))
    assert torch.equal(drawn, ddpm.denoise(x, t, ddpm.told(["T-shirt"])))


def test_a_class_whose_name_holds_another_is_no_picture_of_it(ddpm: Target) -> None:
    pictures = material(ddpm.codec, ["T-shirt", "shirt", "sneaker"], 3)
    assert screened(pictures, ["shirt"], whole=True).material.prompts == ("T-shirt", "sneaker")
    assert screened(pictures, ["shirt"]).material.prompts == ("sneaker",)  # a text is any wording
