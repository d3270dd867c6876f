"""The classes of a model of labels: their names, their numbers, and the label of no class."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from erasure.errors import CheckpointError, ConfigError
from erasure.storage.bare_names import shown

if TYPE_CHECKING:
    from erasure.checkpoints.description import Description

NAMES: Final = "id2label"
"""Key of `model_index.json` for number -> name, where diffusers' `DiTPipeline` has it."""
_LONGEST: Final = 200
"""Characters of a name; the longest of ImageNet has 121."""


@dataclass(frozen=True, slots=True)
class Classes:
    """What a model of labels can be told."""

    names: tuple[str, ...]
    """Name of each class, by its number; the number itself where the model has no names."""
    nothing: int | None
    """The label that stands for no class; None where the model learned none."""

    def label(self, text: str) -> int:
        """Give the label of a class by its name or number, and of no class for the empty text.

        A name is read in any case; of several that are separated by commas, as ImageNet has them,
        each is one.

        Raises:
            ConfigError: the text is neither, the number is out of range, or the model has no label
                for no class.
        """
        wanted = " ".join(text.split()).lower()
        if not wanted:
            if self.nothing is None:
                raise ConfigError(
                    "this model has no label that stands for no class, so there is nothing that "
                    "the empty prompt could mean; give a class, and 1 as guidance"
                )
            return self.nothing
        for number, name in enumerate(self.names):
            if wanted in _spellings(name):
                return number
        if not wanted.isdecimal() and not wanted.removeprefix("-").isdecimal():
            raise ConfigError(
                f"this model is told a class and reads no text such as {shown(text)}; {self._hint}"
            )
        if not wanted.isdecimal() or len(wanted) > 9 or int(wanted) >= len(self.names):
            raise ConfigError(
                f"the label {shown(text)} is out of range, as this model has {len(self.names)} "
                f"classes; give a number from 0 to {len(self.names) - 1}, or a name"
            )
        return int(wanted)

    def name(self, text: str) -> str:
        """Give the name of a class by its name in any case, or its number.

        Raises:
            ConfigError: as `label`.
        """
        label = self.label(text)
        return "" if label == self.nothing else self.names[label]

    @property
    def _hint(self) -> str:
        listed = ", ".join(self.names[:10])
        more = ", ..." if len(self.names) > 10 else ""
        return f"give one of {listed}{more}, or a number from 0 to {len(self.names) - 1}"


def classes_of(
    description: "Description", rows: object, where: str, *, repeated: bool = False
) -> Classes:
    """Read the classes of a model from its index.

    Args:
        description: with `id2label` in its index, or without names.
        rows: how many rows its table of labels has. One more than there are names is the label of
            no class; without names, the last row is taken for it.
        where: whose index it is.
        repeated: whether classes of published models share names, as two of ImageNet are cranes;
            each of them has its number behind its name then.

    Raises:
        CheckpointError: the names are not those of 0 to n - 1, or do not fit the table.
    """
    if type(rows) is not int or rows < 1:
        raise CheckpointError(
            f"{where} has a table of labels with {shown(rows)} rows; a model of labels has 1 or "
            "more, so give such a model"
        )
    named = description.model_index.get(NAMES)
    if named is None:
        classes = max(1, rows - 1)
        return Classes(tuple(map(str, range(classes))), classes if classes < rows else None)
    names = _names(named, where, repeated=repeated)
    if len(names) not in (rows, rows - 1):
        raise CheckpointError(
            f"{where} names {len(names)} classes in {NAMES} and has a table of {rows} labels; "
            f"name {rows}, or {rows - 1} where the last label stands for no class"
        )
    return Classes(names, len(names) if len(names) < rows else None)


def _names(named: Any, where: str, *, repeated: bool) -> tuple[str, ...]:  # noqa: ANN401
    """The names in order, checked: they come with the model and go into file names and pages."""
    numbered = isinstance(named, Mapping) and sorted(named) == sorted(map(str, range(len(named))))
    names = [named[str(n)] for n in range(len(named))] if numbered else []
    good = all(isinstance(one, str) and one.strip() and one.isprintable() for one in names)
    if not names or not good or max(map(len, names)) > _LONGEST:
        raise CheckpointError(
            f"{where} has {NAMES} {shown(named)}; it must name the classes 0 to n - 1, each by a "
            f"printable text of at most {_LONGEST} characters"
        )
    counts = Counter(name.lower() for name in names)
    if repeated:
        again = {name for name, count in counts.items() if count > 1}
        names = [f"{one} ({n})" if one.lower() in again else one for n, one in enumerate(names)]
        counts = Counter(name.lower() for name in names)
    if len(counts) < len(names):
        raise CheckpointError(
            f"{where} has a name twice in {NAMES}, so no class can be told by it; mend the index"
        )
    return tuple(names)


def _spellings(name: str) -> list[str]:
    lowered = " ".join(name.split()).lower()
    return [lowered, *(part.strip() for part in lowered.split(","))]
