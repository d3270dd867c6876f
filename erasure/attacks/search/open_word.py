"""The concept's name in plain prompts, left open for one learned embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from erasure.attacks.payload import Case, Payload, Rows
from erasure.attacks.search.slots import Slots, opened, slots_of
from erasure.attacks.search.soft_row import Vectors, row_of
from erasure.attacks.search.vocabulary import Vocabulary, vocabulary_of
from erasure.attacks.target import Target
from erasure.diffusion.denoiser import Denoiser


@dataclass(frozen=True, slots=True, eq=False)
class OpenWord:
    """Where a row goes in a model that reads text."""

    target: Target
    words: Vocabulary
    lessons: Slots

    @property
    def denoise(self) -> Denoiser:
        """The network as it is: the row comes with the condition."""
        return self.target.denoise

    def start(self, own: bool, chance: int) -> Vectors:
        """The last word of the concept's own name, of a group that of its first thing, or any word,
        by a number of chance."""
        pieces = self.words.cut(self.target.concept.called[0])
        if own and pieces:
            return row_of(self.lessons, pieces[-1])
        return row_of(self.lessons, int(self.words.ids[chance % len(self.words)]))

    def payload(self, case: Case, vectors: Vectors, replay: Mapping[str, Any]) -> Payload:
        """Draw a case with the row in the name's place."""
        template = opened(case.prompt, *self.target.concept.called)
        slots = slots_of(self.target.text, [template], 1, self.words, size=self.target.size)
        rows = Rows((int(slots.places[0, 0]),), vectors)
        return Payload(prompt=slots.prompts[0], rows=rows, replay=replay)


def open_word(target: Target) -> OpenWord:
    """Open the name in the plain prompts of the concept.

    Raises:
        ConfigError: as `slots_of`.
    """
    words = vocabulary_of(target.text)
    templates = dict.fromkeys(opened(p, *target.concept.called) for p in target.concept.prompts)
    return OpenWord(
        target, words, slots_of(target.text, list(templates), 1, words, size=target.size)
    )
