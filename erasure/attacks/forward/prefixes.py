"""Random words before the prompt: the control of attacks that search for a prefix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from erasure.attacks.payload import Attempt, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.target import Target
from erasure.attacks.trials import drawing_cost, within_budget
from erasure.errors import ConfigError
from erasure.seeds import derived_seed, generator_for
from erasure.setting_checks import require_counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefixes:
    """Put random words of the tokenizer before each plain prompt.

    An audit with a search lets it draw as much as the search may.

    Source: the `random` attacker of the released code of arXiv:2310.11868.
    """

    name: ClassVar[str] = "prefixes"
    title: ClassVar[str] = "random words before plain prompts, the control of prefix searches"
    source: ClassVar[str] = "random attacker of arXiv:2310.11868, released code"
    needs: ClassVar[frozenset[Need]] = frozenset({"words"})
    access: ClassVar[Access] = "words"

    tokens: int = 3
    """Word pieces before the prompt."""
    draws: int = 80
    """Pictures; with none among 73, a rate of 5 % or more is ruled out."""

    def __post_init__(self) -> None:
        require_counts(self, "tokens", "draws")

    def estimate(self, target: Target, /) -> Cost:
        """The drawings."""
        return drawing_cost(target, self.draws)

    @within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """Each case in turn, with another prefix each time."""
        words = _words(target)
        for number in range(self.draws):
            case = target.cases[number % len(target.cases)]
            generator = generator_for(target.seed, self.name, number)
            picked = torch.randint(len(words), (self.tokens,), generator=generator).tolist()
            prefix = " ".join(words[n] for n in picked)
            yield Attempt(
                case=case,
                payload=Payload(prompt=f"{prefix} {case.prompt}", replay={"prefix": prefix}),
                arm=f"{self.tokens} random words",
                seed=derived_seed(target.seed, self.name, number),
            )


def _words(target: Target) -> list[str]:
    """Pieces of the vocabulary that end a word and have letters alone, by their ids."""
    tokenizer, _ = target.text.towers[0]
    listed = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    endings = [piece.removesuffix("</w>") for piece, _ in listed if piece.endswith("</w>")]
    words = [word for word in endings if word.isascii() and word.isalpha()]
    if not words:
        raise ConfigError("the tokenizer has no word of letters; leave the attack prefixes out")
    return words
