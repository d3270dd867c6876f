"""What a model is told of the pictures that it draws: prompts read once, sizes, guidance."""

# B pictures.

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import torch

from erasure.architectures.architecture import Architecture
from erasure.architectures.encoders import PromptEncoder
from erasure.diffusion.denoiser import GUIDANCE, Condition, join
from erasure.errors import ConfigError
from pipelines.drawing.guards import Guard
from pipelines.drawing.requests import Request

_ENCODED: Final = 1024
"""Prompts whose encoding is kept: 240 MB at the size of Stable Diffusion 1, 650 MB at XL's."""


class Conditions:
    """Makes the conditions of pictures; each prompt is encoded once."""

    def __init__(
        self,
        family: Architecture,
        text: PromptEncoder,
        device: torch.device,
        dtype: torch.dtype,
        guard: Guard | None,
    ) -> None:
        """Take the text encoder of a model and what holds of all its pictures."""
        self._with_size, self._guidance_kind = family.with_size, family.guidance_kind
        self._device, self._dtype, self._guard = device, dtype, guard
        self._unguided = text.unguided
        # One at a time: the last bits must not depend on which prompts came together. Nothing here
        # may refer to `self`: a cycle would keep the model until the collector comes.
        self._encoded = lru_cache(_ENCODED)(lambda prompt: text([prompt]))

    def read_words_as(self, other: "Conditions") -> None:
        """Take what those of an equal text encoder have encoded, and what they will, so that no
        prompt is encoded twice."""
        self._encoded = other._encoded

    @property
    def words_encoded(self) -> int:
        """How many prompts were encoded, here or by others that share the words."""
        return self._encoded.cache_info().misses

    def of(self, requests: Sequence[Request], guided: bool) -> Condition:
        """What the model is told of B pictures of one size: of 2 B, the unguided ones first, where
        `guided`; of 3 B, those of what a guard keeps out last, where it asks for them.

        Raises:
            ConfigError: a request's condition is not of one picture of this model.
        """
        (height,) = {request.height for request in requests}
        (width,) = {request.width for request in requests}
        assert height is not None
        assert width is not None
        conditions = [self._of_one(request, height, width) for request in requests]
        if guided:
            away = self._with_size(self._away(), height, width)
            conditions = [away] * len(requests) + conditions
            if self._guard is not None and self._guard.safety is not None:
                unsafe = self._with_size(self._encoded(self._guard.text), height, width)
                conditions += [unsafe] * len(requests)
        joined = join([one.to(self._device, self._dtype) for one in conditions])
        if self._guidance_kind != "embedded":
            return joined
        scales = torch.tensor([request.guidance or 0.0 for request in requests])
        return joined.having(**{GUIDANCE: scales.to(self._device)})

    def _away(self) -> Condition:
        """What guidance leads away from: the empty prompt, or the negative prompt in its place."""
        if self._guard is not None and self._guard.leads and self._guard.safety is None:
            return self._encoded(self._guard.text)
        return self._unguided(self._encoded(""))

    def _of_one(self, request: Request, height: int, width: int) -> Condition:
        """Make the condition of one picture of that size. Words are encoded once; a condition is
        never stored."""
        if isinstance(request.prompt, str):
            return self._with_size(self._encoded(request.prompt), height, width)
        condition = self._with_size(request.prompt, height, width)
        wanted = _shapes(self._with_size(self._encoded(""), height, width))
        if _shapes(condition) != wanted:
            raise ConfigError(
                f"a condition to draw has {_shapes(condition)}, but this model takes {wanted} of a "
                "picture; encode it with the text encoder of this checkpoint, one row a picture"
            )
        return condition


def _shapes(condition: Condition) -> dict[str, tuple[int, ...]]:
    """Name -> shape of a condition's tensors."""
    return {name: tuple(value.shape) for name, value in sorted(condition.tensors.items())}
