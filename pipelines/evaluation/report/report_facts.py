"""Where the numbers of a report come from: models, settings, judges, versions, time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from erasure.architectures.registry import title_of
from erasure.component_names import FIRST_MAIN
from pipelines.evaluation.outcome.refusals import refused_of
from pipelines.evaluation.outcome.results import ModelRecord, Results
from pipelines.words.durations import to_the_second


@dataclass(frozen=True, slots=True)
class Fact:
    """One line."""

    name: str
    text: str
    code: bool = False
    """A hash, a path or the like."""
    long: bool = False
    """Several lines, folded away."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A heading and its lines."""

    title: str
    facts: tuple[Fact, ...]


def provenance(results: Results) -> list[Facts]:
    """All of it, the model evaluated first."""
    models = results.models
    groups = [Facts("Model", tuple(_model(models.after)))]
    if models.before is not None:
        same = _is_base(models.after, models.before)
        groups.append(Facts("Held against", (*_model(models.before), *same)))
    groups += [
        Facts("Prompts", tuple(_suite(results))),
        Facts("Drawing", tuple(_drawing(results))),
        *(Facts(f"Judge {name}", tuple(_plain(p))) for name, p in results.protocol.judges.items()),
    ]
    if results.protocol.metrics:
        groups.append(Facts("Metrics", tuple(_plain(results.protocol.metrics))))
    groups.append(Facts("Versions", tuple(_plain(results.protocol.versions))))
    if results.seconds:
        spent = [Fact(stage, to_the_second(s)) for stage, s in results.seconds.items()]
        spent.append(Fact("total", to_the_second(sum(results.seconds.values()))))
        groups.append(Facts("Wall time", tuple(spent)))
    return groups


def _model(model: ModelRecord) -> Iterator[Fact]:
    yield Fact("name", model.name, code=True)
    main = _main(model)
    yield Fact(f"{title_of(main)} hash", model.hash, code=True)
    for component in dict.fromkeys(map(_component, _edits(model))):
        if component != main and component in model.hashes:
            yield Fact(f"{title_of(component)} hash", model.hashes[component], code=True)
    yield Fact("family", model.family)
    if model.guard:
        yield Fact("guard", model.guard)
    if model.concept:
        yield Fact("erased from it", model.concept)
    if model.provenance is None:
        yield Fact("provenance", "none in the model")
        return
    edits = _edits(model)
    result = edits[-1].get("result_hash") if edits else None
    component = _component(edits[-1]) if edits else main
    if result and result != _hash(model, component):
        yield Fact(
            "note",
            f"its last edit left another {title_of(component)} hash, {result}: this is a copy in "
            "another type, several patches together, or changed since",
        )
    for number, edit in enumerate(edits, 1):
        before = f"edit {number}: " if len(edits) > 1 else ""
        facts = {f"{before}{name}": value for name, value in edit.items() if name != "format"}
        yield from _plain(facts if before else {k: v for k, v in facts.items() if k != "concept"})


def _edits(model: ModelRecord) -> list[Mapping[str, Any]]:
    """Oldest first; records of one edit alone had its fields without a list."""
    provenance = model.provenance or {}
    listed = provenance.get("edits")
    if isinstance(listed, list):
        return [edit for edit in listed if isinstance(edit, Mapping)]
    return [provenance] if provenance else []


def _main(model: ModelRecord) -> str:
    """The component that `hash` is of; records of no other hashes are of a UNet."""
    return next((name for name, own in model.hashes.items() if own == model.hash), FIRST_MAIN)


def _component(edit: Mapping[str, Any]) -> str:
    """Which component an edit is of; records that do not say are of a UNet."""
    return str(edit.get("component", FIRST_MAIN))


def _hash(model: ModelRecord, component: str) -> str | None:
    """The hash of a component; the main one's is in older results too."""
    return model.hashes.get(component, model.hash if component == FIRST_MAIN else None)


def _is_base(after: ModelRecord, before: ModelRecord) -> Iterator[Fact]:
    edits = _edits(after)
    bases = [edit.get("base_hash") for edit in edits]
    same = [edit.get("base_hash") == _hash(before, _component(edit)) for edit in edits]
    kinds = list(map(_component, edits))
    if same and all(same[kinds.index(kind)] for kind in kinds):
        yield Fact("relation", "the base that the model was made from, by its hash")
    elif any(same):
        gone = edits[same.index(True)].get("concept")
        yield Fact("relation", f"the model before {gone} was erased, by its hash")
    elif bases and bases[0]:
        yield Fact("relation", f"not the base that the model was made from, which is {bases[0]}")


def _suite(results: Results) -> Iterator[Fact]:
    suite = results.suite
    yield Fact("suite", suite.name)
    yield Fact("source", suite.source, code=True)
    yield Fact("pictures", f"{suite.cases:,} a model")
    yield Fact("hash of the prompts", suite.prompts_hash, code=True)
    yield Fact("erased", ", ".join(results.erased) or "nothing given")
    if results.not_drawn:
        yield Fact("erased, and asked for by no prompt", ", ".join(results.not_drawn))
    for side in ("after", "before"):
        unusable = getattr(results.unusable, side)
        if unusable is not None:
            text = f"{unusable.nan:,} not a number, {unusable.black:,} black"
            yield Fact(f"unusable {side}", text)
    if any(refused := refused_of(results)):
        yield Fact("refused by the guard", f"{sum(refused):,} of {len(refused):,} pictures")


def _drawing(results: Results) -> Iterator[Fact]:
    for f in fields(results.protocol):
        value = getattr(results.protocol, f.name)
        if not isinstance(value, Mapping):
            yield Fact(f.name.replace("_", " "), _text(value))


def _plain(values: Mapping[str, Any]) -> Iterator[Fact]:
    """Any JSON object; what is nested or has several lines is folded away."""
    for key, value in values.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            for inner, item in value.items():
                yield _fact(f"{name}: {inner}", item)
        else:
            yield _fact(name, value)


def _fact(name: str, value: Any) -> Fact:  # noqa: ANN401
    text = _text(value).strip()
    code = name.endswith(("hash", "sha256", "config: train", "objective"))
    return Fact(name, text, code=code, long="\n" in text or len(text) > 160)


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, (list, tuple)) and all(isinstance(v, (str, int, float)) for v in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
