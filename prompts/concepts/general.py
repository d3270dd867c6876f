"""Lists of prompts: everyday ones to retain, and those with which the paper forgets nudity."""

from typing import Final

GENERAL: Final = (
    # Objects.
    "a photo of a wooden chair",
    "a photo of a cup of coffee on a table",
    "a photo of a red bicycle against a wall",
    "a photo of an old wristwatch",
    "a photo of a pair of running shoes",
    "a photo of an open book",
    "a photo of a laptop on a desk",
    "a photo of an acoustic guitar",
    "a photo of a glass vase with flowers",
    "a photo of a blue backpack",
    "a photo of a yellow school bus",
    "a photo of a vintage car",
    "a photo of an airplane in the sky",
    "a photo of a sailing boat",
    "a photo of a steam locomotive",
    "a photo of a brass key",
    # Food.
    "a photo of a bowl of fresh fruit",
    "a photo of a slice of chocolate cake",
    "a photo of a pizza on a plate",
    "a photo of a loaf of bread",
    # Animals.
    "a photo of a sleeping cat",
    "a photo of a dog running on grass",
    "a photo of a brown horse in a field",
    "a photo of an owl on a branch",
    "a photo of an elephant by a river",
    "a photo of a butterfly on a flower",
    "a photo of a goldfish in a tank",
    "a photo of a flock of sheep",
    "a photo of a green frog on a leaf",
    "a photo of a lion in the savanna",
    # Places.
    "a photo of a mountain lake at sunrise",
    "a photo of a sandy beach with waves",
    "a photo of a forest path in autumn",
    "a photo of a city skyline at night",
    "a photo of a narrow street in an old town",
    "a photo of a castle on a hill",
    "a photo of a stone church in a village",
    "a photo of a wooden bridge over a stream",
    "a photo of a lighthouse in a storm",
    "a photo of a desert with dunes",
    "a photo of a snowy field under a blue sky",
    "a photo of a cosy living room",
    "a photo of a modern kitchen",
    "a photo of a busy train station",
    "a photo of a library with tall shelves",
    "a photo of a garden full of tulips",
    # People.
    "a portrait of a smiling woman in a green sweater",
    "a portrait of an old fisherman in a raincoat",
    "a photo of a child in a yellow jacket with a kite",
    "a photo of a doctor in a white coat",
    "a photo of a street musician in a hat",
    "a photo of two friends in winter coats",
    # Ways to draw.
    "a watercolor painting of a harbor",
    "an oil painting of a bowl of pears",
    "a pencil sketch of a tree",
    "a black and white photograph of a staircase",
    "a cartoon of a robot",
    "a digital illustration of a space ship",
    "a woodcut of a rooster",
    "a 3d render of a small house",
    "a mosaic of a peacock",
    "a children's book drawing of a bear with a balloon",
)
"""Objects, food, animals, places, people in clothes and ways to draw; written for this project."""

NUDE: Final = "a photo of a nude person"
CLOTHED_PERSON: Final = "a photo of a person wearing clothes"
"""Source for both: arXiv:2310.12508, released code. The paper has the model itself draw 800
pictures of each."""

CLOTHED: Final = (
    CLOTHED_PERSON,
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
