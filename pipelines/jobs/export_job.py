"""What `erasure export` is asked for, without its command line: one file or folder, written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.writing.card import model_card
from erasure.checkpoints.writing.folder import write_folder
from erasure.checkpoints.writing.modelspec import ModelSpec
from erasure.checkpoints.writing.single_file import write_single_file
from erasure.checkpoints.writing.writing import Written
from erasure.errors import ConfigError
from erasure.lora.extracting import Size
from erasure.patches.checkpoint_patch import checkpoint_patches
from erasure.patches.patch_file import save_patches
from erasure.storage.disk import refuse_taken_file
from pipelines.run.exporting_lora import Exported, LoraExport
from pipelines.run.merging_loras import merged_base
from pipelines.run.model_facts import tell_model
from pipelines.run.models import is_single_file, open_model

Form = Literal["diffusers", "single-file", "patch", "lora", "diff"]
DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""Name on the command line -> number type."""
_OF_ONE_MODEL: Final = ("config", "vae", "text_encoders")
"""How one of model and base is read: these say what a single file leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """One export as it was asked for."""

    model: str
    out: Path
    form: Form
    reading: Mapping[str, Any]
    """How the model is read: keywords of `open_model`."""
    base: str | None = None
    """The model before the erasure, where the difference from it goes out."""
    loras: Sequence[str] = ()
    """LoRA files that are merged into the base, or into the model where no base is given."""
    dtype: torch.dtype | None = None
    """None keeps each weight's own."""
    title: str | None = None
    """For the header of a single file."""
    naming: str | None = None
    """For a LoRA: `kohya` or `diffusers`."""
    size: Size | None = None
    """For a LoRA: how thin the factors are."""
    force: bool = False

    def write(self) -> Exported:
        """Open the model, and write what is asked for.

        Raises:
            ConfigError: LoRA files are to be merged into a model that was edited.
            ErasureError: a model or a LoRA cannot be read, a model has not what the form needs, or
                the disk refuses.
        """
        checkpoint, before = self._opened()
        if before is None:
            checkpoint = self._merged(checkpoint)
        else:
            before = merged_base(before, self.loras)
        facts = tell_model(checkpoint)
        if self.form == "patch":
            assert before is not None
            return self._patch(before, checkpoint)
        if self.form in ("lora", "diff"):
            return self._lora(checkpoint, before)
        return self._model(checkpoint, facts)

    def _opened(self) -> tuple[Checkpoint, Checkpoint | None]:
        """The model and its base; what a single file leaves out is read for the model, but for the
        base where that alone is a single file."""
        alike = {name: v for name, v in self.reading.items() if name not in _OF_ONE_MODEL}
        if self.base is None:
            return open_model(self.model, **self.reading), None
        if is_single_file(self.base) and not is_single_file(self.model):
            return open_model(self.model, **alike), open_model(self.base, **self.reading)
        return open_model(self.model, **self.reading), open_model(self.base, **alike)

    def _merged(self, checkpoint: Checkpoint) -> Checkpoint:
        if self.loras and checkpoint.edits:
            raise ConfigError(
                f"{self.model} was edited, and with {self.loras[0]} merged its record would speak "
                "of other weights; merge the file into the base, and erase from that"
            )
        return merged_base(checkpoint, self.loras)

    def _patch(self, before: Checkpoint, after: Checkpoint) -> Exported:
        refuse_taken_file(self.out, force=self.force)
        patches = checkpoint_patches(before, after)
        save_patches(self.out, patches)
        parts = after.components.values()
        whole = sum(w.numel() * w.element_size() for part in parts for w in part.values())
        size = self.out.stat().st_size
        return Exported(
            {
                "written": self.out,
                "moved": sum(patch.moved for patch in patches.values()),
                "bytes": size,
                "of the checkpoint": f"{100 * size / whole:.1f} %",
            },
            for_machines_alone={"of the checkpoint": f"{size / whole:.1%}"},
        )

    def _lora(self, checkpoint: Checkpoint, before: Checkpoint | None) -> Exported:
        how = LoraExport(
            whole=self.form == "diff",
            naming=self.naming,
            size=self.size,
            dtype=self.dtype or torch.float32,
            force=self.force,
        )
        return how.write(self.model, checkpoint, before, self.out)

    def _model(self, checkpoint: Checkpoint, facts: Mapping[str, Any]) -> Exported:
        files, main = checkpoint.architecture.files, checkpoint.architecture.main_part.title
        misread: tuple[str, ...] = ()
        if self.form == "single-file":
            misread = files.misread(checkpoint, dtype=self.dtype)
        written = self._written(checkpoint)
        return Exported(
            {"written": written.path, main: written.network_hash}, misread, {"read_as": facts}
        )

    def _written(self, checkpoint: Checkpoint) -> Written:
        """The single file, or the folder with a card that says what was erased."""
        if self.form == "single-file":
            spec = ModelSpec(title=self.title) if self.title else None
            return write_single_file(
                checkpoint, self.out, dtype=self.dtype, spec=spec, force=self.force
            )
        made, edits = checkpoint.provenance, checkpoint.edits
        card = model_card(made, base=edits[0].base or checkpoint.name) if made and edits else None
        return write_folder(checkpoint, self.out, dtype=self.dtype, card=card, force=self.force)
