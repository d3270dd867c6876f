"""Layouts of transformers whose single file fuses several layers into one, on the first axis.

The query, key and value of an attention are one matrix there, and the two halves of the last
modulation stand the other way round. Shapes show neither, so both are told by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.checkpoints.layout.renaming import inverse, joined, parted, renamed
from erasure.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class FusedLayout:
    """One network's module paths, diffusers and original, and what is done to their weights."""

    modules: Mapping[str, str]
    """diffusers module -> original module, of all that are only renamed."""
    fused: Mapping[str, Sequence[str]]
    """Original module -> diffusers modules that it is made of, in the order of its rows."""
    exchanged: frozenset[str] = frozenset()
    """diffusers modules whose halves stand the other way round in the original."""
    widths: Mapping[str, str] | None = None
    """Original module whose parts differ in their rows -> the weight, by its original name, of
    which a row has as many numbers as each part but the last has rows."""

    def to_original(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """diffusers names -> original names.

        Raises:
            CheckpointError: a name has no place, or a part of a fused weight is missing.
        """
        owner = {part: whole for whole, parts in self.fused.items() for part in parts}
        done: dict[str, Tensor] = {}
        for name, weight in weights.items():
            module, _, kind = name.rpartition(".")
            if module not in owner:
                turned = exchanged_halves(weight, name) if module in self.exchanged else weight
                done[renamed(name, self.modules)] = turned
                continue
            whole = owner[module]
            if module == self.fused[whole][0]:  # the others are taken with the first
                parts = [_there(weights, f"{part}.{kind}", name) for part in self.fused[whole]]
                done[f"{whole}.{kind}"] = joined(parts, f"{whole}.{kind}")
            else:
                _there(weights, f"{self.fused[whole][0]}.{kind}", name)
        return done

    def to_diffusers(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Original names -> diffusers names; parts are views of what they were fused into.

        Raises:
            CheckpointError: a name has no place, or a fused weight has no rows for its parts.
        """
        modules = inverse(self.modules)
        done: dict[str, Tensor] = {}
        for name, weight in weights.items():
            module, _, kind = name.rpartition(".")
            if module in self.fused:
                for part, rows in zip(self.fused[module], self._split(name, weights), strict=True):
                    done[f"{part}.{kind}"] = rows
                continue
            plain = renamed(name, modules)
            turned = plain.rpartition(".")[0] in self.exchanged
            done[plain] = exchanged_halves(weight, name) if turned else weight
        return done

    def _split(self, name: str, weights: Mapping[str, Tensor]) -> list[Tensor]:
        weight, module = weights[name], name.rpartition(".")[0]
        parts, rows = len(self.fused[module]), weight.shape[0] if weight.dim() else 0
        measure = (self.widths or {}).get(module)
        width = rows // parts
        if measure is not None:
            width = _there(weights, measure, name).shape[-1]
        last = rows - width * (parts - 1)
        if width < 1 or last < 1 or (measure is None and last != width):
            raise CheckpointError(
                f"{name} has {rows} rows, which are none for the {parts} layers that it is made "
                "of; fetch the file again"
            )
        return list(weight.split([width] * (parts - 1) + [last]))


def exchanged_halves(weight: Tensor, name: str = "a modulation") -> Tensor:
    """Put the second half of the rows in front of the first; `name` is for the message.

    Raises:
        CheckpointError: it has no halves.
    """
    first, second = parted(weight, 2, name)
    return torch.cat([second, first])


def _there(weights: Mapping[str, Tensor], name: str, other: str) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"the transformer has {other} but no {name}; it is incomplete")
    return weights[name]
