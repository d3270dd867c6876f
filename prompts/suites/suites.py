"""The prompt sets a model can be evaluated on, by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from prompts.canvas import canvas_set
from prompts.clothes import clothes_set
from prompts.errors import PromptError
from prompts.nearest import nearest
from prompts.suites.case import MOST_SEEDS, LazyCases, PromptCase, PromptSet
from prompts.suites.case_files import file_set
from prompts.suites.i2p import I2PFilter, i2p_set
from prompts.suites.imagenette import imagenette_set
from prompts.suites.unlearncanvas import unlearncanvas_set

_FLAGS: Final = {"categories": "--category", "min_nudity": "--min-nudity"}
"""Options whose flag is not their name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What may be chosen of a suite; None or empty where it is not.

    Raises:
        PromptError: on creation, where a value is out of its range.
    """

    prompts: Path | None = None
    """File to read."""
    seeds: tuple[int, ...] | None = None
    """Seeds of every prompt, in place of its own."""
    samples: int | None = None
    """Pictures of every prompt, by its own seed + 0, 1, 2..."""
    categories: tuple[str, ...] = ()
    """Categories of I2P; a row needs one of them."""
    min_nudity: float | None = None
    """Least nudity percentage of I2P, 0 to 100."""

    def __post_init__(self) -> None:
        if self.seeds is not None and self.samples is not None:
            raise PromptError("both --seeds and --samples are given; give one of them")
        if self.samples is not None and self.samples < 1:
            raise PromptError(f"--samples is {self.samples}; give 1 or more")
        if self.seeds is not None:
            if not self.seeds:
                raise PromptError("--seeds names no seed; give one or more, such as 0-4")
            if len(set(self.seeds)) < len(self.seeds):
                raise PromptError(
                    "--seeds names a seed twice; the second picture would be the same"
                )
            if not all(0 <= seed < MOST_SEEDS for seed in self.seeds):
                raise PromptError("--seeds names one that is not from 0 to 2**63 - 1; take it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One prompt set, before anything of it is read."""

    about: str
    """One line."""
    cases: str
    """How many there are."""
    wording: str
    """A prompt of it, or where its prompts come from."""
    takes: frozenset[str]
    """Fields of `SuiteOptions` that it knows."""
    load: Callable[[SuiteOptions], PromptSet]


def load_suite(
    name: str,
    *,
    prompts: Path | None = None,
    seeds: Sequence[int] | None = None,
    samples: int | None = None,
    categories: Sequence[str] = (),
    min_nudity: float | None = None,
    limit: int | None = None,
) -> PromptSet:
    """The prompt set of that name.

    Args:
        name: key of `SUITES`.
        prompts: file to read, where the suite reads one.
        seeds: of every prompt, in place of those of the suite.
        samples: pictures of every prompt, by its own seed + 0, 1, 2...
        categories: of I2P.
        min_nudity: least nudity percentage of I2P.
        limit: most cases, the first ones; no more of a file is read.

    Raises:
        PromptError: there is no such suite, it does not take what is given, or a file is not what
            it should be. What is wrong further down in a file is raised when it is reached.
    """
    suite = SUITES.get(name)
    if suite is None:
        raise PromptError(f"there is no prompt set {name!r}; {nearest(name, SUITES)}")
    if limit is not None and limit < 1:
        raise PromptError(f"--limit is {limit}; give 1 or more")
    options = SuiteOptions(
        prompts=prompts,
        seeds=None if seeds is None else tuple(seeds),
        samples=samples,
        categories=tuple(categories),
        min_nudity=min_nudity,
    )
    _refuse_unknown(name, suite, options)
    loaded = suite.load(options)
    if limit is None:
        return loaded
    return replace(loaded, cases=LazyCases(partial(_first, loaded, limit)))


def _first(loaded: PromptSet, limit: int) -> Iterator[PromptCase]:
    return islice(loaded.cases, limit)


def _refuse_unknown(name: str, suite: Suite, options: SuiteOptions) -> None:
    for one in fields(SuiteOptions):
        if one.name not in suite.takes and getattr(options, one.name) != one.default:
            flag = _FLAGS.get(one.name, f"--{one.name}")
            able = [other for other, known in SUITES.items() if one.name in known.takes]
            raise PromptError(
                f"the prompt set {name} takes no {flag}; leave it out, or choose {', '.join(able)}"
            )


def _imagenette(options: SuiteOptions) -> PromptSet:
    return imagenette_set(seeds=options.seeds, samples=options.samples)


def _i2p(options: SuiteOptions) -> PromptSet:
    wanted = I2PFilter(categories=options.categories, min_nudity=options.min_nudity or 0.0)
    return i2p_set(options.prompts, wanted=wanted, seeds=options.seeds, samples=options.samples)


def _canvas(options: SuiteOptions) -> PromptSet:
    return canvas_set(options.seeds)


def _clothes(options: SuiteOptions) -> PromptSet:
    return clothes_set(options.seeds)


def _unlearncanvas(options: SuiteOptions) -> PromptSet:
    return unlearncanvas_set(options.seeds)


def _captions(options: SuiteOptions) -> PromptSet:
    path = _needed("captions", options.prompts)
    return file_set("captions", path, seeds=options.seeds, samples=options.samples)


def _csv(options: SuiteOptions) -> PromptSet:
    path = _needed("csv", options.prompts)
    return file_set("csv", path, seeds=options.seeds, samples=options.samples)


def _needed(name: str, path: Path | None) -> Path:
    if path is None:
        raise PromptError(f"the prompt set {name} is a file of yours; give --prompts FILE")
    return path


SUITES: Final[Mapping[str, Suite]] = {
    "imagenette": Suite(
        about="the ten ImageNette classes by the seeds of the SalUn paper",
        cases="10 classes x 10 pictures = 100",
        wording="Image of church",
        takes=frozenset({"seeds", "samples"}),
        load=_imagenette,
    ),
    "i2p": Suite(
        about="I2P by each row's own seed, guidance and size (hub, or a copy of its table)",
        cases="4,703 prompts x 1 picture",
        wording="as in the table AIML-TUDA/i2p",
        takes=frozenset({"prompts", "seeds", "samples", "categories", "min_nudity"}),
        load=_i2p,
    ),
    "canvas": Suite(
        about="every style x object that the demo model draws",
        cases="6 styles x 24 objects x 5 seeds = 720",
        wording="an image of a church in sketch style",
        takes=frozenset({"seeds"}),
        load=_canvas,
    ),
    "clothes": Suite(
        about="the ten classes that the class-conditional demo model draws",
        cases="10 classes x 50 seeds = 500",
        wording="sneaker",
        takes=frozenset({"seeds"}),
        load=_clothes,
    ),
    "unlearncanvas": Suite(
        about="every style x object of UnlearnCanvas at guidance 9, 512 pixels",
        cases="50 styles x 20 objects x 5 seeds = 5,000",
        wording="A Bears image in Van Gogh style.",
        takes=frozenset({"seeds"}),
        load=_unlearncanvas,
    ),
    "captions": Suite(
        about="a table of captions, such as COCO's, for FID and CLIP score",
        cases="1 picture a row",
        wording="column prompt or caption",
        takes=frozenset({"prompts", "seeds", "samples"}),
        load=_captions,
    ),
    "csv": Suite(
        about="your own table; object, style, class and label columns are judged",
        cases="1 picture a row",
        wording="column prompt or caption",
        takes=frozenset({"prompts", "seeds", "samples"}),
        load=_csv,
    ),
}
