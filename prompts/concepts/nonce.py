"""Put words that mean nothing in a concept's place.

A model that was trained without a concept has never learned its word, so it answers to it as to any
word that it never learned; and that answer can be asked of the base, with nothing trained anew.
"""

from dataclasses import replace
from typing import Final

from prompts.concepts.phrases import bare, swap
from prompts.concepts.plan import ConceptPlan
from prompts.errors import PromptError

NONCE: Final = "nonce"
"""What `instead` says for these words."""
NONCE_WORDS: Final = ("blicket", "dax", "fep", "gazzer", "koba", "tulver", "tupa", "zav")
"""Words of two or three tokens that name nothing, as studies of how children learn words coin them.
Several, since a token may have learned something from another word: the embedded checkpoint draws a
frog for `wug`, which ends as `frog` does."""


def with_nonce_words(plan: ConceptPlan) -> ConceptPlan:
    """The plan with each prompt's own wording, a nonce word in the place of what it names.

    A prompt of the user's that does not name the concept gets what stands in for the first of the
    plan's own prompts.

    Raises:
        PromptError: none of its prompts names the concept, as those of nudity.
    """
    own = {prompt: _put(prompt, plan.erased) for prompt in plan.forget}
    first = next((stand_ins for stand_ins in own.values() if stand_ins), None)
    if first is None:
        raise PromptError(
            f"no word can stand in for {plan.concept!r}, as its prompts, such as "
            f"{plan.forget[0]!r}, do not name it; give a prompt to see in its place"
        )
    return replace(plan, replacement={prompt: own[prompt] or first for prompt in own})


def _put(prompt: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The prompt with each nonce word in the place of the first of these names that it holds; empty
    where it holds none."""
    for name in names:
        swapped = [swap(prompt, _spoken(name), word) for word in NONCE_WORDS]
        if any(swapped):
            return tuple(text for text in swapped if text is not None)
    return ()


def _spoken(name: str) -> str:
    """As it stands in a prompt: without its article, `Van_Gogh` of UnlearnCanvas as two words."""
    return bare(name).replace("_", " ")
