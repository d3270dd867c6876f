"""The prompt languages of other programs, which mean nothing to a text encoder."""

import re
from typing import Final

from prompts.errors import PromptError

_FORMS: Final = (
    (re.compile(r"<\w+:[^<>]*>"), "a tag that loads a network"),
    (re.compile(r"[(\[][^()\[\]]*:\s*[+-]?\d*\.?\d+\s*[)\]]"), "a weight or a schedule"),
    (re.compile(r"\(\(.*?\)\)|\[\[.*?\]\]"), "emphasis by brackets"),
    (re.compile(r"\{[^{}|]*\|[^{}]*\}"), "a choice"),
    (re.compile(r"__[\w/*-]+?__"), "a wildcard"),
    (re.compile(r"(?<!\w)BREAK(?!\w)"), "a keyword"),
)
"""What it looks like and what it is, in AUTOMATIC1111's interface, ComfyUI and their extensions."""


def foreign_syntax(text: str) -> str | None:
    """What of `text` another program would read as more than words, and what it is; None for plain.

    `a (church:1.3)` -> `'(church:1.3)', a weight or a schedule`. Here every character is part of
    the prompt, so such text is neither weighed nor replaced.
    """
    for pattern, kind in _FORMS:
        match = pattern.search(text)
        if match:
            return f"{match[0].strip()!r}, {kind}"
    return None


def require_plain(text: str, role: str) -> None:
    """Raise PromptError where a name holds such syntax, with a hint.

    Args:
        text: a concept, or what is to be seen in its place.
        role: what the message calls it.
    """
    if syntax := foreign_syntax(text):
        raise PromptError(
            f"{role} is {text[:80]!r}, which holds {syntax} in other programs and mere characters "
            "here; name it in plain words, such as `church`"
        )
