"""From pictures and prompts to what an erasure reads, through the checkpoint's own encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.architectures.building import own_size
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import Anchors, ConceptData, PromptRows, Pulls
from erasure.diffusion.data.latents import LatentSet
from erasure.diffusion.data.picture_encoding import encode_pictures
from erasure.diffusion.data.prompt_encoding import encode_prompts
from erasure.diffusion.data.prompted import AnchorPixels, PromptedPixels, PromptLists, Pull
from erasure.errors import ConfigError
from erasure.storage.cache import TensorCache


def encode_concept(
    checkpoint: Checkpoint,
    forget: PromptedPixels | None,
    replacements: Mapping[str, Sequence[str]],
    retain: PromptedPixels | None = None,
    *,
    prompts: PromptLists | None = None,
    anchors: AnchorPixels | None = None,
    owners: Mapping[str, int] | None = None,
    size: int | None = None,
    device: torch.device | None = None,
    cache: TensorCache | None = None,
) -> ConceptData:
    """Encode everything once; both encoders are gone when it returns.

    Args:
        checkpoint: whose encoders are used, in float32.
        forget: pictures that show the concept; None where `prompts` are all that is needed.
        replacements: forget prompt -> prompts that may stand in for it. Where their numbers
            differ, shorter rows repeat in turn.
        retain: pictures of all else; None for none.
        prompts: the concept's own prompts, for methods that need prompts.
        anchors: pictures of what stands in, for methods that need them.
        owners: prompt to forget -> which of several concepts it shows; None for a single one.
        size: pixels a side where there are no pictures; the model's own if none.
        device: where to encode; CPU if none.
        cache: keeps results by the content of pictures, prompts and encoders.

    Raises:
        ConfigError: a forget prompt has no replacement, or is its own, or no concept among
            `owners`, or there is neither a picture nor a prompt to forget.
        OutOfMemoryError: not even one picture a pass fits.

    Examples:
        >>> pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
        >>> churches = PromptedPixels(pixels, ["a church"] * 4)
        >>> data = encode_concept(checkpoint, churches, {"a church": ["a castle"]})
        >>> len(data.forget), len(data.retain)
        (4, 0)
    """
    where = device or torch.device("cpu")
    if prompts is None and anchors is None and (forget is None or not len(forget.prompts)):
        raise ConfigError("there is no picture to forget; give at least one")
    if retain is not None and not len(retain.prompts):
        retain = None  # no encoder takes an empty batch
    sources = _Sources(forget, retain, prompts, anchors)
    sources.require_owners(owners)
    rows = _Rows(sources.texts(replacements), replacements)
    sets = [part.pixels for part in (forget, retain, sources.drawn) if part is not None]
    posteriors = iter(encode_pictures(checkpoint, sets, where, cache))
    nothing = torch.zeros(0, *_latent_shape(checkpoint, sets, size))

    def latents_of(part: PromptedPixels | None) -> LatentSet:
        mean, std = (nothing, nothing) if part is None else next(posteriors)
        return LatentSet(mean, std, rows.of(_prompts_of(part)))

    table, last = encode_prompts(checkpoint, rows.texts, where, cache)
    return ConceptData(
        latents_of(forget),
        rows.stand_ins(_prompts_of(forget)),
        latents_of(retain),
        checkpoint.architecture.with_size(table, *_one_size(checkpoint, sets, size)),
        None if prompts is None else rows.of_lists(prompts, last),
        None if anchors is None else Anchors(latents_of(anchors.drawn), rows.of(anchors.targets)),
        rows.texts,
        None if owners is None else torch.tensor([owners.get(text, -1) for text in rows.texts]),
    )


def _prompts_of(part: PromptedPixels | None) -> Sequence[str]:
    return () if part is None else part.prompts


@dataclass(frozen=True, slots=True)
class _Sources:
    """All that prompts to encode come from."""

    forget: PromptedPixels | None
    retain: PromptedPixels | None
    prompts: PromptLists | None
    anchors: AnchorPixels | None

    @property
    def drawn(self) -> PromptedPixels | None:
        """The anchors' pictures."""
        return None if self.anchors is None else self.anchors.drawn

    def require_owners(self, owners: Mapping[str, int] | None) -> None:
        """Raise ConfigError where a prompt to forget shows none of several concepts: it would be
        trained on and have no part in the mask."""
        if owners is None:
            return
        lists = self.prompts or PromptLists(())
        listed = () if lists.pulls else lists.forget  # those of pulls are no concept's own
        targets = () if self.anchors is None else self.anchors.targets
        for text in (*_prompts_of(self.forget), *listed, *targets):
            if owners.get(text, -1) < 0:
                raise ConfigError(
                    f"owners does not say which of the concepts {text!r} shows; give it a number "
                    "from 0"
                )

    def texts(self, replacements: Mapping[str, Sequence[str]]) -> list[str]:
        """List every prompt once, the empty one first.

        Raises:
            ConfigError: a prompt to forget has no replacement.
        """
        lists = self.prompts or PromptLists(())
        shown = [*_prompts_of(self.forget), *lists.forget]
        missing = sorted({prompt for prompt in shown if not replacements.get(prompt)})
        if missing:
            raise ConfigError(f"{missing[0]!r} has no replacement prompt; give at least one")
        stand_ins = [text for prompt in shown for text in replacements[prompt]]
        retained = [*_prompts_of(self.retain), *lists.retain]
        targets = () if self.anchors is None else self.anchors.targets
        others = [*lists.others, *_prompts_of(self.drawn), *targets]
        return list(dict.fromkeys(["", *shown, *stand_ins, *retained, *others]))


class _Rows:
    """Where prompts stand in the table of all that are encoded."""

    def __init__(self, texts: Sequence[str], replacements: Mapping[str, Sequence[str]]) -> None:
        self.texts, self._replacements = texts, replacements
        self._row = {text: index for index, text in enumerate(texts)}

    def of(self, chosen: Sequence[str]) -> Tensor:
        """Give the row of each, (N,) int64."""
        return torch.tensor([self._row[prompt] for prompt in chosen], dtype=torch.int64)

    def stand_ins(self, chosen: Sequence[str]) -> Tensor:
        """Give the rows of what may replace each, (N, K) int64; shorter lists repeat in turn."""
        options = [self._replacements[prompt] for prompt in chosen]
        width = max(map(len, options), default=1)
        table = [[self._row[texts[k % len(texts)]] for k in range(width)] for texts in options]
        return torch.tensor(table, dtype=torch.int64).reshape(len(chosen), width)

    def of_lists(self, prompts: PromptLists, last: Tensor) -> PromptRows:
        """Give the rows of the concept's own prompts; `last` as `PromptRows` has it."""
        return PromptRows(
            self.of(prompts.forget),
            self.stand_ins(prompts.forget),
            self.of(prompts.retain),
            last,
            torch.tensor(prompts.concepts, dtype=torch.int64) if prompts.concepts else None,
            self.texts,
            self._of_pulls(prompts.pulls),
        )

    def _of_pulls(self, pulls: Sequence[Pull]) -> Pulls | None:
        if not pulls:
            return None
        return Pulls(
            self.of([pull.positive for pull in pulls]),
            self.of([pull.unconditional for pull in pulls]),
            self.of([pull.neutral for pull in pulls]),
            torch.tensor([pull.strength for pull in pulls], dtype=torch.float32),
            torch.tensor([pull.weight for pull in pulls], dtype=torch.float32),
        )


def _one_size(checkpoint: Checkpoint, sets: Sequence[Tensor], size: int | None) -> tuple[int, int]:
    """Height and width of all pictures, which some models are told; the others may mix them."""
    sizes = {(pixels.shape[2], pixels.shape[3]) for pixels in sets}
    if len(sizes) > 1 and checkpoint.architecture.one_size:
        named = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        title = checkpoint.architecture.title
        raise ConfigError(f"the pictures are {named} pixels; {title} needs one size for all")
    if not sets:
        width, height = (size, size) if size else own_size(checkpoint)
        return height, width
    height, width = sets[0].shape[2:]
    return height, width


def _latent_shape(
    checkpoint: Checkpoint, sets: Sequence[Tensor], size: int | None
) -> tuple[int, int, int]:
    """(C, h, w) of the latents of one picture."""
    height, width = _one_size(checkpoint, sets[:1], size)
    return checkpoint.architecture.latent_shape(checkpoint.description, height, width)
