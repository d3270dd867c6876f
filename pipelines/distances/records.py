"""What the records of two retrained models say, and whether they go together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from erasure.errors import CheckpointError
from erasure.storage import tables
from erasure.storage.json_text import parsed
from erasure.storage.regular_files import require_regular
from pipelines.demo_checkpoint.retrained.record import FORMAT, RECORD

TwinOf = Literal["retrained", "base"]
BASELESS: Final = (
    f"has a {RECORD} and the base has none, so that both are of one recipe is taken for granted"
)
"""The rest of a note on a model whose record cannot be held against the base's."""
Holder = Literal["base", "retrained", "twin"]
"""Where a model with a record may stand."""


@dataclass(frozen=True, slots=True)
class Retrained:
    """One record."""

    without: frozenset[str]
    """Objects and styles that it never saw."""
    seeds: tuple[int, ...]
    recipe_hash: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Without:
    """What a model never saw, as its record has it."""

    objects: tuple[str, ...]
    styles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stored:
    """A record as it is written."""

    format: str
    without: _Without
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any]
    recipe_hash: str


@dataclass(frozen=True, slots=True)
class Fit:
    """What the records of models that go together say."""

    twin_of: TwinOf
    """The model that the twin is another seed of."""
    notes: tuple[str, ...]
    """What is taken for granted, a sentence each."""


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
    if isinstance(values, Mapping) and values.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{path} has format {str(values['format'])[:80]!r}, not {FORMAT!r}; give a model of "
            "this version"
        )
    try:
        stored: _Stored = tables.read_record(_Stored, values, "record", CheckpointError)
    except CheckpointError as err:
        raise CheckpointError(f"{path} is damaged: {err}; write the model again") from err
    without = frozenset([*stored.without.objects, *stored.without.styles])
    return Retrained(without, stored.seeds, stored.recipe_hash, stored.recipe)


def fit_of(records: Mapping[Holder, Retrained | None], erased: Sequence[str]) -> Fit:
    """Hold the records of a retrained model and its twin against each other, the base and the
    concept.

    Args:
        records: of the models that are there; None for one without a record.
        erased: names of what was erased, such as those of a group.

    Raises:
        CheckpointError: they do not go together.
    """
    retrained, twin = records.get("retrained"), records.get("twin")
    places: tuple[Holder, ...] = ("retrained", "twin")
    notes = [
        f"the {place} model {unrecorded('the concept')}"
        for place in places
        if place in records and records[place] is None
    ]
    base = records.get("base")
    if "base" in records and base is None and (retrained or twin):
        notes.append(f"the {'retrained' if retrained else 'twin'} model {BASELESS}")
    if retrained is not None:
        _require_without(retrained, erased, "the retrained model")
        _require_recipe(retrained, base, "the retrained model")
    if twin is None:
        return Fit("retrained", tuple(notes))
    if retrained is None:
        retrained = Retrained(frozenset(erased), (), twin.recipe_hash, twin.recipe)
    if retrained.recipe_hash != twin.recipe_hash:
        raise CheckpointError(
            "the twin was trained by another recipe: "
            f"{_difference(retrained, twin, 'the retrained model')}; give two models of one recipe"
        )
    _require_recipe(twin, base, "the twin")
    if retrained.without == twin.without:
        if retrained.seeds == twin.seeds:
            raise CheckpointError(
                f"the retrained model and its twin were both trained from the seeds "
                f"{list(twin.seeds)}; give a twin of other seeds"
            )
        return Fit("retrained", tuple(notes))
    if not twin.without:
        if base is not None and base.seeds == twin.seeds:
            raise CheckpointError(
                f"the base and its twin were both trained from the seeds {list(twin.seeds)}; give "
                "a twin of other seeds"
            )
        notes.append("the twin is another seed of the base, so the unit is their distance")
        return Fit("base", tuple(notes))
    raise CheckpointError(
        f"the twin was trained without {_named(twin.without)}, and the retrained model without "
        f"{_named(retrained.without)}; give another seed of the same, or of the base"
    )


def role_of(
    record: Retrained | None, base: Retrained | None, erased: Sequence[str], said: str
) -> Literal["retrained", "twin"]:
    """What one of several models that are given as retrained stands for; one that saw everything is
    another seed of the base.

    Args:
        base: the record of the base; None where it has none.
        said: the model in words.

    Raises:
        CheckpointError: it was trained without something else, or by another recipe than the base.
    """
    if record is None:
        return "retrained"
    if record.without:
        _require_without(record, erased, said)
    _require_recipe(record, base, said)
    return "retrained" if record.without else "twin"


def unrecorded(concept: str) -> str:
    """The rest of a note on a model of which nothing but the user says what it never saw."""
    return (
        f"has no {RECORD}, so that it was trained by the base's recipe without {concept} is taken "
        "for granted"
    )


def _require_without(record: Retrained, erased: Sequence[str], said: str) -> None:
    if record.without != set(erased):
        raise CheckpointError(
            f"{said} was trained without {_named(record.without)}, and the concept is "
            f"{_named(erased)}; give by --retrained the model that was trained without that"
        )


def _named(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _require_recipe(record: Retrained, base: Retrained | None, said: str) -> None:
    """Refuse a model of another recipe than the base, whose record may be missing."""
    if base is not None and record.recipe_hash != base.recipe_hash:
        raise CheckpointError(
            f"{said} was trained by another recipe than the base: "
            f"{_difference(base, record, 'the base')}; give one that was trained by the base's"
        )


def _difference(mine: Retrained, theirs: Retrained, said: str) -> str:
    """The first place where the recipe of another model differs from mine, and what is there.

    Args:
        said: whose recipe mine is.
    """
    place, own, its = _first_difference(mine.recipe, theirs.recipe, ())
    if not place:
        return "the hashes of the recipes differ"
    return f"{', '.join(place)} is {its!r}, and {own!r} of {said}"


def _first_difference(
    mine: object, theirs: object, place: tuple[str, ...]
) -> tuple[tuple[str, ...], object, object]:
    """Names that lead to it, and the two values; `place` where there is none below it."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                return _first_difference(mine.get(key), theirs.get(key), (*place, key))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for number, (own, its) in enumerate(zip(mine, theirs, strict=True), 1):
            if own != its:
                return _first_difference(own, its, (*place[:-1], f"{place[-1]} {number}"))
    return place, mine, theirs
