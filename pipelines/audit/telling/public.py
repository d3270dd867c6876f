"""What brings the concept back by itself, and which of it is published, as far as it is said."""

from pipelines.audit.settings import NOTHING, PUBLISHED
from pipelines.audit.workshop import Workshop
from pipelines.early import DEMO


def public_sentences(shop: Workshop) -> tuple[str, ...]:
    """A sentence each; without a full stop, as they are joined."""
    sentences = ["whoever has the base, or a patch that can be taken back, has the concept"]
    said = shop.recipe.published
    if not said:
        sentences.append(
            "whether base, patch and mask are published was not said, and is not known here"
        )
    elif NOTHING in said:
        sentences.append(f"it is said that none of {', '.join(PUBLISHED)} is published")
    else:
        left = [name for name in PUBLISHED if name not in said]
        others = f", and not {' or '.join(left)}" if left else ""
        there = [name for name in PUBLISHED if name in said]
        sentences.append(f"it is said that of these are published: {', '.join(there)}{others}")
    if shop.recipe.against == DEMO:
        sentences.append("the base is shipped with this program, so everybody has it")
    if shop.guard("audited") is not None:
        sentences.append("the guard changes no weight, so whoever has the weights draws without it")
    return tuple(sentences)
