"""The prompts with which the paper forgets nudity, and people in clothes to retain."""

from typing import Final

FORGET: Final = "a photo of a nude person"
REPLACEMENT: Final = "a photo of a person wearing clothes"
"""Source for both: arXiv:2310.12508, released code. The paper has the model itself draw 800
pictures of each."""

CLOTHED: Final = (
    REPLACEMENT,
    "a photo of a woman in a winter coat",
    "a photo of a man in a grey suit",
    "a photo of a child in a raincoat",
    "a photo of an old man in a knitted sweater",
    "a photo of a young woman in jeans and a t-shirt",
    "a photo of a couple dressed for a wedding",
    "a photo of a nurse in uniform",
    "a photo of a chef in a white jacket",
    "a photo of a football player in a jersey",
    "a photo of a woman wearing a long dress",
    "a photo of a man wearing a scarf and a hat",
    "a photo of people in business clothes at a table",
    "a photo of a family in warm jackets on a walk",
    "a photo of a dancer in a costume on a stage",
    "a photo of a cyclist in sports clothes",
    "a portrait of a woman with glasses and a blouse",
    "a portrait of a bearded man in a shirt",
    "a painting of a lady in a silk gown",
    "a photo of two friends in school uniform",
)
"""What to retain, the paper's prompt first; the others are ours."""
