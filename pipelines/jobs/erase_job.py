"""What `erasure erase` is asked for, without its command line: a bill, or a run."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.errors import ConfigError
from pipelines.configs.concepts import named_concepts, over_file
from pipelines.configs.recipe_files import merge
from pipelines.configs.set_options import with_settings
from pipelines.jobs.opened import Planned, RecipeJob, named_recipe, opened
from pipelines.process.progress import Reporter
from pipelines.run.erasing import Erased, run_erasure

_LONGEST: Final = 100
"""Bytes of the concepts' names in the name of a folder; file systems take 255."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended, and what its model was read as."""

    erased: Erased
    concept: str
    """The names of all concepts that were erased."""
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseJob(RecipeJob):
    """One erasure as it was asked for."""

    @classmethod
    def of(
        cls,
        tables: Mapping[str, Any],
        recipe: str | None,
        settings: Sequence[str],
        *,
        allow_code: bool,
        fit: str | None,
    ) -> "EraseJob":
        """Put together what was given by name, by `--set` and by a recipe.

        A seed of the command line stands over the recipe's seeds of the method and of the mask.

        Args:
            recipe: a TOML file, or the name of a ready recipe.
            settings: each `name=value`.
            allow_code: whether a method that the recipe brings as code may run; where the command
                line chooses a method, that stands in its place.

        Raises:
            ConfigError: a recipe or a setting is wrong, or there is no concept or no model.
        """
        chosen = "code" in tables or "name" in tables.get("method", {})
        named = named_recipe(recipe, allow_code=allow_code, chosen=chosen)
        tables = with_settings(tables, named, settings)
        if "seed" in tables:
            for part in ("method", "saliency"):
                if isinstance(named.get(part), dict):
                    named[part].pop("seed", None)
        job = cls(tables=tables, named=over_file(tables, named_concepts(named)), fit=fit)
        for name in ("model", "concept"):
            if name not in job.whole:
                raise ConfigError(
                    f"{name} is missing; for example: erasure erase demo --concept church --out DIR"
                )
        return job

    @property
    def whole(self) -> Mapping[str, Any]:
        """All that was given, as tables of a recipe."""
        return merge(self.named, self.tables)

    @property
    def folder(self) -> Path:
        """Where the run goes if no folder is given: it is named after its concepts, or after the
        first of so many that a disk would not take their names."""
        whole = self.whole
        concepts = " ".join(map(str, (whole["concept"], *whole.get("concepts", ()))))
        name = re.sub(r"[^\w-]+", "-", concepts.lower()).strip("-") or "concept"
        if len(name.encode()) > _LONGEST:
            first = name.encode()[:_LONGEST].decode(errors="ignore").strip("-")
            name = f"{first}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return Path("out") / name

    def plan(self) -> Planned:
        """Say what the run would take; nothing is drawn or written.

        Raises:
            ErasureError: see `opened` and `Opened.planned`.
        """
        return opened(self.tables, self.named, shapes=True).planned(self.fit)

    def run(self, out: Path, *, resume: bool, force: bool) -> Finished:
        """Erase, and write the folder `out`.

        Raises:
            ErasureError: see `opened` and `pipelines.run.erasing.run_erasure`.
        """
        before = opened(self.tables, self.named)
        ready = before.fitted(self.fit)
        if resume and self.fit == "auto":
            ready = before.as_begun(out, ready)
        erased = run_erasure(
            ready.recipe, ready.checkpoint, out, resume=resume, force=force, reporter=Reporter()
        )
        return Finished(erased, ", ".join(ready.recipe.names), ready.facts)
