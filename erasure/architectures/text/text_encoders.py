"""From prompts to conditions, through one text encoder or the two of Stable Diffusion XL.

The way has three steps, `tokenize`, `embed` and `encode`, so that a caller may put other
embeddings in the place of those that the words have. None of them switches gradients off; a
caller that needs none does so itself.
"""

# B samples, L tokens, E embedding features, D text features, P pooled ones.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import torch
from torch import Tensor, nn

from erasure.diffusion.denoiser import TOKENS, Condition, join
from erasure.errors import ConfigError

POOLED: Final = "text_embeds"
TIME_IDS: Final = "time_ids"
"""Names in a condition of what SD XL is told besides tokens, as its UNet calls them."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """B prompts as the tokenizer of one text encoder cuts them."""

    ids: Tensor
    """(B, L) int64, cut to the tokenizer's length or filled up to it."""
    attended: Tensor
    """(B, L) int64, 0 where it was filled up, else 1."""


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Turns prompts into conditions."""

    tokenizer: Any
    """CLIPTokenizer"""
    network: Any
    """CLIPTextModel"""

    @property
    def towers(self) -> tuple[tuple[Any, Any], ...]:
        """The tokenizer and the network."""
        return ((self.tokenizer, self.network),)

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts, cut to the tokenizer's length -> (len(prompts), L, D), float32 on CPU."""
        return in_parts(self, prompts, batch_size)

    def tokenize(self, prompts: Sequence[str]) -> tuple[TokenIds]:
        """Look up the tokens of B prompts, on CPU."""
        return (tokenize(self.tokenizer, prompts),)

    def embed(self, tokens: Sequence[TokenIds]) -> tuple[Tensor]:
        """What the network reads at each token, before it adds the place: (B, L, E)."""
        (words,) = tokens
        return (embed(self.network, words),)

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """The condition of B prompts, float32 on the network's device.

        Args:
            embeddings: what to read in the place of `embed(tokens)`; gradients reach it. The
                tokens still say where a prompt ends.

        Raises:
            ConfigError: the embeddings have another shape than `embed(tokens)`.
        """
        (words,) = tokens
        (instead,) = (None,) if embeddings is None else embeddings
        mask = None
        if getattr(self.network.config, "use_attention_mask", False):
            mask = words.attended.to(self.network.device)
        with reading(self.network, instead):
            output = self.network(words.ids.to(self.network.device), attention_mask=mask)
        return Condition({TOKENS: output.last_hidden_state.float()})

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among its tokens, (len(prompts),) int64."""
        return last_words(self.tokenizer, prompts)

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: that prompt."""
        return empty

    def to(self, device: torch.device) -> Self:
        """Moved, in place."""
        self.network.to(device)
        return self


@dataclass(frozen=True, slots=True)
class Towers:
    """Several text encoders in the order of their components, each with its tokenizer."""

    tokenizers: tuple[Any, ...]
    networks: tuple[Any, ...]

    @property
    def towers(self) -> tuple[tuple[Any, Any], ...]:
        """The tokenizer and the network of each."""
        return tuple(zip(self.tokenizers, self.networks, strict=True))

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Prompts, cut to the tokenizers' length -> tokens (len(prompts), L, D) and pooled
        features (len(prompts), P), float32 on CPU."""
        return in_parts(self, prompts, batch_size)

    def tokenize(self, prompts: Sequence[str]) -> tuple[TokenIds, ...]:
        """Look up the tokens of B prompts, on CPU; each tokenizer fills up with its own token."""
        return tuple(tokenize(one, prompts) for one in self.tokenizers)

    def embed(self, tokens: Sequence[TokenIds]) -> tuple[Tensor, ...]:
        """What each network reads at each token, before it adds the place: (B, L, E) of each."""
        return tuple(embed(one, words) for one, words in zip(self.networks, tokens, strict=True))

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """The condition of B prompts, float32 on the networks' device.

        Args:
            embeddings: what to read in the place of `embed(tokens)`, one for each network;
                gradients reach all. The tokens still say where a prompt ends.

        Raises:
            ConfigError: the embeddings have other shapes than `embed(tokens)`.
        """
        raise NotImplementedError

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Place of each prompt's last word piece among the first one's tokens, (len(prompts),)
        int64."""
        return last_words(self.tokenizers[0], prompts)

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: that prompt."""
        return empty

    def to(self, device: torch.device) -> Self:
        """Moved, in place."""
        for network in self.networks:
            network.to(device)
        return self

    def _outputs(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None
    ) -> list[Any]:
        """What each network makes; no token is masked, as padding takes part in these families."""
        made = []
        nothing = (None,) * len(self.networks)
        for network, words, instead in zip(
            self.networks, tokens, embeddings or nothing, strict=True
        ):
            with reading(network, instead):
                made.append(network(words.ids.to(network.device), output_hidden_states=True))
        return made


@dataclass(frozen=True, slots=True)
class TextEncoderPair(Towers):
    """Turns prompts into conditions through the two text encoders of SD XL.

    Tokens are the features before the last layer of both, side by side; the second one's pooled
    and projected feature is added, as `StableDiffusionXLPipeline` does. Both tokenizers have the
    same words, so one place of a word serves for both. The picture's size is still to be told, see
    `with_size`.

    Source: arXiv:2307.01952, section 2.1.
    """

    zeros_unguided: bool = True
    """`force_zeros_for_empty_prompt`: guidance leads away from zeros, not from the empty prompt."""

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """See `Towers.encode`."""
        first, second = self._outputs(tokens, embeddings)
        features = [one.hidden_states[-2].float() for one in (first, second)]
        pooled = second.text_embeds.float()
        return Condition({TOKENS: torch.cat(features, dim=-1), POOLED: pooled})

    def unguided(self, empty: Condition) -> Condition:
        """What guidance leads away from, given the encoded empty prompt: zeros, or that prompt."""
        if not self.zeros_unguided:
            return empty
        return Condition({n: torch.zeros_like(value) for n, value in empty.tensors.items()})


def encode_with(
    text: Any,  # noqa: ANN401
    tokens: Sequence[TokenIds],
    places: Tensor,
    vectors: Sequence[Tensor],
) -> Condition:
    """The condition of B prompts with vectors at some places among their tokens.

    Args:
        text: an `erasure.architectures.encoders.PromptEncoder`.
        tokens: one (B, L) for each of them.
        places: (B, k) int64.
        vectors: one (B, k, E) for each of them; gradients reach these.
    """
    embeddings = []
    for words, instead in zip(text.embed(tokens), vectors, strict=True):
        at = places.to(words.device)[..., None].expand(-1, -1, words.shape[-1])
        embeddings.append(words.scatter(1, at, instead.to(words)))
    made: Condition = text.encode(tokens, embeddings)
    return made


def with_size(condition: Condition, height: int, width: int) -> Condition:
    """Tell SD XL the size of its pictures, in pixels, neither scaled nor cropped; others unchanged.

    Source: arXiv:2307.01952, section 2.2: original size, upper left corner of the crop, size.
    """
    if POOLED not in condition.tensors:
        return condition
    ids = torch.tensor([height, width, 0, 0, height, width]).to(condition.tensors[POOLED])
    ids = ids.repeat(len(condition), 1)  # (B, 6)
    return condition.having(**{TIME_IDS: ids})


class Encodes(Protocol):
    """What encodes prompts by way of their tokens."""

    def tokenize(self, prompts: Sequence[str]) -> Sequence[TokenIds]:
        """Look up the tokens of B prompts."""
        ...

    def encode(self, tokens: Sequence[TokenIds]) -> Condition:
        """Make the condition of B prompts."""
        ...


def in_parts(encoder: Encodes, prompts: Sequence[str], size: int) -> Condition:
    """Encode all prompts, `size` in a pass; float32 on CPU."""
    cpu = torch.device("cpu")
    parts = []
    for start in range(0, len(prompts), size):
        tokens = encoder.tokenize(prompts[start : start + size])
        parts.append(encoder.encode(tokens).to(cpu, torch.float32))
    return join(parts)


def tokenize(tokenizer: Any, prompts: Sequence[str]) -> TokenIds:  # noqa: ANN401
    """Cut B prompts by one tokenizer, all to its length."""
    made = tokenizer(list(prompts), padding="max_length", truncation=True, return_tensors="pt")
    return TokenIds(made.input_ids, made.attention_mask)


def embed(network: Any, words: TokenIds) -> Tensor:  # noqa: ANN401
    """What a network reads at each token: (B, L, E)."""
    made: Tensor = _table(network)(words.ids.to(network.device))
    return made


def _table(network: Any) -> Any:  # noqa: ANN401
    """The module that looks tokens up; T5 has a second one of the same weights that is not read."""
    stack = getattr(network, "encoder", None)
    return getattr(stack, "embed_tokens", None) or network.get_input_embeddings()


@contextmanager
def reading(network: Any, instead: Tensor | None) -> Iterator[None]:  # noqa: ANN401
    """Let the network read other embeddings, (B, L, E), than those of its table, in a block."""
    if instead is None:
        yield
        return

    def replaced(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if instead.shape != output.shape:
            raise ConfigError(
                f"embeddings have shape {tuple(instead.shape)}; give {tuple(output.shape)}, as "
                "`embed` does for these tokens"
            )
        return instead.to(output)

    handle = _table(network).register_forward_hook(replaced)
    try:
        yield
    finally:
        handle.remove()


def last_words(tokenizer: Any, prompts: Sequence[str]) -> Tensor:  # noqa: ANN401
    """Place of the token before the end-of-text token, (len(prompts),) int64; 0 where there is no
    word."""
    ids = tokenizer(list(prompts), truncation=True).input_ids
    return torch.tensor([max(0, len(row) - 2) for row in ids])
