"""The LoRA of an edit: from the factors that a run has, or extracted from two models."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.editing.proving import Edit
from erasure.errors import CheckpointError, ConfigError
from erasure.lora.extracting import (
    Extraction,
    Size,
    as_written,
    extract,
    moved_in,
    shortened,
    shown,
)
from erasure.lora.names import known_naming
from erasure.lora.reading import read_lora
from erasure.lora.writing import WrittenLora, write_differences, write_lora
from erasure.solving.factor_file import load_factors
from erasure.solving.factors import Factors, balanced
from erasure.training.weights.low_rank import require_rank
from pipelines.configs.settings import EraseRecipe
from pipelines.run.run_folder import FACTORS, LORA, MODEL

ENERGY: Final = 0.99
"""Share of each layer's difference that factors hold where neither rank nor energy is given."""
_LOSSY: Final = 0.1
"""From this error on, of all weights together, other forms are named."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, for people and machines."""

    facts: Mapping[str, Any]
    notices: tuple[str, ...] = field(default=())
    """Sentences of what the file does not hold."""
    for_machines_alone: Mapping[str, Any] = field(default_factory=dict)
    """More facts as JSON values, which a person has read already."""

    def for_machines(self) -> dict[str, Any]:
        """All facts as JSON values."""
        return {**self.facts, **self.for_machines_alone, "notices": list(self.notices)}

    def for_people(self) -> dict[str, Any]:
        """The facts in a line each, those of single layers as their number."""
        facts = {k: v for k, v in self.facts.items() if k not in ("errors", "left_out")}
        shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in facts.items()}
        return {name.replace("_", " "): value for name, value in shown.items()}


def save_lora(recipe: EraseRecipe, checkpoint: Checkpoint, edit: Edit, out: Path) -> None:
    """Write the LoRA of a run whose factors moved, by kohya's names where the family has any.

    Nothing is written where the mask cut the change of the factors: no LoRA can hold that.
    """
    if recipe.factors is None or not edit.factors:
        return
    trained = recipe.training is not None
    factors = edit.factors if trained else {n: balanced(f) for n, f in edit.factors.items()}
    write_lora(
        out / LORA,
        {edit.component: factors},
        checkpoint,
        naming="kohya" if checkpoint.architecture.lora else "diffusers",
        alpha=recipe.factors.strength if trained else None,
        words=_words(edit.provenance),
        force=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraExport:
    """How an edit goes out."""

    whole: bool = False
    """Whether as full differences, and not as thin factors."""
    naming: str | None = None
    """kohya's names if none."""
    size: Size | None = None
    """How thin; None keeps all of a run's own factors, and of another edit `ENERGY`."""
    dtype: torch.dtype = torch.float32
    force: bool = False

    def write(
        self, model: str, checkpoint: Checkpoint, base: Checkpoint | None, out: Path
    ) -> Exported:
        """Write the last edit of a model.

        The factors of a run go out as they are; any other edit is taken from the difference.

        Args:
            model: as it was named, to find the run that it lies in.
            base: the model before, where it was given.

        Raises:
            ConfigError: there is no base to compare with where one is needed, or the naming is
                unknown.
            CheckpointError: see `write_lora`, `write_differences` and `extract`.
        """
        if not self.whole:
            return _export_lora(model, checkpoint, base, out, how=self)
        if base is None:
            raise ConfigError("full differences need the model before the erasure; give it as base")
        return _export_differences(checkpoint, base, out, how=self)


def _export_lora(
    model: str, checkpoint: Checkpoint, base: Checkpoint | None, out: Path, *, how: LoraExport
) -> Exported:
    size = how.size
    factors = _run_factors(model, checkpoint, base)
    words = _words(checkpoint.provenance)
    if factors is not None:
        weights = checkpoint.components[checkpoint.edits[-1].component]
        if size is None:
            errors = dict.fromkeys(factors, 0.0)
            chosen = {name: balanced(one) for name, one in factors.items()}
        else:
            if size.rank is not None:
                shapes = {name: tuple(weights[name].shape) for name in factors}
                require_rank(size.rank, shapes)
            pairs = {name: shortened(one, size) for name, one in factors.items()}
            chosen = {name: one for name, (one, _) in pairs.items()}
            errors = {name: error for name, (_, error) in pairs.items()}
        whole = {name: float(one.change().norm()) for name, one in factors.items()}
        error = _together(errors, whole)
        component = checkpoint.edits[-1].component
        called = {shown(checkpoint, component, name): e for name, e in errors.items()}
        extraction = Extraction({component: chosen}, called, (), error)
    else:
        if base is None:
            raise ConfigError(
                f"{model} is no run that holds the factors of its edit, so --to lora needs the "
                "model before the erasure to compare with; give it as --base"
            )
        extraction = extract(base, checkpoint, size or Size(energy=ENERGY))
    written = write_lora(
        out,
        extraction.factors,
        checkpoint,
        naming=known_naming(how.naming or "kohya"),
        dtype=how.dtype,
        words=words,
        force=how.force,
    )
    if how.dtype != torch.float32:  # as narrow as the numbers are, so is what the file adds
        changes = _changes_of(checkpoint, base, factors)
        file = read_lora(out, checkpoint)
        extraction = as_written(extraction, file, changes, checkpoint)
    lossless = factors is not None and size is None and how.dtype == torch.float32
    facts = _facts(written, extraction, lossless=lossless)
    return Exported(facts, tuple(_shortcomings(extraction, checkpoint)))


def _export_differences(
    checkpoint: Checkpoint, base: Checkpoint, out: Path, *, how: LoraExport
) -> Exported:
    words = _words(checkpoint.provenance)
    written, off = write_differences(
        out, base, checkpoint, dtype=how.dtype, words=words, force=how.force
    )
    facts = {
        "written": written.path,
        "layers": written.layers,
        "bytes": written.path.stat().st_size,
        "largest_rounding": off,
    }
    return Exported(facts)


def _run_factors(
    model: str, checkpoint: Checkpoint, base: Checkpoint | None
) -> dict[str, Factors] | None:
    """The factors beside a run's model, where they are all of its last edit; None elsewhere."""
    path = Path(os.path.expanduser(model))
    run = path.parent if path.name == MODEL and not (path / FACTORS).exists() else path
    if not (run / FACTORS).is_file() or not checkpoint.edits:
        return None
    last = checkpoint.edits[-1]
    weights = checkpoint.components[last.component]
    if base is not None and not _is_before(base, checkpoint):
        return None  # another base: the difference is more than the last edit
    factors = load_factors(run / FACTORS, result=last.result_hash)
    strange = [name for name in factors if name not in weights]
    if strange:
        raise CheckpointError(
            f"{run / FACTORS} has factors of {strange[0][:80]!r}, which this model has not; erase "
            "again to have it written"
        )
    held = sum(weights[name].numel() for name in factors)
    # A mask that frees parts of weights leaves some of the change outside the factors.
    if last.selected <= held or (base is not None and _hold(factors, base, checkpoint)):
        return factors
    return None


def _is_before(base: Checkpoint, checkpoint: Checkpoint) -> bool:
    """Whether a model is the one that the last edit of another was made from, in all components."""
    last = checkpoint.edits[-1]
    return all(
        base.hash_of(c) == (last.base_hash if c == last.component else checkpoint.hash_of(c))
        for c in checkpoint.architecture.editable
    )


def _changes_of(
    checkpoint: Checkpoint, base: Checkpoint | None, factors: Mapping[str, Factors] | None
) -> Iterator[tuple[str, str, Tensor]]:
    """Component, name and whole change of each weight: of a run's own factors, or of two models."""
    if factors is None:
        assert base is not None
        yield from moved_in(base, checkpoint)
        return
    component = checkpoint.edits[-1].component
    for name, one in factors.items():
        yield component, name, one.change()


def _hold(factors: Mapping[str, Factors], base: Checkpoint, checkpoint: Checkpoint) -> bool:
    """Whether no other weight moved than those with factors."""
    component = checkpoint.edits[-1].component
    return all(c == component and n in factors for c, n, _ in moved_in(base, checkpoint))


def _words(provenance: Provenance | None) -> dict[str, str]:
    """Whose LoRA it is, for the header."""
    if provenance is None or not provenance.edits:
        return {}
    last = provenance.edits[-1]
    return {
        "concepts": ", ".join(last.each),
        "base": last.base,
        "base_hash": last.base_hash,
        "result_hash": last.result_hash,
        "method": str(last.config.get("method", "")),
    }


def _together(errors: Mapping[str, float], whole: Mapping[str, float]) -> float:
    total = sum(norm**2 for norm in whole.values())
    lost = sum((errors[name] * norm) ** 2 for name, norm in whole.items())
    return sqrt(lost / total) if total else 0.0


def _facts(written: WrittenLora, extraction: Extraction, *, lossless: bool) -> dict[str, Any]:
    worst = extraction.worst
    return {
        "written": written.path,
        "layers": written.layers,
        "largest_rank": written.rank,
        "alpha": written.alpha,
        "bytes": written.path.stat().st_size,
        "lossless": lossless,
        "error": extraction.error,
        "worst_error": extraction.errors[worst],
        "worst_layer": worst.removesuffix(".weight"),
        "errors": {n.removesuffix(".weight"): e for n, e in extraction.errors.items()},
        "left_out": list(extraction.left_out),
    }


def _shortcomings(extraction: Extraction, checkpoint: Checkpoint) -> list[str]:
    """What a user of the file should know, and what holds more."""
    said = []
    if extraction.left_out:
        said.append(
            f"{len(extraction.left_out)} biases and norms moved, {extraction.left_out[0]} first, "
            "and no LoRA has a place for them"
        )
    if extraction.error > _LOSSY:
        said.append(
            f"the LoRA misses {100 * extraction.error:.0f} % of the change, {extraction.worst} "
            f"with {100 * extraction.errors[extraction.worst]:.0f} % the most; a larger --rank or "
            "--energy holds more, --to patch is exact, and --to diff holds the full differences"
        )
    full = sum(
        checkpoint.components[component][name].numel()
        for component, own in extraction.factors.items()
        for name in own
    )
    if extraction.numbers > full:
        said.append(
            f"the factors hold {extraction.numbers:,} numbers and the full differences {full:,}; "
            "--to diff is smaller and holds all"
        )
    return said
