"""Where weights of diffusers lie under the names of a single file: fused, exchanged, transposed."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from erasure.checkpoints.layout import openclip
from erasure.errors import PatchError
from erasure.patches.placing import Piece, places

LAYER = "text_model.encoder.layers.0"
FUSED = "transformer.resblocks.0.attn.in_proj_weight"


def exchanged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The halves of one weight stand the other way round, as those of a last modulation do."""
    first, second = weights["adaLN"].chunk(2)
    return {"norm_out": torch.cat([second, first])}


def test_a_weight_of_its_own_is_one_whole_piece() -> None:
    placed = places({"a": torch.Size([4, 3, 3]), "b": torch.Size([])}, dict)
    assert placed["a"] == (Piece("a", first=0, start=0, rows=4, whole=True),)
    assert placed["b"] == (Piece("b", first=0, start=0, rows=1, whole=True),)


def test_fused_weights_are_addressed_by_their_rows() -> None:
    placed = places({FUSED: torch.Size([12, 4])}, openclip.to_diffusers)
    for n, letter in enumerate("qkv"):
        piece = Piece(FUSED, first=4 * n, start=0, rows=4, whole=False)
        assert placed[f"{LAYER}.self_attn.{letter}_proj.weight"] == (piece,)


def test_exchanged_halves_are_two_pieces() -> None:
    placed = places({"adaLN": torch.Size([6, 2])}, exchanged)
    first = Piece("adaLN", first=3, start=0, rows=3, whole=False)
    assert placed["norm_out"] == (first, Piece("adaLN", first=0, start=3, rows=3, whole=False))


def test_a_transposed_weight_is_refused() -> None:
    with pytest.raises(PatchError, match="across the rows"):
        places({"text_projection": torch.Size([4, 4])}, openclip.to_diffusers)


def test_it_takes_no_memory_for_the_weights_themselves() -> None:
    # As values these would be 8 TB.
    placed = places({"a": torch.Size([1000, 1_000_000_000])}, dict)
    assert placed["a"][0].rows == 1000
