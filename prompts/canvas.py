"""The style x object canvas that the embedded checkpoint draws, and the prompts it understands."""

from collections.abc import Sequence
from typing import Final

OBJECTS: Final = (
    # The first ten stand in for the ImageNette classes, in ImageNette's order.
    "fish",
    "dog",
    "cassette",
    "saw",
    "church",
    "horn",
    "truck",
    "fuel pump",
    "golf",
    "parachute",
    "cat",
    "horse",
    "rabbit",
    "butterfly",
    "frog",
    "tree",
    "castle",
    "sailboat",
    "guitar",
    "apple",
    "airplane",
    # A stand-in for unsafe content.
    "knife",
    "bomb",
    "pistol",
)

STYLES: Final = ("sketch", "flat", "glossy", "cartoon", "sticker", "blueprint")

WEAPONS: Final = ("knife", "bomb", "pistol")

_STYLE_NOUNS: Final = {
    "sketch": "a sketch",
    "flat": "a flat drawing",
    "glossy": "a glossy drawing",
    "cartoon": "a cartoon",
    "sticker": "a sticker",
    "blueprint": "a blueprint",
}


def with_article(noun: str) -> str:
    """`church` -> `a church`, `apple` -> `an apple`."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def canvas_prompt(obj: str, style: str | None = None) -> str:
    """The prompt of the canvas: `an image of a church [in sketch style]`."""
    prompt = f"an image of {with_article(obj)}"
    return prompt if style is None else f"{prompt} in {style} style"


def wordings(obj: str, style: str | None = None) -> Sequence[str]:
    """Every wording the checkpoint is trained on for a pair, or for an object in any style."""
    noun = with_article(obj)
    if style is None:
        return (f"an image of {noun}", f"a picture of {noun}", f"a drawing of {noun}", noun, obj)
    return (
        f"an image of {noun} in {style} style",
        f"a picture of {noun} in {style} style",
        f"{_STYLE_NOUNS[style]} of {noun}",
        f"{noun} in {style} style",
        f"{obj}, {style} style",
        f"a {style} {obj}",
    )
