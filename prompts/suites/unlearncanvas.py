"""The 50 styles and 20 objects of UnlearnCanvas, and the pictures its protocol asks for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from prompts.suites.case import LazyCases, PromptCase, PromptSet

STYLES: Final = tuple(
    """
    Abstractionism Artist_Sketch Blossom_Season Bricks Byzantine Cartoon Cold_Warm Color_Fantasy
    Comic_Etch Crayon Cubism Dadaism Dapple Defoliation Early_Autumn Expressionism Fauvism French
    Glowing_Sunset Gorgeous_Love Greenfield Impressionism Ink_Art Joy Liquid_Dreams Magic_Cube
    Meta_Physics Meteor_Shower Monet Mosaic Neon_Lines On_Fire Pastel Pencil_Drawing Picasso Pop_Art
    Red_Blue_Ink Rust Sketch Sponge_Dabbed Structuralism Superstring Surrealism Ukiyoe Van_Gogh
    Vibrant_Flow Warm_Love Warm_Smear Watercolor Winter
    """.split()
)
"""As the data set and its classifiers spell them; a prompt has spaces for the underscores."""

OBJECTS: Final = tuple(
    """
    Architectures Bears Birds Butterfly Cats Dogs Fishes Flame Flowers Frogs Horses Human Jellyfish
    Rabbits Sandwiches Sea Statues Towers Trees Waterfalls
    """.split()
)

SEEDS: Final = (188, 288, 588, 688, 888)
GUIDANCE: Final = 9.0
SIZE: Final = 512
"""Pixels a side."""


def unlearncanvas_prompt(obj: str, style: str) -> str:
    """The data set's wording: `A Bears image in Van Gogh style.`"""
    return f"A {obj} image in {style.replace('_', ' ')} style."


def unlearncanvas_set(seeds: Sequence[int] | None = None) -> PromptSet:
    """Every style x object x seed, ids as the released code names its files.

    Args:
        seeds: None for the five of the protocol.

    Source: arXiv:2402.11846 and its released code for names, wording, seeds, guidance and size
        (with DDIM, 100 steps). That code also draws `Seed_Images`, the photographs the styles
        were made from, as `in Seed Images style`, a wording its model was never trained on
        (that was `in Photo style`); those are left out here. It seeds once for all pictures of a
        seed, so its picture depends on those drawn before; here each has the seed to itself.
    """
    cases = LazyCases(partial(_cases, SEEDS if seeds is None else tuple(seeds)))
    return PromptSet(
        name="unlearncanvas", source="built in", cases=cases, heads=("object", "style")
    )


def resized(suite: PromptSet, size: int) -> PromptSet:
    """The same with another size of all pictures, for a model that draws smaller ones.

    Args:
        size: pixels a side.
    """
    return replace(suite, cases=LazyCases(partial(_resized, suite, size)))


def _resized(suite: PromptSet, size: int) -> Iterator[PromptCase]:
    for case in suite.cases:
        yield replace(case, width=size, height=size)


def _cases(seeds: Sequence[int]) -> Iterator[PromptCase]:
    for seed in seeds:
        for style in STYLES:
            for obj in OBJECTS:
                yield PromptCase(
                    case=f"{style}_{obj}_seed{seed}",
                    prompt=unlearncanvas_prompt(obj, style),
                    seed=seed,
                    guidance=GUIDANCE,
                    width=SIZE,
                    height=SIZE,
                    labels={"object": obj, "style": style},
                )
