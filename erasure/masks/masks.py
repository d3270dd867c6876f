"""Which weights may move: the mask, what it was made from, and the controls to hold it against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from erasure.component_names import FIRST_MAIN
from erasure.errors import ConfigError, MaskError
from erasure.masks.packed import PackedBits
from erasure.masks.selection import check_density, selected_count, top_counts, top_fraction
from erasure.masks.uniform_subset import uniform_subset
from erasure.work import Work

MaskKind = Literal["salient", "random", "inverse", "all"]
MASK_KINDS: Final = get_args(MaskKind)
REST: Final = "rest_of_model"
"""Key of `MaskInfo.measured`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskInfo:
    """What a mask was made from; empty text and `None` stand for not known."""

    kind: MaskKind = "salient"
    """How the weights were chosen."""
    density: float = 0.5
    """Share that was asked for, in (0, 1], of the weights in scope."""
    scope: str = "full"
    """Key into the `scopes` of the architecture."""
    loss: str = ""
    """Name of the forget loss that the scores are gradients of."""
    seed: int | None = None
    """Seed of the draws behind the scores, or of a random mask."""
    concept: str = ""
    """What is to be forgotten."""
    base: str = ""
    """`erasure.storage.tensors.hashing.weights_hash` of the component that the mask belongs to."""
    component: str = FIRST_MAIN
    """Which component of the model its weights are of, by its folder in the diffusers layout."""

    work: Work | None = None
    """What it took to measure it."""
    measured: Mapping[str, str] | None = None
    """How the scores were measured, beyond the loss: setting -> value as text, such as
    `guidance_scale`, `draws` and the `times` that were drawn; under `REST` the hash of all else of
    the model, such as the text encoders that read the prompts."""

    def __post_init__(self) -> None:
        check_density(self.density)
        if self.kind not in MASK_KINDS:
            raise ConfigError(f"mask kind is {self.kind!r}; known are {', '.join(MASK_KINDS)}")


@dataclass(frozen=True, slots=True, eq=False)
class SaliencyMask:
    """Name -> bool tensor of that parameter's shape, True where the weight may move.

    Parameters that are not named do not move at all. Two masks are equal when
    `erasure.masks.mask_file.mask_hash` says so.

    Raises:
        MaskError: an entry is not of type bool, or there is no weight.

    Examples:
        >>> mask = SaliencyMask({"conv_in.bias": torch.tensor([True, False, False, True])})
        >>> mask.selected, mask.total
        (2, 4)
    """

    entries: Mapping[str, Tensor] = field(repr=False)
    """Given as bool tensors, and kept as a bit a weight."""
    info: MaskInfo = field(default_factory=MaskInfo)

    def __post_init__(self) -> None:
        if not isinstance(self.entries, PackedBits):
            object.__setattr__(self, "entries", PackedBits.of(self.entries))
        if self.total < 1:
            raise MaskError("the mask covers no weights; give at least one")

    @property
    def total(self) -> int:
        """How many weights the mask covers."""
        return sum(shape.numel() for shape in self.bits.shapes.values())

    @property
    def bits(self) -> PackedBits:
        """The entries as they are kept."""
        assert isinstance(self.entries, PackedBits)
        return self.entries

    @property
    def selected(self) -> int:
        """How many of them may move; counted anew at each call."""
        return sum(self.counts().values())

    @property
    def density(self) -> float:
        """Share of the covered weights that may move."""
        return self.selected / self.total

    def counts(self) -> dict[str, int]:
        """How many weights of each parameter may move."""
        return self.bits.counts()

    def with_info(self, info: MaskInfo) -> "SaliencyMask":
        """The same weights, described anew."""
        return replace(self, info=info)


def salient_mask(scores: Mapping[str, Tensor], density: float) -> SaliencyMask:
    """The `max(1, int(density * N))` weights with the largest scores; see `top_fraction`."""
    return SaliencyMask(top_fraction(scores, density), MaskInfo(kind="salient", density=density))


def inverse_mask(scores: Mapping[str, Tensor], density: float) -> SaliencyMask:
    """The `max(1, int(density * N))` weights with the smallest scores.

    It is the complement of the N - k most salient, so among equal scores the later weight wins,
    and where k + k' = N this mask and the salient one share no weight and leave none out.
    """
    total = sum(value.numel() for value in scores.values())
    highest = top_counts(scores, [total - selected_count(total, density)])[0]
    entries = PackedBits.of((name, entry.logical_not_()) for name, entry in highest.items())
    return SaliencyMask(entries, MaskInfo(kind="inverse", density=density))


def random_mask(
    like: Mapping[str, Tensor], density: float, generator: torch.Generator
) -> SaliencyMask:
    """`max(1, int(density * N))` weights drawn uniformly without replacement.

    Args:
        like: tensors of the shapes to cover (weights or scores); values do not matter.
        density: share to select, in (0, 1].
        generator: of the CPU, for the same mask on every device.
    """
    total = sum(value.numel() for value in like.values())
    entries = uniform_subset(like, selected_count(total, density), generator)
    return SaliencyMask(entries, MaskInfo(kind="random", density=density))


def all_mask(like: Mapping[str, Tensor]) -> SaliencyMask:
    """Every weight may move: what erasing without a mask means."""
    entries = ((name, torch.ones(value.shape, dtype=torch.bool)) for name, value in like.items())
    return SaliencyMask(PackedBits.of(entries), MaskInfo(kind="all", density=1.0))


def require_allowed(mask: SaliencyMask, forbidden: Callable[[str], bool]) -> None:
    """Raise MaskError where a mask selects any weight of a name that no mask may select."""
    chosen = [name for name, count in mask.counts().items() if count and forbidden(name)]
    if chosen:
        raise MaskError(
            f"the mask selects {chosen[0]}, which must stay as it is in models of this family "
            f"({len(chosen)} such names); make the mask with `erasure mask`, which leaves them out"
        )


def require_weights(mask: SaliencyMask, weights: Mapping[str, Tensor]) -> None:
    """Raises MaskError unless every entry has a weight of its name and shape."""
    for name, shape in mask.bits.shapes.items():
        if name not in weights:
            raise MaskError(f"the mask covers {name}, which this model lacks; make a new mask")
        if shape != weights[name].shape:
            raise MaskError(
                f"the mask of {name} has shape {tuple(shape)}, the model's weight "
                f"{tuple(weights[name].shape)}; make a new mask"
            )
