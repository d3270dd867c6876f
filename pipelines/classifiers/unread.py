"""Options of a classifier command that the chosen method would not look at."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from erasure.classifiers.exact.dp_sgd.private import PrivateTraining
from erasure.classifiers.exact.exact_methods import EXACT
from erasure.errors import ConfigError
from pipelines.classifiers.exact_models import SEEDED

_FLAGS: Final = {"architecture": "--arch", "batch_size": "--batch-size"}


def refuse_unread_by_exact(
    method: str,
    options: Mapping[str, Any],
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Raise ConfigError for what `train --method METHOD` was given and would not read.

    Args:
        method: key into `EXACT`.
        options: tables of the command line.
        recipe: tables of the recipe file.
        settings: those of `--set`.
    """
    kind = EXACT[method]
    needs_start = "start" in kind.needs
    reads = {
        "model": needs_start,
        "training": "recipe" in {field.name for field in fields(kind)},  # type: ignore[arg-type]
        "seed": needs_start or method in SEEDED,
        "device": False,  # all of them train on the CPU
    }
    for name in (name for name, read in reads.items() if not read):
        for tables in (options, recipe):
            if name in tables:
                value = tables[name]
                inner = next(iter(value), "") if isinstance(value, Mapping) else ""
                said = _FLAGS.get(inner, f"--{inner or name}")
                raise ConfigError(
                    f"{said} ({f'{name}.{inner}' if inner else name}) is given and would not be "
                    f"read by the method {method}; leave it out"
                )
    if method == PrivateTraining.name and {"noise", "epsilon"} <= settings.keys():
        raise ConfigError(
            f"--set epsilon={settings['epsilon']} would not be read, as noise is given and decides "
            "it; leave one of them out"
        )
