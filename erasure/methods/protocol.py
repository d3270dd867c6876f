"""What a method of erasing is: its settings, what it needs, and how it changes weights."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Protocol, runtime_checkable

from erasure.diffusion.task import Task
from erasure.masks.masks import MaskKind, SaliencyMask
from erasure.training.step import Step

Need = Literal["pictures", "anchors", "prompts", "frozen"]
"""What is made for a method before it runs: `pictures` of the concept and of what is kept, encoded;
`anchors`, pictures of what stands in, captioned with the concept's prompts as well; the concept's
`prompts` and what stands in for them, encoded, without any picture; the `frozen` base's answers
during a training."""


@runtime_checkable
class Method(Protocol):
    """How to erase: a frozen dataclass that owns its settings, never weights or devices.

    Its fields are its settings, with a docstring below each: recipes, `--set`, the saved recipe of
    a run and `erasure methods NAME` are made from them. To write one of your own, read
    docs/extending.md.

    Examples:
        >>> method = make_method("esd", steps=2)
        >>> method.name, sorted(method.needs)
        ('esd', ['frozen', 'prompts'])
    """

    name: ClassVar[str]
    """Key into `erasure.methods.METHODS`."""
    title: ClassVar[str]
    """What it does, in one line."""
    source: ClassVar[str]
    """Where it comes from: arXiv id and equation."""
    default_mask: ClassVar[MaskKind]
    """The mask where the user names none."""
    default_scope: ClassVar[str]
    """The weights that may be in it where the user names none: key into `SCOPES`."""

    @property
    def needs(self) -> frozenset[Need]:
        """What must be made for it."""
        ...

    def length(self, mask: SaliencyMask, /) -> int:
        """How many steps `run` yields, for the progress bar."""
        ...

    def run(self, task: Task, /) -> Iterator[Step]:
        """Change weights by `task.train` or `task.change`, yielding as it goes."""
        ...


def asks_base(method: Method) -> bool:
    """Whether the base answers while a method trains, so that an origin can in its place; a teacher
    that follows the training is no base."""
    return "frozen" in method.needs and getattr(method, "asks_origin", True)
