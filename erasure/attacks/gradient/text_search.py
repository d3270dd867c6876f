"""What the searches share that ask the text encoder alone and no diffusion model."""

from dataclasses import dataclass
from typing import ClassVar

from erasure.attacks.gradient.prompt_search import PromptSearch
from erasure.attacks.protocol import Access, Need


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSearch(PromptSearch):
    """A search for words in the place of the prompt.

    The text encoder is that of the model under attack, as its network reads no other. Anybody has
    it where the erasure left it alone, so the search stands with the words; one that was edited and
    is not published is asked here all the same.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"words"})
    access: ClassVar[Access] = "words"
    replaces: ClassVar[bool] = True
    sees_pictures: ClassVar[bool] = False

    tokens: int = 8
    """k, words of the text."""
    rounds: int = 4
    """Times that the best text is drawn."""
    prompts: int = 3
    """P, most different prompts that are searched."""
