"""English phrases: put a concept into a prompt, find it there, put another in its place."""

import re

_DETERMINED = re.compile(r"\A(?:an?|the|some|my|his|her|their|two|three|many)\s", re.IGNORECASE)
_PLURAL = re.compile(r"[^saiu]s$", re.IGNORECASE)
# Vowels that sound like a consonant, and consonants that are not heard.
_SOUNDS_LIKE_A = re.compile(r"(?:uni|use|usu|eu|one\b|ufo)", re.IGNORECASE)
_SOUNDS_LIKE_AN = re.compile(r"(?:[aeiou]|hour|honest|heir)", re.IGNORECASE)


def tidy(text: str) -> str:
    """Without space around it, with single spaces inside."""
    return " ".join(text.split())


def article(noun: str) -> str:
    """`a` or `an`, by how the noun most likely sounds."""
    sounds_like_an = _SOUNDS_LIKE_AN.match(noun) and not _SOUNDS_LIKE_A.match(noun)
    return "an" if sounds_like_an else "a"


def noun_phrase(concept: str) -> str:
    """The concept as it stands in `an image of ...`.

    `teapot` -> `a teapot`; names (a capital letter first), plurals and what has an article
    already stay: `Mickey Mouse`, `red shoes`, `the moon`.
    """
    if concept[:1].isupper() or _DETERMINED.match(concept) or _PLURAL.search(concept):
        return concept
    return f"{article(concept)} {concept}"


def bare(phrase: str) -> str:
    """Without the article: `the moon` -> `moon`."""
    return _DETERMINED.sub("", phrase, count=1)


def mentions(prompt: str, concept: str) -> bool:
    """Whether the concept stands in the prompt, in any case, singular or plural."""
    noun = bare(concept)
    stem = noun[:-1] if _PLURAL.search(noun) else noun
    return bool(re.search(rf"(?<!\w){re.escape(stem)}(?:e?s)?(?!\w)", prompt, re.IGNORECASE))


def swap(prompt: str, old: str, new: str) -> str | None:
    """The prompt with every `old` replaced by `new` and `a` or `an` put right; None without one.

    `a church at night` -> `an apple at night`. Any case is found, plurals are not.
    """
    pattern = re.compile(rf"(?<!\w)(?:(an?)(\s+))?{re.escape(old)}(?!\w)", re.IGNORECASE)

    def put(match: re.Match[str]) -> str:
        return f"{article(new)}{match[2]}{new}" if match[1] else new

    swapped, count = pattern.subn(put, prompt)
    return swapped if count else None
