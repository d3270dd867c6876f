"""Where the numbers of a benchmark come from: models, drawing, the recipe's tables, versions."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipelines.evaluation.report.report_facts import Fact, Facts
from pipelines.json_values import object_in

_TABLES: Final = ("erase", "methods", "attack", "distance")
"""Tables of a recipe that may set something for all rows."""
_REST: Final = ("concepts", "seeds", "neighbours", "search", "audit", "device")


def facts_of(protocol: Mapping[str, Any]) -> Iterator[Facts]:
    """The groups of the page; models and tables that the benchmark was not given have none."""
    base = protocol["base"]
    yield Facts("Base", (Fact("name", str(base["name"])), *_hashes(base["hashes"])))
    models = object_in(protocol, "models")
    for concept in models:
        for kind, hashes in object_in(models, concept).items():
            title = f"Retrained without {concept}" if kind == "retrained" else f"Twin, {concept}"
            yield Facts(title, tuple(_hashes(hashes)))
    drawn = protocol["drawn"].items()
    yield Facts("Drawing and judging", tuple(Fact(k, _plain(v)) for k, v in drawn if v is not None))
    settings = [one for name in _TABLES for one in _flat(name, object_in(protocol, name))]
    if settings:
        yield Facts("Set by the recipe", tuple(Fact(k, _plain(v)) for k, v in settings))
    rest = {name: _plain(protocol[name]) for name in _REST}
    if search := object_in(protocol, "search"):
        trials, seeds, on = (_plain(search[name]) for name in ("trials", "seeds", "on"))
        rates = f" of learning rates {_plain(search['rates'])}" if "rates" in search else ""
        several = "s" * (seeds != "1")
        rest["search"] = f"{trials} trials a row{rates} by {seeds} seed{several}, on {on}"
    yield Facts("Protocol", tuple(Fact(name, text) for name, text in rest.items()))
    versions = protocol["versions"].items()
    yield Facts("Versions", tuple(Fact(name, str(value)) for name, value in versions))


def _hashes(hashes: Mapping[str, str]) -> Iterator[Fact]:
    return (Fact(name, value, code=True) for name, value in hashes.items())


def _flat(path: str, table: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The values of a table and of those in it, by their dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", value


def _plain(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else "none" if value is None else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return json.dumps(value) if isinstance(value, dict) else str(value)
