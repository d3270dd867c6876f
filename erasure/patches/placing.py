"""Where the weights that a patch names lie under the names of a single file.

A layout may put several weights of diffusers into one, as the queries, keys and values of an
attention, or exchange the halves of one. Numbers of rows are sent through it in place of weights,
and where they come out is where the rows lie.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from erasure.checkpoints.layout.renaming import Convert
from erasure.errors import PatchError

_ROWS: Final = 1 << 32
"""More than any weight has rows: above it stands the number of the weight."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a weight of diffusers that lie together in a weight of a single file."""

    name: str
    """The weight in the single file, as it was asked for."""
    first: int
    """The first of the rows there."""
    start: int
    """The first of the rows in the weight of diffusers."""
    rows: int
    """How many rows there are; a weight without dimensions has one."""
    whole: bool
    """Whether these are all rows of the weight in the single file."""


def places(shapes: Mapping[str, torch.Size], to_diffusers: Convert) -> dict[str, tuple[Piece, ...]]:
    """Find for each weight of diffusers the pieces that it is made of, in the order of its rows.

    Args:
        shapes: name -> shape of all weights of one component in the single file.
        to_diffusers: its layout, from these names to those of diffusers.

    Raises:
        CheckpointError: a name has no place in the layout.
        PatchError: a weight lies across the rows, as a transposed one does.
    """
    names = list(shapes)
    probes = {name: _numbered(n, shapes[name]) for n, name in enumerate(names)}
    done = {}
    for name, numbers in to_diffusers(probes).items():
        done[name] = tuple(
            Piece(
                name=names[first // _ROWS],
                first=first % _ROWS,
                start=start,
                rows=rows,
                whole=rows == _height(shapes[names[first // _ROWS]]),
            )
            for start, first, rows in _runs(_first_column(name, numbers))
        )
    return done


def _height(shape: torch.Size) -> int:
    return shape[0] if shape else 1


def _numbered(number: int, shape: torch.Size) -> Tensor:
    """The number of weight and row in each place of it; rows are repeated without memory."""
    rows = torch.arange(_height(shape)) + number * _ROWS
    return rows.view(-1, *[1] * (len(shape) - 1)).expand(shape) if shape else rows[0]


def _first_column(name: str, numbers: Tensor) -> Tensor:
    if not numbers.dim():
        return numbers.view(1)
    first = numbers.reshape(len(numbers), -1)[:, 0]
    # What is still repeated has no stride; what was copied on the way is compared.
    across = zip(numbers.shape[1:], numbers.stride()[1:], strict=True)
    if any(size > 1 and stride for size, stride in across):
        column = first.view(-1, *[1] * (numbers.dim() - 1))
        if not bool((numbers == column).all()):
            raise PatchError(
                f"{name} lies across the rows of a weight of this file, which cannot be addressed; "
                "patch the model with `erasure patch apply` and load the file that it writes"
            )
    return first


def _runs(numbers: Tensor) -> Iterator[tuple[int, int, int]]:
    """Start, first number and length of each run of numbers that rise by one."""
    breaks = (numbers[1:] != numbers[:-1] + 1).nonzero().squeeze(1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    for start, stop in pairwise(edges):
        yield start, int(numbers[start]), stop - start
