"""Prompts to conditions, kept under a hash of what made them."""

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.building import build_text_encoder
from erasure.architectures.labels.label_encoder import with_no_class
from erasure.architectures.text.apart import encode_apart, text_names, without_networks
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.description import encoder_of
from erasure.diffusion.denoiser import TOKENS, Condition, join
from erasure.storage.cache import TensorCache, content_key
from erasure.storage.tensors.hashing import weights_hash

_ADDED: Final = "added."
"""What the names of a condition's tensors begin with in the cache, but for the tokens."""


def encode_prompts(
    checkpoint: Checkpoint, texts: Sequence[str], device: torch.device, cache: TensorCache | None
) -> tuple[Condition, Tensor]:
    """The prompts, the first of them the empty one, as the model is told it without guidance; and
    the place of each one's last word."""

    classes = checkpoint.classes

    @torch.no_grad()
    def make() -> dict[str, Tensor]:
        if len(text_names(checkpoint)) > 1:
            encoder = without_networks(checkpoint)
            encoded = encode_apart(checkpoint, encoder, texts, device=device)
        else:
            encoder = build_text_encoder(checkpoint, device=device)
            lacks = classes is not None and classes.nothing is None
            encoded = with_no_class(encoder(texts[1:])) if lacks else encoder(texts)
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
    """All that decides how the prompts are encoded: families that share their text encoders fill
    prompts up to lengths of their own, and place them by the width of the main component."""
    encoders: list[object] = []
    if checkpoint.classes is not None:
        encoders.append(["classes", list(checkpoint.classes.names), checkpoint.classes.nothing])
    for name, config in checkpoint.description.tokenizers().items():
        files = checkpoint.tokenizer_files(name)
        words = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        weights = weights_hash(checkpoint.components[encoder_of(name)])
        encoders.append([weights, dict(config), words])
    zeros = checkpoint.description.model_index.get("force_zeros_for_empty_prompt")
    family = checkpoint.architecture
    width = checkpoint.description.components[family.main].get("joint_attention_dim")
    return content_key(
        family=family.key,
        width=width,
        encoders=encoders,
        zeros=zeros,
        texts=list(texts),
        last=True,
    )
