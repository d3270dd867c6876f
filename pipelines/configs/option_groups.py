"""The groups in which a command's help shows its options, by what a user looks for."""

from typing import Final

SUBJECT: Final = "What is erased"
MEASURED: Final = "What is measured"
WEIGHTS: Final = "Which weights move"
MASKS: Final = "Masks that are there"
TRAINING: Final = "How it is trained"
EXAMPLES: Final = "What it learns from"
ATTACKS: Final = "How it is attacked"
PICTURES: Final = "How pictures are drawn"
JUDGING: Final = "Who judges, and by what"
FORM: Final = "What is written"
READING: Final = "How a model is read"
MACHINE: Final = "Memory, speed and devices"
RUN: Final = "The run and its output"

GROUPS: Final = (
    *(SUBJECT, MEASURED, WEIGHTS, MASKS, TRAINING, EXAMPLES, ATTACKS, PICTURES, JUDGING, FORM),
    *(READING, MACHINE, RUN),
)
"""All of them, in the order of a help page."""
