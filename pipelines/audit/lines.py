"""The models of an audit, side by side: audited, base and its twin, random, retrained, kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from erasure.attacks.opening import random_weights
from erasure.attacks.protocol import Attack
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import CheckpointError, ConfigError, way
from erasure.storage.bare_names import bare
from erasure.storage.tensors.hashing import weights_hash
from pipelines.audit.asking.asking import plan_of
from pipelines.audit.settings import AuditRecipe
from pipelines.distances.comparable import other_classes, other_tokenizers
from pipelines.distances.records import BASELESS, read_record, role_of, unrecorded
from pipelines.drawing.guards import Guard, guard_of
from pipelines.run.models import open_by

Role = Literal["audited", "base", "random", "retrained", "twin", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model with one concept, attacked like all others."""

    name: str
    """`audited`, `base`, `random`, `retrained-1`, `twin-2`, `kept-castle`."""
    role: Role
    checkpoint: Checkpoint
    concept: str
    notes: tuple[str, ...] = ()
    """What to know when its figures are read: a sentence each."""

    @property
    def is_guarded(self) -> bool:
        """Whether a guard of the audit stands before it."""
        return self.role in ("audited", "kept")

    @property
    def is_floor(self) -> bool:
        """Whether it never saw the concept."""
        return self.role in ("random", "retrained")


def open_lines(recipe: AuditRecipe) -> dict[str, Line]:
    """Read all models, and check that the same payloads fit each; name -> line, the base first.

    Raises:
        CheckpointError: a model is missing, cannot be read, or is of another architecture.
        ConfigError: a model is given twice in two roles, or is told classes, and the concept is
            none of them.
    """
    audited = open_by(recipe, recipe.model, others=(recipe.against, *recipe.retrained))
    concept = _called(audited, recipe.concept)
    lines = []
    base: Checkpoint | None = None
    if recipe.against is not None:
        base = open_by(recipe, recipe.against)
        _require_alike(audited, base, recipe.against, "--against")
        if recipe.guard is None and base.hashes() == audited.hashes():
            raise ConfigError(
                f"{recipe.model} and the base {recipe.against} have the same weights, so nothing "
                "was erased; give the model after the erasure and, by --against, that before it, "
                "or what keeps the concept out by --guard"
            )
        notes = (*_differing(audited, base, "base"), *_beside(audited))
        lines.append(Line(name="base", role="base", checkpoint=base, concept=concept))
    else:
        notes = _beside(audited)
    for number, name in enumerate(recipe.retrained, 1):
        other = open_by(recipe, name)
        _require_alike(audited, other, name, "--retrained")
        _require_another(recipe, name, other, (audited, *(line.checkpoint for line in lines)))
        role, doubts = _role_of(recipe, name, other, base)
        line = f"{role}-{number}"
        lines.append(
            Line(
                name=line,
                role=role,
                checkpoint=other,
                concept=concept,
                notes=(*(f"{line} {doubt}" for doubt in doubts), *_differing(audited, other, line)),
            )
        )
    guard = guard_on(recipe, audited)
    if guard is not None:
        notes = (*notes, f"it is drawn with the guard {guard.described()}")
    random = random_weights(audited, recipe.seed)
    lines.append(Line(name="random", role="random", checkpoint=random, concept=concept))
    lines += [
        Line(name=f"kept-{bare(name)}", role="kept", checkpoint=audited, concept=name)
        for name in _kept(recipe, audited)
    ]
    lines.append(
        Line(
            name="audited",
            role="audited",
            checkpoint=audited,
            concept=concept,
            notes=notes,
        )
    )
    return {line.name: line for line in lines}


def _called(checkpoint: Checkpoint, concept: str) -> str:
    """What a concept is called in all that an audit says: a class by its name, whatever named it.

    Raises:
        ConfigError: the model is told classes, and it is none of them.
    """
    return concept if checkpoint.classes is None else checkpoint.classes.name(concept)


def _kept(recipe: AuditRecipe, audited: Checkpoint) -> Iterator[str]:
    """The concepts that were kept.

    Raises:
        ConfigError: one of them is what was erased, or a part of it.
    """
    gone = {name.casefold() for name in plan_of(audited, recipe.concept).erased}
    for named in recipe.kept:
        name = _called(audited, named)
        if not gone.isdisjoint(one.casefold() for one in plan_of(audited, name).erased):
            raise ConfigError(
                way("kept"),
                f" names {name}, which {recipe.concept} means too, and that was erased; give "
                "something that the model should still draw",
            )
        yield name


def guard_on(recipe: AuditRecipe, checkpoint: Checkpoint) -> Guard | None:
    """What keeps the concept out of the audited model's drawings; None for no guard."""
    if recipe.guard is None:
        return None
    if checkpoint.classes is not None:
        raise ConfigError(
            way("guard", recipe.guard),
            " reads prompts, and this model is told a class and reads none; leave it out",
        )
    erased = plan_of(checkpoint, recipe.concept).erased
    return guard_of(recipe.guard, recipe.guard_text, erased)


def lines_of(recipe: AuditRecipe, attack: Attack, lines: Mapping[str, Line]) -> list[str]:
    """The models that an attack is run on, the audited one last.

    Random weights cost as much as any other model, and give nothing back but what is put into them;
    so short of `full` they are attacked only where pictures of the concept are put in.
    """
    shows = "picture" in attack.needs
    return [
        name
        for name, line in lines.items()
        if line.role != "random" or shows or recipe.preset == "full"
    ]


def _require_another(
    recipe: AuditRecipe, name: str, other: Checkpoint, known: Sequence[Checkpoint]
) -> None:
    """Raise ConfigError where a retrained model is one of those that are held against it."""
    for one in known:
        if one.hashes() == other.hashes():
            raise ConfigError(
                f"the retrained model {name} has the same weights as {one.path}, which is given as "
                "well, so it tells nothing; give a model that was trained without "
                f"{recipe.concept}, each once"
            )


def _role_of(
    recipe: AuditRecipe, name: str, other: Checkpoint, base: Checkpoint | None
) -> tuple[Role, tuple[str, ...]]:
    """What a model of `--retrained` stands for by the records, and what nothing but the user says.

    Raises:
        CheckpointError: as `role_of`.
    """
    record = read_record(other.path)
    theirs = None if base is None else read_record(base.path)
    erased = plan_of(other, recipe.concept).erased
    role = role_of(record, theirs, erased, f"the retrained model {name}")
    if record is None:
        return role, (unrecorded(recipe.concept),)
    return role, () if base is None or theirs is not None else (BASELESS,)


def _require_alike(audited: Checkpoint, other: Checkpoint, name: str, option: str) -> None:
    mine, theirs = _shapes(audited.network), _shapes(other.network)
    if audited.architecture is not other.architecture or mine != theirs:
        differ = sorted({n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n)})
        where = f", such as {differ[0]}," if differ else ""
        raise CheckpointError(
            f"{name} is {other.architecture.title}, and {len(differ)} of its weights{where} have "
            f"not the names and shapes of the audited model, {audited.architecture.title}; give by "
            f"{option} a model of the same architecture"
        )
    if lost := sorted(audited.components.keys() ^ other.components.keys()):
        has, lacks = (audited, other) if lost[0] in audited.components else (other, audited)
        raise CheckpointError(
            f"{has.path} has a {lost[0]} and {lacks.path} has none, so a prompt is not read alike; "
            f"give by {option} a model of the same parts"
        )
    own, its = (one.description.prediction_type for one in (audited, other))
    if own != its:
        raise CheckpointError(
            f"{name} predicts {its} and the audited model {own}, so their losses and answers do "
            f"not compare; give by {option} a model of the same kind"
        )


def _shapes(weights: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}  # type: ignore[attr-defined]


def _beside(audited: Checkpoint) -> tuple[str, ...]:
    """A note where a part was edited that the attacks on weights do not touch."""
    main = audited.architecture.main
    parts = dict.fromkeys(edit.component for edit in audited.edits if edit.component != main)
    return tuple(
        f"the {part} was edited, and the attacks that change weights change those of the {main} "
        "alone, so they say nothing of that edit"
        for part in parts
    )


def _differing(audited: Checkpoint, other: Checkpoint, name: str) -> tuple[str, ...]:
    """A note for each further part whose weights are not those of the audited model."""
    if words := other_tokenizers(audited, other, "the audited model"):
        raise CheckpointError(
            f"the {name}, {other.name}, {words}; words "
            "would mean other things to it, so give a model with the same tokenizer"
        )
    if classes := other_classes(audited, other, "the audited model"):
        raise CheckpointError(
            f"the {name}, {other.name}, {classes}; a class would mean another thing to it, so give "
            "a model with the same id2label"
        )
    sentences = []
    main = audited.architecture.main
    for part in [name for name in audited.components if name != main]:
        mine, theirs = audited.components[part], other.components[part]
        if _shapes(mine) != _shapes(theirs):
            raise CheckpointError(
                f"the {part} of {name} has other shapes than that of the audited model, so no "
                f"payload fits both; give a model whose {part} is of the same architecture"
            )
        edited = name == "base" and part in {edit.component for edit in audited.edits}
        if not edited and weights_hash(mine) != weights_hash(theirs):
            sentences.append(
                f"the {part} of {name} has other weights than that of the audited model, so what "
                "comes from it is part of every difference"
            )
    return tuple(sentences)
