"""Prompts for models that read a language model's features: framed as a message of a chat.

Source: `encode_prompt` of diffusers' `Flux2KleinPipeline`, `ZImagePipeline`, `QwenImagePipeline`.
"""

# B samples, L tokens, E embedding features, D text features.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from erasure.architectures.text.text_encoders import TokenIds, embed, in_parts, reading
from erasure.diffusion.denoiser import TOKENS, Condition

ATTENDED: Final = "attended"
"""Name in a condition of which tokens are words, (B, L) int64, where padding takes no part."""
_AT_ONCE: Final = 4
"""Prompts a pass: the features of all layers of a model of 4 billion weights have 0.2 GB each."""
_ONE: Final = "<|im_start|>"
_END: Final = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Chat:
    """What stands around a prompt, and how much of all that is read."""

    before: str
    after: str
    length: int
    """Tokens to which prompt and frame are cut or filled up."""
    dropped: int = 0
    """Tokens at the beginning that the transformer is not told."""
    marks: tuple[str, ...] = ()
    """What the chat template of the tokenizer must hold, where the pipeline uses it."""


def user_chat(length: int, *, silent: bool) -> Chat:
    """One message of a user, as the template of Qwen3 frames it.

    Args:
        length: tokens of prompt and frame.
        silent: whether an empty thought is put before the answer, so that none is thought.
    """
    thought = "<think>\n\n</think>\n\n"
    return Chat(
        f"{_ONE}user\n",
        f"{_END}\n{_ONE}assistant\n{thought if silent else ''}",
        length,
        marks=(_ONE, _END, "</think>") if silent else (_ONE, _END),
    )


def described_chat(length: int, dropped: int) -> Chat:
    """The frame of Qwen-Image, which asks for a description; its first tokens are not told on."""
    return Chat(
        f"{_ONE}system\nDescribe the image by detailing the color, shape, size, texture, quantity, "
        f"text, spatial relationships of the objects and background:{_END}\n{_ONE}user\n",
        f"{_END}\n{_ONE}assistant\n",
        length + dropped,
        dropped,
    )


def layers_side_by_side(*layers: int) -> Callable[[Sequence[Tensor]], Tensor]:
    """Read what several layers made, (B, L, E) each, as one row of features a token."""
    return lambda states: torch.cat([states[layer] for layer in layers], dim=-1)


@dataclass(frozen=True, slots=True)
class ChatText:
    """One language model, of which the features of some layers are read."""

    tokenizer: Any
    """Qwen2TokenizerFast"""
    network: Any
    chat: Chat
    read: Callable[[Sequence[Tensor]], Tensor]
    """Gives (B, L, D) of what the embedding and each layer made."""
    padded: bool
    """Whether the tokens that fill a prompt up are told like any others; else they are marked."""

    @property
    def towers(self) -> tuple[tuple[Any, Any], ...]:
        """The tokenizer and the network."""
        return ((self.tokenizer, self.network),)

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts -> tokens (len(prompts), L, D), float32 on CPU, and which of them are words."""
        return in_parts(self, prompts, min(batch_size, _AT_ONCE))

    def tokenize(self, prompts: Sequence[str]) -> tuple[TokenIds]:
        """Look up the tokens of B framed prompts, on CPU."""
        framed = [f"{self.chat.before}{prompt}{self.chat.after}" for prompt in prompts]
        made = self.tokenizer(
            framed,
            padding="max_length",
            max_length=self.chat.length,
            truncation=True,
            return_tensors="pt",
        )
        return (TokenIds(made.input_ids, made.attention_mask),)

    def embed(self, tokens: Sequence[TokenIds]) -> tuple[Tensor]:
        """What the network reads at each token: (B, L, E)."""
        (words,) = tokens
        return (embed(self.network, words),)

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """The condition of B prompts, float32 on the network's device.

        Args:
            embeddings: what to read in the place of `embed(tokens)`.

        Raises:
            ConfigError: the embeddings have another shape than `embed(tokens)`.
        """
        (words,) = tokens
        (instead,) = (None,) if embeddings is None else embeddings
        attended = words.attended.to(self.network.device)
        inner = getattr(self.network, "model", self.network)  # what a head says is not read
        with reading(self.network, instead):
            output = inner(
                input_ids=words.ids.to(self.network.device),
                attention_mask=attended,
                output_hidden_states=True,
                use_cache=False,
            )
        features = self.read(output.hidden_states).float()  # (B, L, D)
        if self.padded:
            return Condition({TOKENS: features})
        return self._words_first(features, attended)

    def _words_first(self, features: Tensor, attended: Tensor) -> Condition:
        """Words alone, without the dropped ones, and zeros behind them."""
        length = self.chat.length - self.chat.dropped
        tokens = features.new_zeros(len(features), length, features.shape[-1])
        marks = attended.new_zeros(len(features), length)
        for n, (row, mask) in enumerate(zip(features, attended.bool(), strict=True)):
            words = row[mask][self.chat.dropped :]
            tokens[n, : len(words)] = words
            marks[n, : len(words)] = 1
        return Condition({TOKENS: tokens, ATTENDED: marks})

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among its tokens, (len(prompts),) int64; of an
        empty prompt that of the frame before it."""
        (words,) = self.tokenize(prompts)
        begun = [f"{self.chat.before}{prompt}" for prompt in prompts]
        counts = [len(ids) for ids in self.tokenizer(begun).input_ids]
        first = words.attended.argmax(1) if self.padded else torch.zeros(len(prompts)).long()
        last = torch.tensor(counts).clamp_max(self.chat.length) - 1 - self.chat.dropped
        return (first + last).clamp(0, self.chat.length - self.chat.dropped - 1)

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: that prompt."""
        return empty

    def to(self, device: torch.device) -> "ChatText":
        """Moved, in place."""
        self.network.to(device)
        return self
