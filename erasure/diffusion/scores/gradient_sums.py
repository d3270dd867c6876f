"""Sums of gradients in float32, that are no larger than their place: the device, main memory, or a
file, for all weights together or for a part of them at a time."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from erasure.storage.disk import disk_errors, require_space
from erasure.storage.parts import part_of, remove_leftovers
from erasure.team import ALONE, Team

Place = Literal["device", "main", "file"]
"""Where sums lie while gradients are added to them."""
_EACH: Final = 4
"""Bytes of a sum."""


class GradientSums:
    """Adds up the gradients of some weights, in float32, whatever type they have themselves.

    A gradient is taken as soon as it is complete and freed at once, so the device holds one at a
    time, not one of each weight. Takes 4 bytes a weight where the sums lie.
    """

    def __init__(self, weights: Mapping[str, nn.Parameter], sums: "SumsIn | None" = None) -> None:
        """Hook the weights, by name; they stay where they are.

        Args:
            sums: makes the tensors that gradients are added to; on each weight's own device if
                none.
        """
        self._sums: dict[str, Tensor] = {}
        self._weights = dict(weights)
        self._make = sums or SumsIn("device", {})
        self._hooks: list[Any] = [
            weight.register_post_accumulate_grad_hook(self._taking(name))
            for name, weight in weights.items()
        ]

    def _taking(self, name: str) -> Callable[[Tensor], None]:
        def take(weight: Tensor) -> None:
            gradient, weight.grad = weight.grad, None
            assert gradient is not None
            if name in self._sums:
                held = self._sums[name]
                held.add_(gradient.to(held.device, torch.float32))
            else:
                self._sums[name] = self._make(name, gradient)

        return take

    def scores(self, team: Team = ALONE) -> dict[str, Tensor]:
        """|sum of gradients|, by name, float32 where the sums lie; the hooks are taken off.

        A weight without a gradient never mattered and scores zero. On a team the sums of all
        processes are added up first, in place.

        Source: arXiv:2310.12508; the absolute value comes after the sum over the forget data, so
            gradients that cancel do not count.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for name, weight in self._weights.items():
            if name not in self._sums:
                self._sums[name] = self._make(name, torch.zeros_like(weight))
        scores = {name: self._sums.pop(name) for name in self._weights}
        team.sum_(scores.values())
        for score in scores.values():
            score.abs_()
        return scores


class SumsIn:
    """A place for the sums of some weights."""

    def __init__(self, place: Place, sizes: Mapping[str, int], folder: Path | None = None) -> None:
        """Take the place; memory is taken as it is used, a file at once.

        Args:
            sizes: name -> number of weights; read for a file.
            folder: where the file is made; the system's folder for temporary files if none. It
                loses its name once its room is taken, so nothing is left of it, however the process
                ends; what is killed before that leaves it to the next.

        Raises:
            DiskError: the folder has no room.
        """
        self._place = place
        self._mapped: dict[str, Tensor] = {}
        if place == "file":
            self._mapped = _mapped(sizes, folder or Path(tempfile.gettempdir()))

    def __call__(self, name: str, first: Tensor) -> Tensor:
        """The tensor that holds the sum of a weight, float32, with a first summand in it."""
        if self._place == "device":
            return first.to(torch.float32)
        if self._place == "main":
            return first.to("cpu", torch.float32)
        held = self._mapped[name].view(first.shape)
        held.copy_(first)
        return held


def _mapped(sizes: Mapping[str, int], folder: Path) -> dict[str, Tensor]:
    """Vectors side by side in one file without a name.

    The file is written in full first, since a page that finds no room on the disk later ends the
    process.
    """
    total = sum(sizes.values())
    require_space(folder / "sums", _EACH * total)
    path = part_of(folder / "sums")
    with disk_errors(folder / "sums"):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, once=True)
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(number, 0, _EACH * max(total, 1))
            else:
                os.truncate(number, _EACH * max(total, 1))
            flat = torch.from_file(str(path), shared=True, size=max(total, 1), dtype=torch.float32)
        finally:
            os.close(number)
            path.unlink()
    parts = flat[:total].split(list(sizes.values()))
    return dict(zip(sizes, parts, strict=True))


def in_groups(sizes: Mapping[str, int], groups: int) -> list[list[str]]:
    """Cut names into runs of about as many weights, in their order; none is empty.

    Args:
        sizes: name -> number of weights.
        groups: at least 1; fewer come out where there are fewer names.

    Returns:
        Runs such that the largest is as small as runs can be.
    """
    names = list(sizes)
    low, high = max(sizes.values(), default=0), sum(sizes.values())
    while low < high:  # the least limit that so many runs keep to
        middle = (low + high) // 2
        if len(_runs(names, sizes, middle)) <= groups:
            high = middle
        else:
            low = middle + 1
    return _runs(names, sizes, low)


def _runs(names: Sequence[str], sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Runs that are no longer than a limit, each filled before the next begins."""
    runs: list[list[str]] = []
    filled = limit + 1
    for name in names:
        if filled + sizes[name] > limit:
            runs.append([])
            filled = 0
        runs[-1].append(name)
        filled += sizes[name]
    return runs
