"""Prompts read by one text encoder after the other, so that no two are in memory together."""

# L tokens, D text features.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from erasure.architectures.loading import OnDevice, on_device
from erasure.architectures.text.text_encoders import TokenIds
from erasure.diffusion.denoiser import Condition, join

if TYPE_CHECKING:
    from erasure.architectures.encoders import PromptEncoder
    from erasure.checkpoints.checkpoint import Checkpoint

_META: Final = torch.device("meta")
_CPU: Final = torch.device("cpu")
TOGETHER: Final = 64 * 77
"""Tokens that are read in one pass: 64 prompts of CLIP's, 9 of T5's 512."""


LARGE: Final = 10**9
"""Weights of all text encoders, from which on they do not stay beside a network that draws: those
of SD XL together are 0.8 billion, T5 alone is 4.8."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is kept of a network's answer; all on the CPU."""

    hidden_states: tuple[Tensor, None]
    """(B, L, D) of the layer before the last, where a list of all layers has it."""
    last_hidden_state: Tensor
    """(B, L, D)"""
    text_embeds: Tensor | None
    pooler_output: Tensor | None

    @classmethod
    def of(cls, answer: Any) -> "_Answer":  # noqa: ANN401
        """Take it off the device."""
        pooled = [getattr(answer, name, None) for name in ("text_embeds", "pooler_output")]
        return cls(
            (answer.hidden_states[-2].cpu(), None),
            answer.last_hidden_state.cpu(),
            *(None if one is None else one.cpu() for one in pooled),
        )


class _Answered:
    """In the place of a network that has answered already and is gone."""

    device = torch.device("cpu")

    def __init__(self, config: Any, answers: Iterator[_Answer]) -> None:  # noqa: ANN401
        self.config, self._answers = config, answers

    def __call__(self, *_: object, **__: object) -> _Answer:
        return next(self._answers)


def without_networks(checkpoint: "Checkpoint", dtype: torch.dtype = torch.float32) -> Any:  # noqa: ANN401
    """The checkpoint's text encoders without a single weight: they can cut prompts into tokens.

    Raises:
        CheckpointError: there is no vocabulary, or it cannot be read.
    """
    empty = _only(checkpoint, "", text_names(checkpoint))
    return checkpoint.architecture.build_text_encoder(empty, dtype)


def text_names(checkpoint: "Checkpoint") -> list[str]:
    """The text encoders that a checkpoint has, in the order of the family's towers."""
    parts = checkpoint.architecture.parts
    names = [part.component for part in parts if part.is_text]
    return [name for name in names if name in checkpoint.components]


def stays_apart(checkpoint: "Checkpoint") -> bool:
    """Whether the text encoders are too large to stay beside the network while it draws."""
    names = text_names(checkpoint)
    sizes = [w.numel() for name in names for w in checkpoint.components[name].values()]
    return len(names) > 1 and sum(sizes) >= LARGE


@torch.no_grad()
def encode_apart(
    checkpoint: "Checkpoint",
    encoder: Any,  # noqa: ANN401
    prompts: Sequence[str],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device,
    alone: bool = False,
) -> Condition:
    """Encode prompts as the checkpoint's text encoders do, of which each is gone before the next is
    read from its file.

    Args:
        encoder: what `without_networks` made, of a family with several text encoders.
        alone: read each prompt in a pass of its own, for last bits that do not depend on which
            prompts came together.

    Returns:
        The condition of all prompts, float32 on the CPU.
    """
    names = text_names(checkpoint)
    batches = list(_batches(encoder, prompts, alone=alone))
    networks = []
    for number, name in enumerate(names):
        one = _only(on_device(checkpoint, device), name, names)
        made = checkpoint.architecture.build_text_encoder(one, dtype).towers[number][1]
        network = made.to(device)
        answers = [_answer(network, tokens[number]) for tokens in batches]
        networks.append(_Answered(network.config, iter(answers)))
        del made, network
    reading = replace(encoder, networks=tuple(networks))
    return join([reading.encode(tokens).to(_CPU, torch.float32) for tokens in batches])


def _answer(network: Any, words: TokenIds) -> _Answer:  # noqa: ANN401
    return _Answer.of(network(words.ids.to(network.device), output_hidden_states=True))


def _batches(
    encoder: Any,  # noqa: ANN401
    prompts: Sequence[str],
    *,
    alone: bool,
) -> Iterator[tuple[TokenIds, ...]]:
    """The tokens of all prompts, as many together as a pass reads."""
    longest = max(words.ids.shape[1] for words in encoder.tokenize(prompts[:1]))
    size = 1 if alone else max(1, TOGETHER // longest)
    for start in range(0, len(prompts), size):
        yield encoder.tokenize(prompts[start : start + size])


def _only(checkpoint: "Checkpoint", name: str, texts: Sequence[str]) -> "Checkpoint":
    """The checkpoint with the weights of one text encoder, and those of the others without
    contents, under which a network of theirs takes no memory."""
    components: dict[str, Mapping[str, Tensor]] = dict(checkpoint.components)
    for other in texts:
        if other != name:
            components[other] = OnDevice(checkpoint.components[other], _META)
    return replace(checkpoint, components=components)


class ApartText:
    """Text encoders that are in memory only while they read, one after the other; for drawing.

    Each prompt is read in a pass of its own and remembered; `read` reads several at once.
    """

    def __init__(self, checkpoint: "Checkpoint", dtype: torch.dtype, device: torch.device) -> None:
        self._checkpoint, self._dtype, self._device = checkpoint, dtype, device
        self._words = without_networks(checkpoint, dtype)
        self._known: dict[str, Condition] = {}
        self._whole: PromptEncoder | None = None

    def read(self, prompts: Sequence[str]) -> None:
        """Encode those of the prompts that are not remembered."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if not new:
            return
        made = encode_apart(
            self._checkpoint, self._words, new, dtype=self._dtype, device=self._device, alone=True
        )
        for number, prompt in enumerate(new):
            self._known[prompt] = made[torch.tensor([number])]

    def __call__(self, prompts: Sequence[str], batch_size: int = 64) -> Condition:
        """Encode prompts into a condition of as many rows, float32 on CPU."""
        self.read(prompts)
        return join([self._known[prompt] for prompt in prompts])

    def tokenize(self, prompts: Sequence[str]) -> Sequence[TokenIds]:
        """Cut B prompts into tokens, on CPU: one entry for each text encoder."""
        made: Sequence[TokenIds] = self._words.tokenize(prompts)
        return made

    def last_words(self, prompts: Sequence[str]) -> Tensor:
        """Find the place of each prompt's last word piece among its tokens, (len(prompts),)."""
        made: Tensor = self._words.last_words(prompts)
        return made

    def unguided(self, empty: Condition) -> Condition:
        """Make what guidance leads away from out of the encoded empty prompt."""
        made: Condition = self._words.unguided(empty)
        return made

    @property
    def towers(self) -> Sequence[tuple[Any, Any]]:
        """The tokenizer and the network of each text encoder, all of which then stay."""
        return self._all().towers

    def embed(self, tokens: Sequence[TokenIds]) -> Sequence[Tensor]:
        """Look up what each network reads at each token; all networks then stay."""
        return self._all().embed(tokens)

    def encode(
        self, tokens: Sequence[TokenIds], embeddings: Sequence[Tensor] | None = None
    ) -> Condition:
        """Encode tokens, or other embeddings in their place; all networks then stay."""
        return self._all().encode(tokens, embeddings)

    def to(self, device: torch.device) -> "ApartText":
        """Read on another device from now on."""
        self._device = device
        if self._whole is not None:
            self._whole.to(device)
        return self

    def _all(self) -> "PromptEncoder":
        if self._whole is None:
            there = on_device(self._checkpoint, self._device)
            made = self._checkpoint.architecture.build_text_encoder(there, self._dtype)
            self._whole = made.to(self._device)
        return self._whole
