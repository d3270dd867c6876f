"""CLIP's text encoders and tokenizers, as transformers has them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.loading import fill, unfilled
from erasure.architectures.text.tokenizer_files import opened, without_rules
from erasure.checkpoints.description import encoder_of
from erasure.errors import CheckpointError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint

CLIP_WINDOW: Final = 77
"""Tokens that CLIP's text encoder reads, where its config does not say."""
_LEAST: Final = 3
"""Tokens of a prompt of one word: it has a beginning and an end."""


def clip_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the text encoder that a config of transformers describes."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig.from_dict(dict(config)))


def projected_clip_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the same with a projection of the pooled feature behind it."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig.from_dict(dict(config)))


def build_tower(checkpoint: "Checkpoint", component: str, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Build one text encoder on CPU, in evaluation mode."""
    config = checkpoint.description.components[component]
    network = unfilled(checkpoint.architecture.part(component).build, config)
    expected = network.state_dict()
    weights = {}
    for name, value in checkpoint.components[component].items():
        # transformers 5.6 flattened CLIPTextModel; older ones keep the prefix.
        short = name.removeprefix("text_model.")
        weights[short if short in expected else name] = value.to(dtype)
    fill(network, weights, component)
    for module in network.modules():
        ids = getattr(module, "position_ids", None)
        if isinstance(ids, Tensor) and ids.is_meta:  # a buffer that no file holds
            module.position_ids = torch.arange(ids.shape[-1]).expand(1, -1)
    return network


def build_tokenizers(checkpoint: "Checkpoint") -> tuple[Any, ...]:
    """Build a CLIPTokenizer for each text encoder."""
    return tuple(build_tokenizer(checkpoint, name) for name in checkpoint.description.tokenizers())


def build_tokenizer(checkpoint: "Checkpoint", name: str) -> Any:  # noqa: ANN401
    """Build the CLIPTokenizer of one of the checkpoint's vocabularies.

    Raises:
        CheckpointError: there is no vocabulary, or it cannot be read, or it has room for no word.
    """
    from transformers import CLIPTokenizer

    files = without_rules(checkpoint.tokenizer_files(name))
    tokenizer = opened(CLIPTokenizer, files, "the tokenizer", str(checkpoint.path))
    # Prompts are padded to its length, and a file may name one that no memory holds.
    window = checkpoint.description.components[encoder_of(name)].get("max_position_embeddings")
    if not isinstance(window, int):
        window = CLIP_WINDOW
    tokenizer.model_max_length = int(min(_length_of(tokenizer, checkpoint), window))
    return tokenizer


def _length_of(tokenizer: Any, checkpoint: "Checkpoint") -> float:  # noqa: ANN401
    """Tokens that its file says it cuts prompts to; a number that no model has where it says none.

    Raises:
        CheckpointError: it is no number, or has no place for a word between both ends.
    """
    length = tokenizer.model_max_length
    if not isinstance(length, int | float) or not length >= _LEAST:  # of NaN too
        raise CheckpointError(
            f"the tokenizer of {checkpoint.path} has the model_max_length {str(length)[:80]!r}; "
            "give a whole number from 3 in its tokenizer_config.json, or fetch it again"
        )
    return length
