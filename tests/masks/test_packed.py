"""A mask is kept as a bit a weight, whatever made it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny import seeded

from erasure.errors import MaskError
from erasure.masks.combining import intersection, union_of
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.masks import (
    SaliencyMask,
    all_mask,
    inverse_mask,
    random_mask,
    salient_mask,
)
from erasure.masks.packed import PackedBits
from erasure.masks.released_masks import from_released

SCORES = {
    "a": torch.rand(40, 30, generator=seeded()),
    "b": torch.rand(7, generator=seeded(1)),
    "c": torch.rand(3, 5, 2, generator=seeded(2)),
}
BITS = 40 * 30 // 8 + 1 + 4
"""Bytes of a bit a weight, each parameter from a byte of its own on."""


def from_a_file(folder: Path) -> SaliencyMask:
    save_mask(folder / "mask.safetensors", salient_mask(SCORES, 0.3))
    return load_mask(folder / "mask.safetensors")


MADE: dict[str, Callable[[Path], SaliencyMask]] = {
    "salient": lambda _: salient_mask(SCORES, 0.3),
    "inverse": lambda _: inverse_mask(SCORES, 0.3),
    "random": lambda _: random_mask(SCORES, 0.3, seeded()),
    "all": lambda _: all_mask(SCORES),
    "both": lambda _: intersection([salient_mask(SCORES, d) for d in (0.3, 0.5)]),
    "either": lambda _: union_of([salient_mask(SCORES, d) for d in (0.3, 0.5)]),
    "given": lambda _: SaliencyMask({name: value > 0.5 for name, value in SCORES.items()}),
    "a file": from_a_file,
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_every_mask_holds_a_bit_a_weight_and_gives_bool_tensors(
    made: Callable[[Path], SaliencyMask], tmp_path: Path
) -> None:
    mask = made(tmp_path)
    assert mask.bits.nbytes == BITS
    assert list(mask.entries) == list(SCORES)
    for name, value in SCORES.items():
        entry = mask.entries[name]
        assert entry.dtype == torch.bool
        assert entry.shape == value.shape
        assert mask.counts()[name] == int(entry.sum())
    assert mask.selected == sum(int(entry.sum()) for entry in mask.entries.values())


def test_a_released_mask_is_packed_tensor_by_tensor() -> None:
    value = torch.tensor([[1, 0, 1], [0, 0, 1]])
    mask = from_released({"conv_in.weight": value})
    assert mask.bits.nbytes == 1
    assert mask.entries["conv_in.weight"].tolist() == value.bool().tolist()


def test_a_change_of_what_was_unpacked_does_not_reach_the_mask() -> None:
    mask = salient_mask(SCORES, 0.3)
    before = mask.counts()
    mask.entries["a"].fill_(True)
    assert mask.counts() == before


def test_to_look_whether_a_name_is_there_unpacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = PackedBits.of({name: value > 0.5 for name, value in SCORES.items()})

    def fail(*_: object) -> None:
        raise AssertionError("it was unpacked")

    monkeypatch.setattr("erasure.masks.packed.unpack", fail)
    assert "a" in bits
    assert "z" not in bits
    assert len(bits) == len(bits.counts()) == 3


def test_other_types_than_bool_are_refused_by_name() -> None:
    with pytest.raises(MaskError, match=r"the mask of b has type torch\.uint8"):
        PackedBits.of([("b", torch.ones(3, dtype=torch.uint8))])


def test_bits_behind_the_last_weight_of_a_file_are_no_weights(tmp_path: Path) -> None:
    place = tmp_path / "mask.safetensors"
    mask = salient_mask({"b": SCORES["b"]}, 0.3)
    save_mask(place, mask)
    tensors = load_file(place)
    tensors["b"][-1] |= 128  # 7 weights: the eighth bit stands for none
    from safetensors import safe_open

    with safe_open(place, framework="pt") as file:
        header = file.metadata()
    save_file(tensors, place, metadata=header)
    again = load_mask(place)
    assert again.selected == mask.selected
    assert again.counts() == {"b": int(again.entries["b"].sum())}
