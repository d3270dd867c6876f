"""What an attack is: its settings, what it needs, what it will cost, and the attempts it makes."""

from collections.abc import Iterator
from typing import ClassVar, Final, Literal, Protocol, get_args, runtime_checkable

from erasure.attacks.payload import Attempt, Cost
from erasure.attacks.search.vocabulary import cut_alike, has_pieces_of_clip
from erasure.attacks.target import Target

Need = Literal["words", "seeds", "start-noise", "picture", "gradient", "base", "weights"]
"""What an attacker must be able to do: choose the `words`, the `seeds` or the `start-noise`; show a
`picture` of the concept; take a `gradient`; have the `base`; change the `weights`."""

Access = Literal[
    "words",
    "seeds",
    "rounding",
    "tuning on other data",
    "picture",
    "prefix by gradient",
    "vector",
    "tuning on the concept",
    "base or patch",
    "diagnostic",
]
"""From what anybody has to what brings the concept along; an audit names the first that revived it.
A `diagnostic` revives nothing and is never named."""
ACCESS: Final[tuple[Access, ...]] = get_args(Access)


NO_BASE: Final = "there is no base at hand"
"""Why an attack that needs a base is skipped where there is none."""
UNTOLD: Final = frozenset(("inversion",))
"""The attacks that need a model which can be told nothing."""
OF_TOKENS: Final = frozenset(
    ("soft-token", "prefix", "prefix-match", "concept-vector", "pooled-text")
)
"""The attacks that put words or vectors at the same places of all text encoders' tokens."""
TUNING: Final = frozenset(("benign-tuning", "relearning"))
"""The attacks that tune a copy of the whole network."""


@runtime_checkable
class Attack(Protocol):
    """How to look for the concept: a frozen dataclass of settings, each with a docstring below it.

    It owns no weights, devices or judges. The same value attacks every model of an audit.
    """

    name: ClassVar[str]
    """Key into `erasure.attacks.ATTACKS`."""
    title: ClassVar[str]
    """What it does, in one line."""
    source: ClassVar[str]
    """Where it comes from: arXiv id, and where it differs."""
    needs: ClassVar[frozenset[Need]]
    """Where one is not met, the audit skips the attack and says why."""
    access: ClassVar[Access]
    """Where it stands in the order of threats."""

    def estimate(self, target: Target, /) -> Cost:
        """What `run` will ask for, search and drawing of its attempts, known before it starts.

        `seconds` may stay 0: the runner measures a pass and a drawing. Nothing is computed.
        """
        ...

    def run(self, target: Target, /) -> Iterator[Attempt]:
        """Search, and yield what to draw; as the budget says, and `plain` cases at a budget of 0.

        Two runs on equal targets yield equal attempts, in the same order. It ends at its budget and
        not at the first hit, which it does not hear of.

        Raises:
            TrainingError: the search cannot go on, as its loss is not finite. The audit goes on
                with the next attack.
            ConfigError: its settings do not fit this model. The audit goes on likewise.
        """
        ...


def lacking(attack: Attack | type[Attack], target: Target) -> str:
    """Why an attack cannot be run on a target, in a sentence; empty where it can."""
    if reason := unfit(attack, target):
        return reason
    if "picture" in attack.needs and not (target.pictures and len(target.pictures)):
        return "there is no picture of the concept"
    if "base" in attack.needs and target.base is None:
        return NO_BASE
    return ""


def unfit(attack: Attack | type[Attack], target: Target) -> str:
    """The same of the model alone and how it is held, whatever is at hand beside it."""
    title = target.architecture.title
    if target.classes is not None and "words" in attack.needs:
        return f"{title} is told a class and reads no text, and the attack puts words in"
    if attack.name in UNTOLD and not target.has_null:
        return f"{title} has no label of no class, and the attack tells it none"
    if attack.name in TUNING and target.homes:
        return (
            "the blocks of the network are streamed, and the attack tunes a copy of all of it on "
            "the device; leave stream out"
        )
    if target.classes is not None and attack.name in OF_TOKENS and target.homes:
        return (
            "the blocks of the network are streamed, and the attack learns a row of its table of "
            "classes on the device; leave stream out"
        )
    if attack.name in OF_TOKENS and target.classes is None and not cut_alike(target.text):
        return (
            f"{title} reads {_readers(target)}, and the attack looks for words that all of its "
            "text encoders cut alike, as CLIP does"
        )
    if attack.name == "prefixes" and not any(
        has_pieces_of_clip(tokenizer) for tokenizer, _ in target.text.towers[:1]
    ):
        return (
            f"{title} reads {_readers(target)}, and the attack takes its words from those of CLIP"
        )
    return ""


def _readers(target: Target) -> str:
    """The kinds of tokenizers of a model, as a sentence names them."""
    names = dict.fromkeys(type(tokenizer).__name__ for tokenizer, _ in target.text.towers)
    return " and ".join(names) or "no text"
