"""From pictures and prompts to what an erasure reads, through the checkpoint's own encoders."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.architecture import Codec
from erasure.architectures.building import build_codec, build_text_encoder, own_size
from erasure.architectures.text.apart import encode_apart, text_names, without_networks
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import encoder_of
from erasure.diffusion.denoiser import TOKENS, Condition, join
from erasure.diffusion.latents import Anchors, ConceptData, LatentSet, PromptRows, Pulls
from erasure.errors import ConfigError, OutOfMemoryError
from erasure.memory import memory_errors
from erasure.storage.cache import TensorCache, content_key
from erasure.storage.hashing import weights_hash

_PIXELS: Final = 2**20
"""Most pixels encoded in one pass, which has activations of 512 bytes a pixel and layer."""
_PICTURES: Final = 8
"""Most pictures encoded in one pass."""
_ADDED: Final = "added."
"""What the names of a condition's tensors begin with in the cache, but for the tokens."""


@dataclass(frozen=True, slots=True)
class PromptedPixels:
    """Pictures of one size with their prompts.

    Raises:
        ConfigError: there are more pictures than prompts, or fewer.

    Examples:
        >>> pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
        >>> churches = PromptedPixels(pixels, ["a church"] * 4)
        >>> len(churches.prompts)
        4
    """

    pixels: Tensor
    """(N, 3, H, W) uint8; kept as bytes, since float pictures of 512 pixels fill a memory."""
    prompts: Sequence[str]
    """N prompts."""

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.prompts):
            raise ConfigError(
                f"{len(self.pixels)} pictures have {len(self.prompts)} prompts; give one each"
            )


@dataclass(frozen=True, slots=True)
class AnchorPixels:
    """Pictures of what stands in for the concept, with the concept's prompts as captions too."""

    drawn: PromptedPixels
    """With the prompts that they were drawn from."""
    targets: Sequence[str]
    """N prompts of the concept."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What one prompt is pulled by; see `erasure.diffusion.latents.Pulls`."""

    positive: str
    unconditional: str
    neutral: str
    strength: float
    """Above 0 it leads towards the positive prompt, below away from it."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PromptLists:
    """The prompts of a concept, for methods that work with prompts alone."""

    forget: Sequence[str]
    """Prompts that show it; each has its replacements."""
    retain: Sequence[str] = ()
    """Prompts that must go on working."""
    concepts: Sequence[int] = ()
    """Which of several concepts each prompt to forget shows; empty for a single one."""
    pulls: Sequence[Pull] = ()
    """One for each forget prompt, or none at all."""

    def __post_init__(self) -> None:
        if self.pulls and len(self.pulls) != len(self.forget):
            raise ConfigError(
                f"{len(self.forget)} prompts have {len(self.pulls)} pulls; give one each, or none"
            )

    @property
    def others(self) -> list[str]:
        """The prompts of the pulls."""
        return [text for p in self.pulls for text in (p.positive, p.unconditional, p.neutral)]


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
        ConfigError: a forget prompt has no replacement, or is its own, or there is neither a
            picture nor a prompt to forget.
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
    rows = _Rows(sources.texts(replacements), replacements)
    sets = [part.pixels for part in (forget, retain, sources.drawn) if part is not None]
    posteriors = iter(_encode_pictures(checkpoint, sets, where, cache))
    nothing = torch.zeros(0, *_latent_shape(checkpoint, sets, size))

    def latents_of(part: PromptedPixels | None) -> LatentSet:
        mean, std = (nothing, nothing) if part is None else next(posteriors)
        return LatentSet(mean, std, rows.of(_prompts_of(part)))

    table, last = _encode_prompts(checkpoint, rows.texts, where, cache)
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


def _encode_pictures(
    checkpoint: Checkpoint,
    sets: Sequence[Tensor],
    device: torch.device,
    cache: TensorCache | None,
) -> list[tuple[Tensor, Tensor]]:
    # The config too: the same weights with another scaling factor give other latents.
    model: list[object] = ["pixels"]
    if "vae" in checkpoint.components:
        weights = checkpoint.components["vae"]
        model = [weights_hash(weights), dict(checkpoint.description.components["vae"])]
    else:  # the channels of the pictures are those of the network
        main = checkpoint.architecture.main
        model.append(dict(checkpoint.description.components[main]))

    def encode(pixels: Tensor) -> dict[str, Tensor]:
        mean, std = _in_passes(build_codec(checkpoint, device=device), pixels)
        return {"mean": mean, "std": std}

    results = []
    for pixels in sets:
        digest = hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()
        key = content_key(model=model, pixels=digest, shape=list(pixels.shape))

        def make(chosen: Tensor = pixels) -> dict[str, Tensor]:
            return encode(chosen)

        moments = cache.get("latents", key, make) if cache else make()
        results.append((moments["mean"], moments["std"]))
    return results


def pictures_a_pass(height: int, width: int) -> int:
    """How many pictures of that many pixels are encoded at a time, where memory is not short."""
    return max(1, min(_PICTURES, _PIXELS // (height * width)))


def _in_passes(codec: Codec, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled mean and deviation, (N, C, h, w), of bytes; fewer at a time where memory is short."""
    size = pictures_a_pass(pixels.shape[2], pixels.shape[3])
    means, stds, start = [], [], 0
    while start < len(pixels):
        try:
            with memory_errors("with one picture a pass"):
                mean, std = codec.encode(pixels[start : start + size].float() / 127.5 - 1)
        except OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            continue
        means.append(mean)
        stds.append(std)
        start += size
    return torch.cat(means), torch.cat(stds)


def _encode_prompts(
    checkpoint: Checkpoint, texts: Sequence[str], device: torch.device, cache: TensorCache | None
) -> tuple[Condition, Tensor]:
    """The prompts, the first of them the empty one, as the model is told it without guidance; and
    the place of each one's last word."""

    @torch.no_grad()
    def make() -> dict[str, Tensor]:
        if len(text_names(checkpoint)) > 1:
            encoder = without_networks(checkpoint)
            encoded = encode_apart(checkpoint, encoder, texts, device=device)
        else:
            encoder = build_text_encoder(checkpoint, device=device)
            encoded = encoder(texts)
        first, others = encoded[torch.tensor([0])], encoded[torch.arange(1, len(texts))]
        encoded = join([encoder.unguided(first), others])
        stored = {_stored(name): value for name, value in encoded.tensors.items()}
        return {**stored, "last": encoder.last_words(texts)}

    made = cache.get("prompts", _prompts_key(checkpoint, texts), make) if cache else make()
    last = made.pop("last")
    return Condition({name.removeprefix(_ADDED): value for name, value in made.items()}), last


def _stored(name: str) -> str:
    """The name in the cache of a condition's tensor; `last` is taken."""
    return name if name == TOKENS else f"{_ADDED}{name}"


def _prompts_key(checkpoint: Checkpoint, texts: Sequence[str]) -> str:
    """All that decides how the prompts are encoded."""
    encoders: list[object] = []
    if checkpoint.classes is not None:
        encoders.append(["classes", list(checkpoint.classes.names), checkpoint.classes.nothing])
    for name, config in checkpoint.description.tokenizers().items():
        files = checkpoint.tokenizer_files(name)
        words = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        weights = weights_hash(checkpoint.components[encoder_of(name)])
        encoders.append([weights, dict(config), words])
    zeros = checkpoint.description.model_index.get("force_zeros_for_empty_prompt")
    return content_key(encoders=encoders, zeros=zeros, texts=list(texts), last=True)


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
