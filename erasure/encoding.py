"""From pictures and prompts to what an erasure reads, through the checkpoint's own encoders."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from erasure.cache import TensorCache, content_key
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import encoder_of
from erasure.checkpoints.family import SDXL
from erasure.denoiser import Condition, join
from erasure.errors import ConfigError, OutOfMemoryError
from erasure.hashing import weights_hash
from erasure.latents import ConceptData, LatentSet
from erasure.memory import memory_errors
from erasure.stable_diffusion import ImageEncoder, build_image_encoder, build_text_encoder
from erasure.text_encoders import with_size

_PIXELS: Final = 2**20
"""Of the pictures encoded in one pass, which has activations of 512 bytes a pixel and layer."""
_PICTURES: Final = 8
"""In one pass, at most."""


@dataclass(frozen=True, slots=True)
class PromptedPixels:
    """Pictures of one size with their prompts."""

    pixels: Tensor
    """(N, 3, H, W) uint8; kept as bytes, since float pictures of 512 pixels fill a memory."""
    prompts: Sequence[str]
    """N prompts."""

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.prompts):
            raise ConfigError(
                f"{len(self.pixels)} pictures have {len(self.prompts)} prompts; give one each"
            )


def encode_concept(
    checkpoint: Checkpoint,
    forget: PromptedPixels,
    replacements: Mapping[str, Sequence[str]],
    retain: PromptedPixels | None = None,
    *,
    device: torch.device | None = None,
    cache: TensorCache | None = None,
) -> ConceptData:
    """Encode everything once; both encoders are gone when it returns.

    Args:
        checkpoint: whose encoders are used, in float32.
        forget: pictures that show the concept.
        replacements: forget prompt -> prompts that may stand in for it. Where their numbers
            differ, shorter rows repeat in turn.
        retain: pictures of all else; None for none.
        device: where to encode; CPU if none.
        cache: keeps results by the content of pictures, prompts and encoders.

    Raises:
        ConfigError: a forget prompt has no replacement, or is its own.
        OutOfMemoryError: not even one picture a pass fits.
    """
    where = device or torch.device("cpu")
    if not len(forget.prompts):
        raise ConfigError("there is no picture to forget; give at least one")
    missing = sorted({p for p in forget.prompts if not replacements.get(p)})
    if missing:
        raise ConfigError(f"{missing[0]!r} has no replacement prompt; give at least one")
    if retain is not None and not len(retain.prompts):
        retain = None  # no encoder takes an empty batch
    kept = list(retain.prompts) if retain is not None else []
    stand_ins = [text for p in forget.prompts for text in replacements[p]]
    texts = list(dict.fromkeys(["", *forget.prompts, *stand_ins, *kept]))
    row = {text: index for index, text in enumerate(texts)}
    width = max(len(replacements[p]) for p in forget.prompts)
    table = [
        [row[replacements[p][k % len(replacements[p])]] for k in range(width)]
        for p in forget.prompts
    ]
    sets = [forget.pixels] if retain is None else [forget.pixels, retain.pixels]
    posteriors = _encode_pictures(checkpoint, sets, where, cache)
    forget_set = LatentSet(*posteriors[0], torch.tensor([row[p] for p in forget.prompts]))
    empty = (posteriors[0][0][:0], posteriors[0][1][:0])
    retain_set = LatentSet(
        *(posteriors[1] if retain is not None else empty),
        torch.tensor([row[p] for p in kept], dtype=torch.int64),
    )
    prompts = _encode_prompts(checkpoint, texts, where, cache)
    prompts = with_size(prompts, *_one_size(checkpoint, sets))
    return ConceptData(forget_set, torch.tensor(table), retain_set, prompts)


def _encode_pictures(
    checkpoint: Checkpoint,
    sets: Sequence[Tensor],
    device: torch.device,
    cache: TensorCache | None,
) -> list[tuple[Tensor, Tensor]]:
    # The config too: the same weights with another scaling factor give other latents.
    model = [weights_hash(checkpoint.components["vae"]), dict(checkpoint.description.vae)]

    def encode(pixels: Tensor) -> dict[str, Tensor]:
        encoder = build_image_encoder(checkpoint)
        encoder.network.to(device)
        mean, std = _in_passes(encoder, pixels)
        return {"mean": mean, "std": std}

    results = []
    for pixels in sets:
        digest = hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()
        key = content_key(model=model, pixels=digest, shape=list(pixels.shape))

        def make(chosen: Tensor = pixels) -> dict[str, Tensor]:
            return encode(chosen)

        found = cache.get("latents", key, make) if cache else make()
        results.append((found["mean"], found["std"]))
    return results


def _in_passes(encoder: ImageEncoder, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled mean and deviation, (N, C, h, w), of bytes; fewer at a time where memory is short."""
    size = max(1, min(_PICTURES, _PIXELS // (pixels.shape[2] * pixels.shape[3])))
    means, stds, start = [], [], 0
    while start < len(pixels):
        try:
            with memory_errors("with one picture a pass"):
                mean, std = encoder(pixels[start : start + size].float() / 127.5 - 1)
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
) -> Condition:
    """The prompts, the first of them the empty one, as the model is told it without guidance."""

    def make() -> dict[str, Tensor]:
        encoder = build_text_encoder(checkpoint).to(device)
        told = encoder(texts)
        first, others = told[torch.tensor([0])], told[torch.arange(1, len(texts))]
        told = join([encoder.unguided(first), others])
        return {"tokens": told.tokens} | {f"added.{k}": v for k, v in told.added.items()}

    made = cache.get("prompts", _prompts_key(checkpoint, texts), make) if cache else make()
    prefix = "added."
    added = {k.removeprefix(prefix): v for k, v in made.items() if k.startswith(prefix)}
    return Condition(made["tokens"], added)


def _prompts_key(checkpoint: Checkpoint, texts: Sequence[str]) -> str:
    """All that decides how the prompts are encoded."""
    encoders = []
    for name, config in checkpoint.description.tokenizers().items():
        files = checkpoint.tokenizer_files(name)
        words = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        weights = weights_hash(checkpoint.components[encoder_of(name)])
        encoders.append([weights, dict(config), words])
    zeros = checkpoint.description.model_index.get("force_zeros_for_empty_prompt")
    return content_key(encoders=encoders, zeros=zeros, texts=list(texts))


def _one_size(checkpoint: Checkpoint, sets: Sequence[Tensor]) -> tuple[int, int]:
    """Height and width of all pictures, which SD XL is told; the others may mix them."""
    sizes = {(pixels.shape[2], pixels.shape[3]) for pixels in sets}
    if len(sizes) > 1 and checkpoint.family is SDXL:
        named = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise ConfigError(f"the pictures are {named} pixels; {SDXL.title} needs one size for all")
    height, width = sets[0].shape[2:]
    return height, width
