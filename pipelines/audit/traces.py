"""Passive traces of the models of an audit, kept on disk like its cells."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from erasure.attacks import Target
from erasure.attacks.diagnostics.traces import Losses, TraceConfig, base_losses, trace
from erasure.errors import ConfigError, OutOfMemoryError, TrainingError
from erasure.storage.files import write_json
from pipelines.audit.cells import key_of, known_values
from pipelines.audit.made_by import read_versions, versions
from pipelines.audit.workshop import Workshop

_QUICK: Final = TraceConfig(draws=2, pictures=8)
"""What the preset `quick` looks at."""


_VERSION: Final = 4
"""Changes with what is kept on disk: 2 called averse what lay above the base's own loss, 3 told the
base of a kept concept the replacement of the erased one."""


def traces_of(shop: Workshop) -> dict[str, Any]:
    """Line -> its losses and gaps as plain values, or the `reason` why there are none.

    Raises:
        OutOfMemoryError: a pass needs less.
        DiskError: the disk refuses.
    """
    bases: dict[str, Losses] = {}
    return {name: _traced(shop, name, bases) for name in shop.lines}


def _traced(shop: Workshop, line: str, bases: dict[str, Losses]) -> dict[str, Any]:
    """One line's; `bases` holds the base's losses by concept, and what is new is put into it."""
    config = _QUICK if shop.recipe.preset == "quick" else TraceConfig()
    path = shop.folder / "cells" / line / "traces.json"
    key = key_of(
        version=_VERSION,
        config=asdict(config),
        weights=dict(shop.hashes(line)),
        base=dict(shop.hashes("base")) if "base" in shop.lines else None,
        description=shop.lines[line].checkpoint.description.digest(),
        replacement=shop.concept(line).replacement,
        material=shop.material(line).digest(),
        seed=shop.recipe.seed,
    )
    known = _read(path, key)
    if known is not None:
        shop.note(path, read_versions(known_values(path).get("versions")))
        return known
    target = shop.target(line)
    if target.pictures is None:
        made: dict[str, Any] = {"reason": "there is no picture of the concept"}
    else:
        try:
            with shop.reporter.stage(f"traces of {line}", len(target.pictures)):
                made = dict(trace(target, config, base=_base(target, config, bases)).to_dict())
        except OutOfMemoryError:
            raise
        except (ConfigError, TrainingError) as err:
            made = {"reason": str(err)}
    now = versions()
    write_json(path, {"key": key, "trace": made, "versions": now}, indent=None)
    shop.note(path, now)
    return made


def _base(target: Target, config: TraceConfig, bases: dict[str, Losses]) -> Losses | None:
    if target.base is None or target.other_pictures is None:
        return None
    name = target.concept.name
    if name not in bases:
        bases[name] = base_losses(target, config)
    return bases[name]


def _read(path: Path, key: str) -> dict[str, Any] | None:
    values = known_values(path)
    trace = values.get("trace")
    return trace if values.get("key") == key and isinstance(trace, dict) else None
