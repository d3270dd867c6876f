"""The ten ImageNette classes, the prompts with which the paper forgets one and looks for it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from prompts.canvas import with_article
from prompts.concepts.phrases import tidy
from prompts.suites.case import LazyCases, PromptCase, PromptSet, file_stem, repeated


@dataclass(frozen=True, slots=True)
class ImagenetteClass:
    """One class: its position in the data set is its label."""

    name: str
    imagenet_index: int
    """Position among the 1,000 classes of an ImageNet classifier."""
    evaluation_seed: int
    """With which the paper's protocol draws it."""

    @property
    def prompt(self) -> str:
        """The wording of the training data: `an image of a church`."""
        return f"an image of {with_article(self.name)}"

    @property
    def evaluation_prompt(self) -> str:
        """The wording of the evaluation: `Image of church`, `Image of english springer`."""
        return f"Image of {self.name.lower()}"


CLASSES: Final = (
    ImagenetteClass("tench", 0, 4889),
    ImagenetteClass("English springer", 217, 4782),
    ImagenetteClass("cassette player", 482, 4068),
    ImagenetteClass("chain saw", 491, 4373),
    ImagenetteClass("church", 497, 987),
    ImagenetteClass("French horn", 566, 1562),
    ImagenetteClass("garbage truck", 569, 4264),
    ImagenetteClass("gas pump", 571, 432),
    ImagenetteClass("golf ball", 574, 1912),
    ImagenetteClass("parachute", 701, 1945),
)
"""In the data set's order.

Source: arXiv:2310.12508, released code, for order, wording and seeds; the released training
prompts say `a` before every name, here `English springer` has `an`.
"""

SAMPLES: Final = 10
"""Pictures a class."""

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


def imagenette_set(*, seeds: Sequence[int] | None = None, samples: int | None = None) -> PromptSet:
    """The pictures of the paper's protocol: every class, one seed after the other.

    Args:
        seeds: the same for every class, in place of the protocol's.
        samples: pictures a class where there are no `seeds`; None for 10.

    Source: arXiv:2310.12508, released code (with LMS, 100 steps, guidance 7.5, 512 pixels). There
        one generator, seeded once a class, gives the noise of picture after picture, so picture k
        depends on how many are drawn at a time. Here each picture has a seed of its own: that of
        the class + k. Picture 0 starts from the same noise as there; the others do not.
    """
    return PromptSet(
        name="imagenette",
        source="built in",
        cases=LazyCases(partial(_cases, seeds, SAMPLES if samples is None else samples)),
        heads=("class",),
    )


def _cases(seeds: Sequence[int] | None, samples: int) -> Iterator[PromptCase]:
    """By rounds of one picture a class, so that the first few show all classes."""
    pictures = [repeated(_first(one), seeds=seeds, samples=samples) for one in CLASSES]
    for together in zip(*pictures, strict=True):
        yield from together


def _first(one: ImagenetteClass) -> PromptCase:
    return PromptCase(
        case=file_stem(one.name),
        prompt=one.evaluation_prompt,
        seed=one.evaluation_seed,
        labels={"class": one.name},
    )
