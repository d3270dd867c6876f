"""What brings the concept back by itself, and which of it is published, as far as it is said."""

from erasure.checkpoints.wording import listed
from pipelines.audit.settings import PUBLISHED
from pipelines.audit.workshop import Workshop
from pipelines.early import EMBEDDED


def public_sentences(shop: Workshop) -> tuple[str, ...]:
    """A sentence each; without a full stop, as they are joined."""
    sentences = ["whoever has the base, or a patch that can be taken back, has the concept"]
    said = shop.recipe.published
    asked: tuple[str, ...] = PUBLISHED
    if shop.recipe.against in EMBEDDED:
        sentences.append("the base is shipped with this program, so everybody has it")
        asked = tuple(name for name in PUBLISHED if name != "base")
    there = [name for name in asked if name in said]
    left = [name for name in asked if name not in said]
    if not said:
        sentences.append(
            f"whether {listed(asked)} are published was not said, and is not known here"
        )
    elif not there:
        sentences.append(f"it is said that none of {', '.join(asked)} is published")
    else:
        others = f", and not {' or '.join(left)}" if left else ""
        sentences.append(f"it is said that of these are published: {', '.join(there)}{others}")
    if shop.guard("audited") is not None:
        sentences.append("the guard changes no weight, so whoever has the weights draws without it")
    return tuple(sentences)
