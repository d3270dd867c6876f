"""What of a prompt the model would not see or not understand: refused, or counted and told."""

import logging
from collections.abc import Iterable, Sequence

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.token_window import token_window
from erasure.errors import ConfigError
from prompts.concepts.plan import ConceptPlan
from prompts.concepts.syntax import foreign_syntax

_log = logging.getLogger(__name__)


def check_plan(plan: ConceptPlan, checkpoint: Checkpoint) -> None:
    """Refuse a plan with a prompt whose end the text encoder does not read; hint at foreign syntax.

    Raises:
        ConfigError: a prompt to forget, to see in its place or to retain is too long.
    """
    stand_ins = [text for texts in plan.replacement.values() for text in texts]
    rows = [t for r in plan.rows for t in (r.target, r.positive, r.unconditional, r.neutral)]
    roles = {
        "to forget": plan.forget,
        "to see instead": stand_ins,
        "to retain": plan.retain,
        "in a row": rows,
    }
    window = token_window(checkpoint)
    for prompts in roles.values():
        _require_classes(prompts, checkpoint)
    for role, prompts in roles.items():
        if overlong := window.overlong(prompts):
            one = overlong[0]
            raise ConfigError(
                f"the prompt {role} {_short(one.prompt)} has {one.tokens} tokens, and the text "
                f"encoder reads {one.window} with the marks at both ends; shorten it, since what "
                "comes after is never seen"
            )
    _hint("prompts of this erasure", [*plan.forget, *stand_ins, *plan.retain])


def require_read(text: str, whose: str, checkpoint: Checkpoint) -> None:
    """Raise ConfigError where the end of a text is not read; `whose` is what the message calls it.

    It also hints at the syntax of other programs. A model of labels must know it as a class.
    """
    _require_classes([text], checkpoint)
    if overlong := token_window(checkpoint).overlong([text]):
        raise ConfigError(
            f"{whose} {_short(text)} has {overlong[0].tokens} tokens, and the text encoder reads "
            f"{overlong[0].window} with the marks at both ends; shorten it"
        )
    _hint("texts", [text])


def warn_of_prompts(whose: str, prompts: Iterable[str], checkpoint: Checkpoint) -> None:
    """Count the prompts whose end is not read, and hint at foreign syntax; nothing is refused.

    Args:
        whose: what the message calls them, such as `captions`.
        prompts: read once.
        checkpoint: whose text encoders read them.

    Raises:
        ConfigError: it is told a class, and a prompt is none.
    """
    texts = list(dict.fromkeys(prompts))
    _require_classes(texts, checkpoint)
    if overlong := token_window(checkpoint).overlong(texts):
        _log.warning(
            "%d of %d %s are longer than the text encoder reads (%d tokens), and their ends are "
            "not seen: %s has %d",
            len(overlong),
            len(texts),
            whose,
            overlong[0].window,
            _short(overlong[0].prompt),
            overlong[0].tokens,
        )
    _hint(whose, texts)


def _require_classes(prompts: Iterable[str], checkpoint: Checkpoint) -> None:
    """Raise ConfigError where a model of labels is given what is no class of its."""
    if (classes := checkpoint.classes) is not None:
        for prompt in dict.fromkeys(prompts):
            classes.label(prompt)


def _hint(whose: str, prompts: Sequence[str]) -> None:
    foreign = [(prompt, syntax) for prompt in prompts if (syntax := foreign_syntax(prompt))]
    if foreign:
        _log.warning(
            "%d of %d %s hold syntax of other programs, which is read here as plain characters: %s",
            len(foreign),
            len(prompts),
            whose,
            foreign[0][1],
        )


def _short(prompt: str) -> str:
    return repr(prompt if len(prompt) <= 60 else f"{prompt[:57]}...")
