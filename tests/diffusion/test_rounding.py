"""Moves that the stored type rounds away are counted and told, and no copy of a model is made."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support.tiny import assert_same_bits

from erasure.checkpoints import Checkpoint
from erasure.checkpoints.merge import count_rounded_away
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.editing import proving
from erasure.editing.proving import Edit
from erasure.methods import SalUn
from erasure.moving import component
from pipelines.run.stages import warn_of_rounding


def stored_as(checkpoint: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    unet = {name: weight.to(dtype) for name, weight in checkpoint.network.items()}
    return replace(checkpoint, components={**checkpoint.components, "unet": unet})


def erased(checkpoint: Checkpoint, data: ConceptData, rate: float) -> Edit:
    mask = find_mask(checkpoint, data, "random", density=0.3)
    return erase(checkpoint, data, mask, SalUn(steps=2, batch_size=2, learning_rate=rate))


def test_a_move_of_less_than_half_a_spacing_is_rounded_away() -> None:
    # Near 0.02 the numbers of bfloat16 are 2**-13 = 1.2e-4 apart.
    base = torch.tensor([0.02, 0.02, 0.02, 0.02, 0.02]).bfloat16()
    moves = torch.tensor([1e-5, -1e-5, 1e-3, 0.0, 1e-5])
    trained = base.float() + moves
    selected = torch.tensor([True, True, True, True, False])
    merged = torch.where(selected, trained.bfloat16(), base)
    assert count_rounded_away(base, trained, merged, selected) == 2
    assert count_rounded_away(base.float(), trained, trained, selected) == 0


@pytest.mark.slow
def test_a_small_rate_on_a_bf16_base_is_counted_in_the_record(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    made = erased(stored_as(tiny_checkpoint, torch.bfloat16), tiny_data, 1e-6).provenance.last
    lost = made.config["facts"]["rounded_away"]
    assert lost > made.selected / 2
    # Adam moves all that have a gradient, by about the rate a step.
    assert lost + made.moved == pytest.approx(made.selected, rel=0.02)
    whole = erased(tiny_checkpoint, tiny_data, 1e-6).provenance.last
    assert "rounded_away" not in whole.config["facts"]
    large = erased(stored_as(tiny_checkpoint, torch.bfloat16), tiny_data, 1e-2).provenance.last
    assert large.config["facts"].get("rounded_away", 0) < large.selected / 10


def test_a_base_of_float64_is_trained_in_float32_and_keeps_what_is_not_selected(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData
) -> None:
    base = stored_as(tiny_checkpoint, torch.float64)
    edit = erased(base, tiny_data, 1e-3)
    assert edit.unselected_identical
    assert all(weight.dtype == torch.float64 for weight in edit.network.values())
    same = erased(tiny_checkpoint, tiny_data, 1e-3)
    for name, weight in same.network.items():
        assert torch.equal(edit.network[name], weight.double())


def test_a_run_of_which_most_is_rounded_away_is_warned_of(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, caplog: pytest.LogCaptureFixture
) -> None:
    bf16 = stored_as(tiny_checkpoint, torch.bfloat16)
    recipe = SimpleNamespace(training=SalUn(learning_rate=1e-6, steps=2))
    with caplog.at_level(logging.WARNING):
        warn_of_rounding(erased(bf16, tiny_data, 1e-2), bf16, recipe)  # type: ignore[arg-type]
        assert caplog.text == ""
        warn_of_rounding(erased(bf16, tiny_data, 1e-6), bf16, recipe)  # type: ignore[arg-type]
    assert "are stored as they were" in caplog.text
    assert "bfloat16" in caplog.text
    assert "--lr (now 1e-06)" in caplog.text


def test_a_run_in_bf16_builds_its_network_so_and_keeps_what_is_not_selected(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = stored_as(tiny_checkpoint, torch.float16)
    built: list[torch.dtype] = []
    build = component.build_network

    def noting(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> object:
        built.append(dtype)
        return build(checkpoint, dtype, device)

    monkeypatch.setattr(component, "build_network", noting)
    mask = find_mask(half, tiny_data, "random", density=0.3)
    method = SalUn(steps=2, batch_size=2, learning_rate=1e-3, precision="bf16-weights")
    made = erase(half, tiny_data, mask, method)
    assert built == [torch.bfloat16]
    others = {name: ~entry for name, entry in mask.entries.items()}
    assert_same_bits(made.network, dict(half.network), others)
    # The masters began with the stored values and not with those rounded to bfloat16: three bits
    # more, which show in what is stored as float16.
    moved = {n: made.network[n][mask.entries[n]].float() for n in mask.entries}
    fine = [value for value in moved.values() if not torch.equal(value, value.bfloat16().float())]
    assert len(fine) > len(moved) / 2


def test_the_trained_weights_are_read_one_after_the_other(
    tiny_checkpoint: Checkpoint, tiny_data: ConceptData, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    merge = proving.merge_selected

    def noting(base: dict, trained: dict, selected: dict) -> dict:  # type: ignore[type-arg]
        sizes.append(len(trained))
        return merge(base, trained, selected)

    monkeypatch.setattr(proving, "merge_selected", noting)
    erased(tiny_checkpoint, tiny_data, 1e-3)
    assert set(sizes) == {1}
    assert len(sizes) == len(tiny_checkpoint.network)
