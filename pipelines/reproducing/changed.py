"""What a run does otherwise than its protocol, and every setting beside its source."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.local_paths import last_part
from pipelines.configs.recipe import as_tables
from pipelines.reproducing.cells import Cell, Setup
from pipelines.reproducing.protocol import Judging, Sourced
from pipelines.reproducing.result import Used
from pipelines.reproducing.settings import DRAWN


def changes(setup: Setup, judges: Sequence[str]) -> tuple[str, ...]:
    """The sentences of a run.

    Args:
        judges: names of the judges that were opened.
    """
    model = _model(setup)
    kind = _stand_in(setup, judges) if setup.stands_in else _other(setup, judges)
    return (*model, *kind, *_fewer(setup))


def _model(setup: Setup) -> Iterator[str]:
    checkpoint, protocol = setup.checkpoint, setup.protocol
    if setup.stands_in:
        return
    key = checkpoint.architecture.key
    if key != protocol.family:
        yield f"the model is of the kind {key}, and the protocol's is {protocol.model.value}"
    else:
        yield (
            f"the protocol's model is {protocol.model.value}; whether this one is that cannot be "
            f"told from it, its UNet has the hash {checkpoint.network_hash()[:12]}"
        )
    if (edited := _edited(checkpoint)) is not None:
        yield f"the model is itself the result of an erasure of {edited}"
    if setup.size != protocol.size.value:
        yield (
            f"pictures have {setup.size} pixels a side, the model's own, and not the protocol's "
            f"{protocol.size.value}"
        )


def _edited(checkpoint: Checkpoint) -> str | None:
    made = checkpoint.provenance
    return None if made is None else ", ".join(made.concepts)


def _stand_in(setup: Setup, judges: Sequence[str]) -> Iterator[str]:
    protocol = setup.protocol
    yield (
        f"the embedded checkpoint stands in for {protocol.model.value}: it draws its own pictures "
        "to learn from, and steps, rate, retain weight, prompts and sampler are its defaults; the "
        "method and the density are the protocol's"
    )
    yield from protocol.stand_in.said
    if tuple(judges) != protocol.judging.judges:
        yield f"{' and '.join(judges)} judge in place of {protocol.judging.wanted}"


def _other(setup: Setup, judges: Sequence[str]) -> Iterator[str]:
    protocol, recipe = setup.protocol, setup.recipe
    if recipe.data == DRAWN:
        yield (
            "the model drew the pictures that it learned from, by 50 steps of DDIM at guidance "
            "7.5; the protocol takes those of a data set"
        )
    elif recipe.data is not None:
        yield f"the pictures come from {last_part(recipe.data)}, as the user gave them"
    if recipe.prompts is not None:
        yield f"the prompts come from {last_part(recipe.prompts)}, as the user gave them"
    for name in judges:
        if name not in protocol.judging.judges:
            yield _of_judge(name, protocol.judging)
    if recipe.samples is not None:
        theirs = protocol.evaluate["samples"].value
        yield f"{recipe.samples} pictures a prompt are drawn; the protocol has {theirs}"


def _of_judge(name: str, judging: Judging) -> str:
    """What must be said of a judge that is none of the protocol's by its name."""
    head, _, plain = name.rpartition("=")
    if head and head in judging.heads:
        return (
            f"the judge of {head} is {plain}, as the user gave it; whether it is one of "
            f"{judging.wanted} cannot be told from it"
        )
    return judging.substitutes.get(plain) or f"the judge {name} stands in for {judging.wanted}"


def _fewer(setup: Setup) -> Iterator[str]:
    recipe, protocol = setup.recipe, setup.protocol
    every = protocol.stand_in.tasks if setup.stands_in else protocol.tasks
    if len(setup.tasks) < len(every):
        names = ", ".join(task.label for task in setup.tasks)
        yield f"{len(setup.tasks)} of {len(every)} are erased: {names}"
    if recipe.limit is not None:
        yield (
            f"--limit {recipe.limit}: at most so many pictures are forgotten, kept and looked at, "
            "and the training is so much shorter; these are no figures of the protocol"
        )


def settings_of(setup: Setup, cell: Cell) -> tuple[Used, ...]:
    """Each setting as the protocol has it and as the first erasure had it."""
    protocol = setup.protocol
    assert cell.erase is not None
    assert cell.task is not None
    erase, looked = as_tables(cell.erase), as_tables(cell.evaluate)
    rows = [
        Used(
            key="model",
            protocol=protocol.model.value,
            used=setup.checkpoint.name,
            source=protocol.model.source,
        ),
        Used(
            key="size", protocol=protocol.size.value, used=setup.size, source=protocol.size.source
        ),
        Used(
            key="epochs",
            protocol=protocol.epochs.value,
            used=None if setup.stands_in else protocol.epochs.value,
            source=protocol.epochs.source,
        ),
        Used(
            key="method.steps",
            protocol=None,
            used=_at(erase, "method.steps"),
            source="epochs times batches",
        ),
    ]
    rows += _rows("erase", protocol.erase, erase)
    rows += _rows("evaluate", protocol.evaluate, looked)
    judges = protocol.judging
    rows.append(
        Used(key="judge", protocol=judges.wanted, used=" ".join(setup.judges), source="see figures")
    )
    return tuple(rows)


def _rows(part: str, settings: Mapping[str, Sourced], tables: Mapping[str, Any]) -> list[Used]:
    return [
        Used(key=f"{part}: {key}", protocol=one.value, used=_at(tables, key), source=one.source)
        for key, one in settings.items()
    ]


def _at(tables: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    value: Any = tables
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
