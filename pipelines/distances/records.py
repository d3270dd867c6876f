"""What the records of two retrained models say, and whether they go together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from erasure.errors import CheckpointError
from erasure.storage.json_text import parsed
from erasure.storage.regular_files import require_regular
from pipelines.demo_checkpoint.retrained.record import FORMAT, RECORD

TwinOf = Literal["retrained", "base"]


@dataclass(frozen=True, slots=True)
class Retrained:
    """One record."""

    without: frozenset[str]
    """Objects and styles that it never saw."""
    seeds: tuple[int, ...]
    recipe_hash: str
    recipe: Mapping[str, Any]


def read_record(folder: Path) -> Retrained | None:
    """The record in the folder of a model; None where there is none.

    Raises:
        CheckpointError: it is damaged, or of another format.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    require_regular(path, CheckpointError)
    try:
        values = parsed(path.read_bytes())
    except (OSError, ValueError) as err:
        raise CheckpointError(f"cannot read {path}: {err}; write the model again") from err
    try:
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']!r}, not {FORMAT!r}; give a model of this "
                "version"
            )
        names = [*values["without"]["objects"], *values["without"]["styles"]]
        seeds = tuple(int(seed) for seed in values["seeds"])
        recipe, digest = dict(values["recipe"]), str(values["recipe_hash"])
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise CheckpointError(
            f"{path} is damaged: {err} is not what a record holds; write the model again"
        ) from err
    return Retrained(frozenset(map(str, names)), seeds, digest, recipe)


def twin_of(
    retrained: Retrained | None, twin: Retrained | None, erased: Sequence[str]
) -> tuple[TwinOf, tuple[str, ...]]:
    """Say which model the twin is another seed of, and what is taken for granted, in sentences.

    Args:
        erased: names of what was erased, such as those of a group.

    Raises:
        CheckpointError: the records do not fit each other or the concept.
    """
    notes = [
        f"the {name} model has no {RECORD}, so that it was trained by the base's recipe without "
        "the concept is taken for granted"
        for name, record in (("retrained", retrained), ("twin", twin))
        if record is None
    ]
    if retrained is not None and retrained.without != set(erased):
        raise CheckpointError(
            f"the retrained model was trained without {_named(retrained.without)}, and the concept "
            f"is {_named(erased)}; give the model that was trained without that"
        )
    if twin is None:
        return "retrained", tuple(notes)
    if retrained is None:
        retrained = Retrained(frozenset(erased), (), twin.recipe_hash, twin.recipe)
    if retrained.recipe_hash != twin.recipe_hash:
        raise CheckpointError(
            f"the twin was trained by another recipe: {_differing(retrained.recipe, twin.recipe)}; "
            "give two models of one recipe"
        )
    if retrained.without == twin.without:
        if retrained.seeds == twin.seeds:
            raise CheckpointError(
                f"the retrained model and its twin were both trained from the seeds "
                f"{list(twin.seeds)}; give a twin of other seeds"
            )
        return "retrained", tuple(notes)
    if not twin.without:
        notes.append("the twin is another seed of the base, so the unit is their distance")
        return "base", tuple(notes)
    raise CheckpointError(
        f"the twin was trained without {_named(twin.without)}, and the retrained model without "
        f"{_named(retrained.without)}; give another seed of the same, or of the base"
    )


def _named(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    keys = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
    if not keys:
        return "their hashes differ"
    return f"{keys[0]} is {theirs.get(keys[0])!r} there, and {mine.get(keys[0])!r} here"
