"""Models that are told a class run the attacks that put no words in, and no others."""

from pathlib import Path

import pytest
from support.attacked import material, same, tiny_target, weights_of
from support.models.tiny_labels import CLASSES, write_ddpm, write_dit, write_index

from erasure.attacks import ATTACKS, Budget, Case, Concept, Target, make_attack
from erasure.attacks.protocol import lacking
from erasure.attacks.tuning.screen import screened
from erasure.checkpoints.reading.reading import read_checkpoint

WRITTEN = ("words", "prefixes", "concept-vector", "pooled-text", "prefix", "prefix-match")
"""Attacks that put words in."""
SMALL = {
    "benign-tuning": {"marks": (1,), "batch_size": 1},
    "relearning": {"marks": (1,), "batch_size": 1},
    "inversion": {"steps": 2, "rounds": 1},
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


@pytest.mark.parametrize("name", [n for n in ATTACKS if n not in (*WRITTEN, "soft-token")])
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
    assert int(ddpm.away(2).named("labels")[1]) == len(CLASSES)
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
    for name in ("rounding", "completion", "relearning"):
        attempts = list(make_attack(name, **SMALL.get(name, {})).run(target))
        assert {one.payload.prompt for one in attempts} <= {"class 7", ""}
    assert "DiT is told a class" in lacking(ATTACKS["words"], target)


def test_a_class_whose_name_holds_another_is_no_picture_of_it(ddpm: Target) -> None:
    pictures = material(ddpm.codec, ["T-shirt", "shirt", "sneaker"], 3)
    assert screened(pictures, ["shirt"], whole=True).material.prompts == ("T-shirt", "sneaker")
    assert screened(pictures, ["shirt"]).material.prompts == ("sneaker",)  # a text is any wording
