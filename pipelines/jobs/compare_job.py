"""What `erasure compare` is asked for, without its command line: a grid of two checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.storage.files import write_json
from pipelines.configs.resolving import drawing_defaults
from pipelines.configs.settings import DrawingConfig
from pipelines.data.prompt_checks import warn_of_prompts
from pipelines.drawing.own_guidance import refuse_unguided, tell_guidance
from pipelines.process.progress import Reporter
from pipelines.run.comparing import Comparison, compare
from pipelines.run.memory import enough_memory, of_drawing
from pipelines.run.model_facts import tell_model
from pipelines.run.models import files_for, is_canvas, open_model, pick_device


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareJob:
    """One comparison as it was asked for."""

    before: str
    after: str
    reading: Mapping[str, Any]
    """How the models are read: keywords of `open_model`."""
    prompts: Sequence[str]
    seeds: Sequence[int]
    erased: Sequence[str] = ()
    """Prompts or concepts whose rows are marked; those of the model after if none."""
    drawing: Mapping[str, Any]
    """Fields of `DrawingConfig`; None leaves one to the model's kind."""
    size: int | None = None
    """Pixels a side; the model's own if none."""
    device: str = "auto"

    def write(self, out: Path, record: Path, pictures: Path | None) -> Sequence[Path]:
        """Draw, and write the grid, its record, and each picture where there is a folder for them.

        Returns:
            The files of the grid.

        Raises:
            ErasureError: a model cannot be read, or draws nothing.
        """
        device = pick_device(self.device)
        one, other = self._opened()
        read_as = {"before": tell_model(one, "before"), "after": tell_model(other, "after")}
        texts = self._texts(one)
        for each in (one, other):
            warn_of_prompts("prompts", texts, each)
        drawing = self._drawing(one)
        with enough_memory(
            "drawing pictures", of_drawing(drawing.batch_size, "batch_size"), device
        ):
            comparison = compare(
                one,
                other,
                texts,
                self.seeds,
                erased=self._marked(other),
                drawing=drawing,
                device=device,
                reporter=Reporter(),
                size=self.size,
                title=f"{one.name} | {other.name}",
            )
        models = {"models": read_as, "weights": {"before": _edited(one), "after": _edited(other)}}
        return _written(comparison, models, out, record, pictures)

    def _opened(self) -> tuple[Checkpoint, Checkpoint]:
        """Both models, each read with the configs and text encoders that it has use for."""
        config, texts = self.reading.get("config"), self.reading.get("text_encoders")
        models = (self.before, self.after)
        one, other = (
            open_model(model, **{**self.reading, **own})
            for model, own in zip(models, files_for(models, config, texts), strict=True)
        )
        return one, other

    def _texts(self, one: Checkpoint) -> Sequence[str]:
        """The prompts; of a model of classes, the names of those that they number or spell."""
        return self.prompts if one.classes is None else tuple(map(one.classes.name, self.prompts))

    def _marked(self, other: Checkpoint) -> list[str]:
        if self.erased or other.provenance is None:
            return list(self.erased)
        return [*other.provenance.concepts]

    def _drawing(self, one: Checkpoint) -> DrawingConfig:
        """How to draw, which the kind of the first model decides where nothing is given."""
        canvas, family = is_canvas(one), one.architecture
        refuse_unguided(family, self.drawing.get("guidance"))
        if self.drawing.get("guidance") is None and not canvas:
            tell_guidance(family)
        return drawing_defaults(
            self.drawing,
            canvas=canvas,
            labels=one.classes is not None,
            guidance=family.own_guidance,
        )


def _edited(checkpoint: Checkpoint) -> dict[str, str]:
    """Component -> hash that its newest edit led to; a record tells by it which model was drawn."""
    edits = () if checkpoint.provenance is None else checkpoint.provenance.edits
    return {edit.component: edit.result_hash for edit in edits}


def _written(
    comparison: Comparison,
    models: Mapping[str, Any],
    out: Path,
    record: Path,
    pictures: Path | None,
) -> Sequence[Path]:
    """The record comes last, so that a new comparison that was cut has none."""
    if pictures is not None:
        comparison.save_pictures(pictures)
    files = comparison.grid.save(out)
    described = {**comparison.grid.described(out), **models}
    write_json(record, described)
    return files
