"""Mask values, the controls, the file, the overlap."""

import hashlib
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from erasure.errors import ConfigError, MaskError
from erasure.masks import uniform_subset
from erasure.masks.combining import intersection, union_of
from erasure.masks.mask_file import (
    is_mask_file,
    load_mask,
    mask_hash,
    require_base,
    require_component,
    save_mask,
)
from erasure.masks.masks import (
    MaskInfo,
    SaliencyMask,
    all_mask,
    inverse_mask,
    random_mask,
    require_weights,
    salient_mask,
)
from erasure.masks.overlap import Shared, overlap
from erasure.masks.packed import pack, unpack

INFO = MaskInfo(
    kind="random",
    density=0.3,
    scope="xattn",
    loss="cfg",
    seed=0,
    concept="a église",
    base="ab" * 32,
    measured={"draws": "2", "guidance_scale": "8.5"},
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_scores(levels: int = 1000) -> dict[str, Tensor]:
    draw = seeded()
    return {
        name: torch.randint(0, levels, shape, generator=draw).float()
        for name, shape in {"b": (3, 5), "a": (), "c": (0, 2), "d": (13,)}.items()
    }


def mask_of(**entries: list[bool]) -> SaliencyMask:
    return SaliencyMask({name: torch.tensor(row) for name, row in entries.items()})


def test_a_mask_counts_its_weights() -> None:
    mask = mask_of(a=[True, False, True], b=[False])
    assert (mask.selected, mask.total, mask.density) == (2, 4, 0.5)
    assert mask.counts() == {"a": 2, "b": 0}


def test_a_mask_holds_only_bool_tensors_and_some_weight() -> None:
    with pytest.raises(MaskError, match=r"type torch\.int64"):
        SaliencyMask({"a": torch.ones(2, dtype=torch.int64)})
    with pytest.raises(MaskError, match="covers no weights"):
        SaliencyMask({})


def test_information_is_checked_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match=r"density is 1\.5"):
        MaskInfo(density=1.5)
    with pytest.raises(ConfigError, match="mask kind is 'best'"):
        MaskInfo(kind="best")  # type: ignore[arg-type]


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(sum),
    density=st.floats(0, 1, exclude_min=True),
    seed=st.integers(0, 99),
)
def test_every_kind_selects_exactly_the_same_number(
    sizes: list[int], density: float, seed: int
) -> None:
    draw = seeded(seed)
    scores = {
        f"w{i}": torch.randint(0, 5, (n,), generator=draw).float() for i, n in enumerate(sizes)
    }
    wanted = max(1, int(sum(sizes) * density))
    masks = [
        salient_mask(scores, density),
        inverse_mask(scores, density),
        random_mask(scores, density, draw),
    ]
    assert [mask.selected for mask in masks] == [wanted] * 3
    assert [mask.info.kind for mask in masks] == ["salient", "inverse", "random"]
    assert all_mask(scores).selected == sum(sizes)


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_inverse_and_salient_halves_leave_nothing_out(levels: int) -> None:
    scores = {"a": some_scores(levels)["b"], "b": torch.zeros(5)}  # 20 weights
    salient, inverse = salient_mask(scores, 0.5), inverse_mask(scores, 0.5)
    assert all(torch.equal(salient.entries[n], ~inverse.entries[n]) for n in scores)


def test_the_inverse_mask_takes_the_smallest_scores_and_later_ties() -> None:
    mask = inverse_mask({"w": torch.tensor([3.0, 1.0, 0.0, 1.0, 1.0])}, 0.6)
    assert mask.entries["w"].tolist() == [False, False, True, True, True]
    assert inverse_mask({"w": torch.ones(3)}, 1.0).entries["w"].all()


def test_a_random_mask_depends_on_the_seed_alone() -> None:
    scores = some_scores()
    first = random_mask(scores, 0.4, seeded(1))
    assert mask_hash(first) == mask_hash(random_mask(some_scores(2), 0.4, seeded(1)))
    assert mask_hash(first) != mask_hash(random_mask(scores, 0.4, seeded(2)))


def test_every_subset_of_a_random_mask_is_equally_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small chunks, so that repairs cross them. 10 subsets of 2 in 5, 1000 draws: each expected
    # 100 times, standard deviation 9.5; 5 of these is a one in 100,000 event, and seeds are fixed.
    monkeypatch.setattr(uniform_subset, "CHUNK", 2)
    like, draw = {"a": torch.zeros(3), "b": torch.zeros(2)}, seeded()
    seen: Counter[tuple[bool, ...]] = Counter()
    for _ in range(1000):
        entries = random_mask(like, 0.4, draw).entries
        seen[tuple([*entries["a"].tolist(), *entries["b"].tolist()])] += 1
    assert len(seen) == math.comb(5, 2)
    assert max(abs(n - 100) for n in seen.values()) < 5 * 9.5


def test_packing_is_eight_weights_a_byte_lowest_bit_first() -> None:
    entry = torch.tensor([[True, False, False], [False, True, False], [True, True, True]])
    assert pack(entry).tolist() == [0b11010001, 0b1]
    assert torch.equal(unpack(pack(entry), [3, 3]), entry)


@given(shape=st.lists(st.integers(0, 9), max_size=3), seed=st.integers(0, 99))
def test_unpacking_undoes_packing(shape: list[int], seed: int) -> None:
    entry = torch.rand(shape, generator=seeded(seed)) < 0.5
    assert pack(entry).numel() == -(-entry.numel() // 8)
    assert torch.equal(unpack(pack(entry), shape), entry)
    turned = entry.permute(tuple(reversed(range(len(shape)))))
    assert torch.equal(unpack(pack(turned), shape[::-1]), turned)


def test_saving_then_loading_is_the_identity(tmp_path: Path) -> None:
    mask = salient_mask(some_scores(), 0.3).with_info(INFO)
    save_mask(tmp_path / "mask.safetensors", mask)
    again = load_mask(tmp_path / "mask.safetensors")
    assert again.info == INFO
    assert list(again.entries) == ["b", "a", "c", "d"]
    for name, entry in mask.entries.items():
        assert torch.equal(again.entries[name], entry)
        assert again.entries[name].shape == entry.shape
    assert mask_hash(again) == mask_hash(mask)
    assert is_mask_file(tmp_path / "mask.safetensors")
    unknown = mask.with_info(MaskInfo())
    save_mask(tmp_path / "unknown.safetensors", unknown)
    assert load_mask(tmp_path / "unknown.safetensors").info == MaskInfo()


def test_the_file_says_what_it_holds(tmp_path: Path) -> None:
    mask = all_mask({"w": torch.zeros(2, 5)}).with_info(INFO)
    save_mask(tmp_path / "m", mask)
    with safe_open(tmp_path / "m", framework="pt") as file:
        metadata = file.metadata()
        assert file.get_tensor("w").tolist() == [255, 3]
    assert metadata.pop("checksum")
    assert metadata == {
        "format": "erasure-mask 1",
        "kind": "random",
        "density": "0.3",
        "scope": "xattn",
        "loss": "cfg",
        "seed": "0",
        "concept": "a église",
        "base": "ab" * 32,
        "component": "unet",
        "measured": '{"draws": "2", "guidance_scale": "8.5"}',
        "shapes": '[["w", [2, 5]]]',
        "selected": "10",
        "hash": mask_hash(mask),
    }


def test_the_hash_ignores_order_and_description_but_no_weight_name_or_shape() -> None:
    one, two = torch.tensor([True, False]), torch.tensor([[True, True]])
    first = mask_hash(SaliencyMask({"a": one, "b": two}))
    assert first == mask_hash(SaliencyMask({"b": two, "a": one}, INFO))
    for other in ({"a": ~one, "b": two}, {"a": one, "c": two}, {"a": one, "b": two.t()}):
        assert mask_hash(SaliencyMask(other)) != first


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, **changes: str) -> None:
    """Write a mask file again with other content, under a right checksum unless one is given."""
    with safe_open(path, framework="pt") as file:
        present = {name: file.get_tensor(name) for name in file.keys()}
        metadata = {**file.metadata(), **changes}
    metadata.pop("checksum")
    listed = json.dumps(metadata, sort_keys=True).encode()
    checksum = changes.get("checksum", hashlib.sha256(listed).hexdigest())
    save_file(tensors or present, path, {**metadata, "checksum": checksum})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "erasure-mask 2"}, "has format 'erasure-mask 2', not 'erasure-mask 1'"),
        ({"checksum": "0"}, "header does not match its checksum"),
        ({"selected": "3"}, "selects 2 weights, not 3"),
        ({"hash": "0"}, "content does not match its hash"),
        ({"density": "2"}, r"header .* is damaged \(density is 2"),
        ({"density": "half"}, "header .* is damaged"),
        ({"kind": "best"}, "mask kind is 'best'"),
        ({"shapes": "[["}, "header .* is damaged"),
        ({"measured": '{"draws": 1}'}, "settings of measuring"),
        ({"shapes": '[["v", [9]]]'}, "other tensors"),
        ({"shapes": '[["w", [17]]]'}, "w is not 3 bytes"),
        ({"shapes": '[["w", [10]]]'}, "content does not match its hash"),
    ],
)
def test_a_file_that_is_not_what_it_claims_is_refused(
    tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    path = tmp_path / "mask.safetensors"
    save_mask(path, salient_mask({"w": torch.arange(9.0)}, 0.3))
    rewrite(path, **changes)
    with pytest.raises(MaskError, match=words):
        load_mask(path)


def test_a_flipped_weight_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "mask.safetensors"
    save_mask(path, salient_mask({"w": torch.arange(16.0)}, 0.5))
    swapped = torch.tensor([255, 0], dtype=torch.uint8)  # As many weights, but others.
    rewrite(path, {"w": swapped})
    with pytest.raises(MaskError, match="content does not match its hash"):
        load_mask(path)


def test_files_that_are_no_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="there is no mask file"):
        load_mask(tmp_path / "missing")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(MaskError, match="no safetensors file"):
        load_mask(tmp_path / "text")
    save_file({"w": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(MaskError, match="has format None"):
        load_mask(tmp_path / "weights")
    path = tmp_path / "mask"
    save_mask(path, all_mask({"w": torch.zeros(99)}))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(MaskError, match="damaged"):
        load_mask(path)
    assert not any(is_mask_file(tmp_path / n) for n in ("missing", "text", "weights"))


def test_bits_behind_the_last_weight_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "mask.safetensors"
    save_mask(path, salient_mask({"w": torch.arange(3.0)}, 0.4))  # 1 of 3: the bits 00100
    stray = torch.tensor([0b11111100], dtype=torch.uint8)
    claimed = hashlib.sha256(b"w[3]" + stray.numpy().tobytes()).hexdigest()
    rewrite(path, {"w": stray}, hash=claimed, selected="6")
    with pytest.raises(MaskError, match="content does not match its hash"):
        load_mask(path)


def test_an_entry_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask"
    save_mask(path, all_mask({"w": torch.zeros(8)}))
    rewrite(path, {"w": torch.tensor([1.0])})
    with pytest.raises(MaskError, match="not 1 bytes of type uint8"):
        load_mask(path)


def test_a_mask_belongs_to_its_base() -> None:
    require_base(INFO, "ab" * 32)
    with pytest.raises(MaskError, match=r"base abababababab, but this model is cdcdcdcdcdcd;"):
        require_base(INFO, "cd" * 32)
    with pytest.raises(MaskError, match="does not say which model"):
        require_base(MaskInfo(), "ab" * 32)


def test_a_mask_of_another_component_is_refused_in_one_sentence() -> None:
    require_component(INFO, "unet")
    with pytest.raises(MaskError, match=r"of the component 'unet', but one of text_encoder is"):
        require_component(INFO, "text_encoder")
    one = mask_of(a=[True, False]).with_info(INFO)
    other = one.with_info(replace(INFO, component="text_encoder"))
    for joined in (intersection, union_of):
        with pytest.raises(MaskError, match="make it with `erasure mask --component unet`"):
            joined([one, other])
    with pytest.raises(MaskError, match="compare masks of one component"):
        overlap(one, other)


def test_a_mask_of_an_older_version_is_one_of_the_unet(tmp_path: Path) -> None:
    path = tmp_path / "mask"
    save_mask(path, all_mask({"w": torch.zeros(8)}).with_info(INFO))
    tensors, metadata = load_file(path), safe_open(path, framework="pt").metadata()
    old = {k: v for k, v in metadata.items() if k not in ("component", "checksum")}
    digest = hashlib.sha256(json.dumps(old, sort_keys=True).encode()).hexdigest()
    save_file(tensors, path, {**old, "checksum": digest})
    assert load_mask(path).info == INFO


def test_a_mask_fits_weights_of_its_names_and_shapes() -> None:
    mask = mask_of(a=[True, False])
    require_weights(mask, {"a": torch.zeros(2), "b": torch.zeros(1)})
    with pytest.raises(MaskError, match="covers a, which this model lacks"):
        require_weights(mask, {"b": torch.zeros(2)})
    with pytest.raises(MaskError, match=r"shape \(2,\), the model's weight \(3,\)"):
        require_weights(mask, {"a": torch.zeros(3)})


def test_overlap_counts_what_both_select() -> None:
    one = mask_of(**{"conv_in.weight": [True, True, False], "mid_block.w": [True, False]})
    two = mask_of(**{"conv_in.weight": [False, True, True], "mid_block.w": [True, True]})
    shared = overlap(one, two)
    assert shared.whole == Shared("all", a=3, b=4, intersection=2)
    assert (shared.whole.union, shared.whole.iou, shared.whole.share_of_a_in_b) == (5, 0.4, 2 / 3)
    assert shared.blocks == (Shared("in", 2, 2, 1), Shared("mid", 1, 2, 1))
    assert overlap(one, one).whole.iou == 1.0
    nothing = Shared("mid", a=0, b=0, intersection=0)
    assert (nothing.iou, nothing.share_of_a_in_b) == (1.0, 1.0)


def test_masks_of_different_scopes_can_be_compared() -> None:
    full = mask_of(**{"conv_in.w": [True, True], "mid_block.attn2.w": [True, False]})
    narrow = mask_of(**{"mid_block.attn2.w": [True, True]})
    assert overlap(full, narrow).whole == Shared("all", a=3, b=2, intersection=1)
    assert overlap(full, narrow).blocks[0] == Shared("in", a=2, b=0, intersection=0)


def test_masks_of_different_models_cannot_be_compared() -> None:
    with pytest.raises(MaskError, match="share no parameter name"):
        overlap(mask_of(a=[True]), mask_of(b=[True]))
    with pytest.raises(MaskError, match=r"a has shape \(1,\) in one mask and \(2,\)"):
        overlap(mask_of(a=[True]), mask_of(a=[True, False]))
