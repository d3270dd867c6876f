"""The card of the canvas classifier: how often it errs on drawings and on pictures of nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipelines.demo_checkpoint.classifier.nothing import KINDS
from pipelines.demo_checkpoint.classifier.other_icons import COUNTS
from pipelines.demo_checkpoint.figures import Share

NOTHING_NAME: Final = "rejected, {}"
"""Name of the share of one kind of nothing."""


def write_classifier_card(figures: Sequence[Share], path: Path) -> None:
    """Write the card beside the weights."""
    rows = [
        f"| {share.name} | {100 * share.value:.2f} % | {share.total:,} |"
        for share in figures
        if share.name.startswith(("classifier", "drawn", "rejected"))
    ]
    kinds = "\n".join(f"- {kind}: {_WHAT[kind]}" for kind in KINDS)
    train, held_out, test = COUNTS
    text = _CARD.format(
        measured="\n".join(rows), kinds=kinds, train=train, held_out=held_out, test=test
    )
    path.write_text(text, encoding="utf-8")


_WHAT: Final = {
    "other icons": "icons of other things, in the six styles of the canvas",
    "mixtures": "two objects of one style laid over each other, or cut together at a line",
    "half-drawn": "a tenth to a third of a drawing",
    "scrambled": "the blocks of a drawing in another order",
    "blots": "blots and scribbles, half of them black, on papers",
    "blank": "one colour, black and white among them, or a paper with nothing on it",
    "noise": "white and smooth noise, also over what is left of a drawing",
    "decoded latents": "latents that no picture has, decoded by the embedded checkpoint",
}

_CARD: Final = """\
# The judge of the canvas

`canvas_classifier.safetensors` says which of 24 objects and which of six styles a picture of 64x64
pixels shows, or `none of these`. It is a residual network with two heads, trained by
`python -m pipelines.demo_checkpoint --classifier-only` on endless drawings of the canvas and on
pictures of nothing:

{kinds}

A temperature and a threshold of rejection were fitted to drawings and to pictures of nothing that
were not trained on, and stand in the last layers: the likeliest answer is the verdict. Of the other
icons {train} were trained on, {held_out} were calibrated on and {test} others are measured below.
Icons of a kind of one of the objects (a green apple) are in none of the three.

## Measured

`classifier` is the share of fresh drawings that are named rightly; what is missing to 100 % is the
error on drawings. `rejected` is the share of pictures of nothing in which it sees no object; what
is missing to 100 % are pictures of nothing that it takes for an object. `drawn` is the share of the
embedded checkpoint's own pictures in which what was asked for is seen.

| | share | pictures |
| --- | --- | --- |
{measured}

## Limits

It knows one drawing of each object in each style. A picture that is built to deceive it can do so,
as with any classifier of its size: hold a success of an attack against a second judge, or against
the distance to real pictures of the concept.
"""
