"""Several masks made one, from Python and from the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.console import erasure
from support.tiny import seeded

from erasure.errors import MaskError
from erasure.masks.combining import intersection, union_of
from erasure.masks.mask_file import load_mask, mask_hash, save_mask
from erasure.masks.masks import REST, MaskInfo, SaliencyMask, random_mask, salient_mask
from erasure.work import Work

SHAPES = {"a": torch.zeros(30, 4), "b": torch.zeros(50)}


def mask(draw: int, density: float = 0.6, **info: object) -> SaliencyMask:
    made = random_mask(SHAPES, density, seeded(draw))
    return made.with_info(replace(made.info, **{"base": "one", **info}))  # type: ignore[arg-type]


@given(seeds=st.lists(st.integers(0, 99), min_size=2, max_size=4, unique=True))
def test_an_intersection_is_symmetric_idempotent_and_in_every_mask(seeds: list[int]) -> None:
    masks = [mask(seed) for seed in seeds]
    both = intersection(masks)
    assert mask_hash(both) == mask_hash(intersection(masks[::-1]).with_info(both.info))
    for name, entry in both.entries.items():
        assert torch.equal(entry, torch.stack([m.entries[name] for m in masks]).all(0))
    assert both.selected <= min(m.selected for m in masks)
    assert torch.equal(intersection([both, both]).entries["a"], both.entries["a"])
    assert both.info.density == both.density


@given(seeds=st.lists(st.integers(0, 99), min_size=2, max_size=4, unique=True))
def test_a_union_selects_what_any_mask_selects(seeds: list[int]) -> None:
    masks = [mask(seed, 0.2) for seed in seeds]
    for name, entry in union_of(masks).entries.items():
        assert torch.equal(entry, torch.stack([m.entries[name] for m in masks]).any(0))


def test_what_only_one_mask_covers_is_in_the_union_alone() -> None:
    whole = mask(1)
    part = replace(whole, entries={"a": whole.entries["a"]})
    assert set(intersection([whole, part]).entries) == {"a"}
    assert set(union_of([part, whole]).entries) == {"a", "b"}


def test_the_new_mask_says_what_it_was_made_of() -> None:
    made = intersection([mask(1, concept="church"), mask(2, concept="dog")])
    assert made.info.concept == "church, dog"
    assert made.info.loss == "intersection of 2"
    assert made.info.seed is None
    assert made.info.base == "one"


def test_of_what_the_masks_differ_in_the_new_one_says_nothing() -> None:
    first, second = mask(1, seed=4, scope="xattn"), mask(2, seed=4, scope="xattn")
    alike = union_of([first, second])
    assert (alike.info.seed, alike.info.scope) == (4, "xattn")
    other = second.with_info(replace(second.info, seed=5, scope="attn"))
    apart = union_of([first, other])
    assert (apart.info.seed, apart.info.scope) == (None, "full")


def test_how_scores_were_measured_stays_where_all_agree() -> None:
    first, second = mask(1), mask(2)
    here = {REST: "rest", "draws": "2"}
    one = first.with_info(replace(first.info, measured={**here, "times": "a"}))
    other = second.with_info(replace(second.info, measured={**here, "times": "b"}))
    assert intersection([one, other]).info.measured == here
    assert union_of([one, second]).info.measured is None
    elsewhere = other.with_info(replace(other.info, measured={**here, REST: "another"}))
    with pytest.raises(MaskError, match="measured with different text encoders"):
        union_of([one, elsewhere])


def test_the_work_is_that_of_all_masks_and_unknown_where_one_does_not_say() -> None:
    first, second = mask(1, work=Work(forward=2, text=1)), mask(2, work=Work(forward=3))
    assert union_of([first, second]).info.work == Work(forward=5, text=1)
    assert union_of([first, mask(2, work=None)]).info.work is None


def test_a_thousandth_of_the_weights_can_be_selected() -> None:
    scores = {"w": torch.randn(50, 100, generator=seeded(0)).abs()}
    assert salient_mask(scores, 0.001).selected == 5
    assert salient_mask(scores, 1.0).selected == 5000


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (lambda: [mask(1), mask(2, base="other")], "belong to different models"),
        (
            lambda: [mask(1), replace(mask(1), entries={"a": torch.ones(3, dtype=torch.bool)})],
            "the masks of a have shapes",
        ),
    ],
)
def test_masks_that_do_not_fit_each_other_are_refused(
    masks: Callable[[], list[SaliencyMask]], words: str
) -> None:
    for combine in (intersection, union_of):
        with pytest.raises(MaskError, match=words):
            combine(masks())


def test_masks_that_share_nothing_have_no_intersection() -> None:
    one = torch.tensor([True, False])
    pair = [SaliencyMask({"a": entry}, MaskInfo(base="one")) for entry in (one, ~one)]
    with pytest.raises(MaskError, match="the masks share no weight"):
        intersection(pair)


def files(folder: Path) -> list[Path]:
    paths = [folder / f"{n}.safetensors" for n in range(3)]
    for n, path in enumerate(paths):
        save_mask(path, mask(n))
    return paths


@pytest.mark.parametrize(
    ("option", "combine"), [("--intersect", intersection), ("--union", union_of)]
)
def test_the_command_combines_mask_files(
    option: str, combine: Callable[[list[SaliencyMask]], SaliencyMask], tmp_path: Path
) -> None:
    first, second, third = files(tmp_path)
    out = tmp_path / "out.safetensors"
    said = erasure("mask", option, first, option, second, third, "--out", out, "--json")
    assert said.code == 0, said.err
    expected = combine([load_mask(path) for path in (third, first, second)])
    assert json.loads(said.out)["selected"] == expected.selected
    assert mask_hash(load_mask(out)) == mask_hash(expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--intersect", "ONE"), "there is no --out; give a name that ends in"),
        (("--intersect", "ONE", "--union", "ONE", "--out", "X"), "make one after the other"),
        (("--intersect", "ONE", "--concept", "x", "--out", "X"), "would not be read"),
        (("--intersect", "NONE", "--out", "X"), "NONE"),
    ],
)
def test_a_combination_that_cannot_be_is_refused(
    options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    first, second, _ = files(tmp_path)
    places = {"ONE": first, "X": tmp_path / "x.safetensors", "NONE": tmp_path / "NONE.safetensors"}
    said = erasure("mask", second, *(places.get(option, option) for option in options))
    assert said.code == 2, said.err
    assert words in said.err
    assert not (tmp_path / "x.safetensors").exists()
