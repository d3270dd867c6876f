"""All that an erasure reads of a concept, encoded: pictures, prompts, and which belong together."""

# N pictures, P prompts, F prompts to forget, K replacements, C x H x W latents.

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from erasure.diffusion.data.latents import LatentSet
from erasure.diffusion.denoiser import Condition
from erasure.errors import ConfigError
from erasure.work import Work


@dataclass(frozen=True, slots=True)
class Pulls:
    """What each forget prompt is pulled by, as rows of the prompt table and numbers."""

    positive: Tensor
    """(F,) int64 prompts to move away from, or towards."""
    unconditional: Tensor
    """(F,) int64 prompts that the positive ones are held against, and rollouts guided away from."""
    neutral: Tensor
    """(F,) int64 prompts whose answer the way begins at."""
    strength: Tensor
    """(F,) float32 length of the way; above 0 it leads towards the positive prompt."""
    weight: Tensor
    """(F,) float32 weight of each prompt's loss."""

    def __getitem__(self, rows: Tensor) -> "Pulls":
        """Those of the chosen forget prompts, in the order of `rows`."""
        return Pulls(*(getattr(self, entry.name)[rows] for entry in fields(self)))


@dataclass(frozen=True, slots=True)
class PromptRows:
    """The concept's own prompts, apart from any picture: rows of the prompt table."""

    forget: Tensor
    """(F,) int64 prompts that show the concept."""
    replacements: Tensor
    """(F, K) int64 prompts that may stand in for each of them."""
    retain: Tensor
    """(R,) int64 prompts that must go on working; may be empty."""
    last: Tensor
    """(P,) int64 place of every prompt's last word among its tokens; 0 for the empty prompt."""
    concepts: Tensor | None = None
    """(F,) int64 which of several concepts each prompt to forget shows; None for a single one."""
    words: Sequence[str] = field(default=(), compare=False)
    """The P prompts as text, for messages alone; empty where they are not known."""
    pulls: Pulls | None = None
    """Where the prompts come with others that say what becomes of them."""

    @property
    def concept_count(self) -> int:
        """How many concepts are forgotten together."""
        return 1 if self.concepts is None else len(self.concepts.unique())

    def word(self, row: int) -> str:
        """What a message calls the prompt of a row."""
        return repr(self.words[row]) if self.words else f"prompt {row}"

    def __post_init__(self) -> None:
        if not len(self.forget):
            raise ConfigError("there is no prompt to forget; give at least one")
        if self.replacements.shape[:1] != self.forget.shape:
            raise ConfigError(
                f"replacements have shape {tuple(self.replacements.shape)}; give one row for each "
                f"of the {len(self.forget)} prompts to forget"
            )
        if self.concepts is not None and self.concepts.shape != self.forget.shape:
            raise ConfigError(
                f"concepts have shape {tuple(self.concepts.shape)}; give one number for each of "
                f"the {len(self.forget)} prompts to forget"
            )


@dataclass(frozen=True, slots=True)
class Anchors:
    """Pictures of what stands in for the concept, each with a prompt of the concept as well."""

    pictures: LatentSet
    """With the prompts that they were drawn from."""
    targets: Tensor
    """(N,) int64 row of the forget prompt that each is to be captioned with."""

    def __post_init__(self) -> None:
        if not len(self.pictures) or self.targets.shape != self.pictures.prompt.shape:
            raise ConfigError(
                f"{len(self.pictures)} anchor pictures have {len(self.targets)} target prompts; "
                "give at least one picture, and one prompt each"
            )


@dataclass(frozen=True, slots=True)
class ConceptData:
    """All that an erasure reads: no image and no text, so both encoders can leave memory."""

    forget: LatentSet
    """May be empty where no picture is needed; its tensors then still have the latents' shape."""
    replacements: Tensor
    """(N, K) int64 rows of the prompts that may replace each forget prompt."""
    retain: LatentSet
    """May be empty."""
    prompts: Condition
    """(P, ...) every prompt once; row 0 is the empty prompt."""
    texts: PromptRows | None = None
    """Where a method works with prompts alone."""
    anchors: Anchors | None = None
    """Where a method learns from pictures of what stands in."""
    words: Sequence[str] = field(default=(), compare=False)
    """The P prompts as text; empty where they are not known."""
    owners: Tensor | None = None
    """(P,) int64 which of several concepts each prompt to forget shows, -1 for the others; None
    where there is a single one."""

    def groups(self, rows: Tensor) -> list[list[int]]:
        """Places in `rows`, (N,) prompts to forget, concept by concept; one list of all where
        there is a single one."""
        if self.owners is None:
            return [list(range(len(rows)))]
        owners = self.owners[rows]
        return [(owners == one).nonzero()[:, 0].tolist() for one in owners.unique().tolist()]

    def by_concept(self) -> "list[ConceptData]":
        """The same of each concept by itself; what is retained is common to all."""
        if self.owners is None:
            return [self]
        return [self._only(one) for one in self.owners.unique().tolist() if one >= 0]

    def _only(self, number: int) -> "ConceptData":
        assert self.owners is not None
        shown = (self.owners[self.forget.prompt] == number).nonzero()[:, 0]
        texts, anchors = self.texts, self.anchors
        if texts is not None and texts.pulls is None:  # else they are no concept's own
            own = (self.owners[texts.forget] == number).nonzero()[:, 0]
            texts = replace(
                texts,
                forget=texts.forget[own],
                replacements=texts.replacements[own],
                concepts=None,
            )
        if anchors is not None:
            own = (self.owners[anchors.targets] == number).nonzero()[:, 0]
            anchors = Anchors(anchors.pictures[own], anchors.targets[own])
        return ConceptData(
            self.forget[shown],
            self.replacements[shown],
            self.retain,
            self.prompts,
            texts,
            anchors,
            self.words,
        )

    @property
    def work(self) -> Work:
        """What it took to encode all of it once."""
        pictures = len(self.forget) + len(self.retain)
        pictures += 0 if self.anchors is None else len(self.anchors.pictures)
        return Work(text=len(self.prompts), encoded=pictures)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, H, W)"""
        return tuple(self.forget.mean.shape[1:])

    def require_pictures(self) -> None:
        """Raise ConfigError where there is no picture to forget."""
        if not len(self.forget):
            raise ConfigError("there is no picture to forget; give at least one")

    def require_texts(self) -> PromptRows:
        """The concept's prompts; ConfigError where they were not encoded."""
        if self.texts is None:
            raise ConfigError("the concept's prompts are not encoded; give them with the pictures")
        return self.texts

    def of_anchors(self, *, also_retained: bool) -> "ConceptData":
        """The anchor pictures as those to forget, with the concept's prompts as their captions and
        their own as what replaces these.

        Args:
            also_retained: whether they are also to be retained, with their own captions.

        Raises:
            ConfigError: there are no anchor pictures.
        """
        if self.anchors is None:
            raise ConfigError("there are no anchor pictures; set data.anchors.drawn")
        drawn, targets = self.anchors.pictures, self.anchors.targets
        none = torch.zeros(0, dtype=torch.int64)
        retain = drawn if also_retained else drawn[none]
        return ConceptData(
            LatentSet(drawn.mean, drawn.std, targets),
            drawn.prompt[:, None],
            retain,
            self.prompts,
            self.texts,
            owners=self.owners,
        )

    def __post_init__(self) -> None:
        if not len(self.forget) and self.texts is None and self.anchors is None:
            self.require_pictures()
        if self.replacements.shape[:1] != self.forget.prompt.shape:
            raise ConfigError(
                f"replacements have shape {tuple(self.replacements.shape)}; give one row for each "
                f"of the {len(self.forget)} forget pictures"
            )
        if (self.replacements == self.forget.prompt[:, None]).any():
            raise ConfigError(
                "a forget prompt is among its own replacements, so nothing would be forgotten; "
                "choose another replacement"
            )
