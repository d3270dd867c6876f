"""The ten ImageNette classes and the prompts with which the paper forgets one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from prompts.canvas import with_article
from prompts.phrases import tidy

DATASET: Final = "frgfm/imagenette"
"""Hub id of the data set; its labels are the positions in `CLASSES`."""

DATASET_CONFIG: Final = "160px"
"""The configuration the released code reads: shorter side 160 pixels."""


@dataclass(frozen=True, slots=True)
class ImagenetteClass:
    """One class: its position in the data set is its label."""

    name: str
    imagenet_index: int
    """Position among the 1,000 classes of an ImageNet classifier."""

    @property
    def prompt(self) -> str:
        """The wording of the training data: `an image of a church`."""
        return f"an image of {with_article(self.name)}"


CLASSES: Final = (
    ImagenetteClass("tench", 0),
    ImagenetteClass("English springer", 217),
    ImagenetteClass("cassette player", 482),
    ImagenetteClass("chain saw", 491),
    ImagenetteClass("church", 497),
    ImagenetteClass("French horn", 566),
    ImagenetteClass("garbage truck", 569),
    ImagenetteClass("gas pump", 571),
    ImagenetteClass("golf ball", 574),
    ImagenetteClass("parachute", 701),
)
"""In the data set's order.

Source: arXiv:2310.12508, released code, for order and wording; the released prompts say `a`
before every name, here `English springer` has `an`.
"""

_BY_NAME: Final = {one.name.lower(): label for label, one in enumerate(CLASSES)}
_BY_NAME.update({with_article(name): label for name, label in list(_BY_NAME.items())})
_BY_NAME.update({one.prompt.lower(): label for label, one in enumerate(CLASSES)})


def find_label(text: str) -> int | None:
    """Label of the class named by `church`, `A Church` or its prompt; None if there is none."""
    return _BY_NAME.get(tidy(text).lower())


def next_label(label: int) -> int:
    """The class that takes the place of a forgotten one: the next, and the first after the last.

    Source: arXiv:2310.12508, released code, class `(c + 1) % 10`.
    """
    return (label + 1) % len(CLASSES)


def label_prompts(labels: Iterable[int]) -> dict[int, str]:
    """Label -> training prompt, as a reader of the data set takes it."""
    return {label: CLASSES[label].prompt for label in labels}
