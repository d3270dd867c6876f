"""ModelSpec header entries of a single file: what tools show beside a model's name.

Source: ModelSpec 1.0.1 of Stability AI.
"""

from dataclasses import dataclass
from typing import Final

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.provenance import Provenance
from erasure.storage.tensors.tensor_file import DATA_HASH

_PREDICTIONS: Final = {"epsilon": "epsilon", "v_prediction": "v"}
"""What the standard has a word for."""
_ENDINGS: Final = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The entries a person chooses; empty ones are left out."""

    title: str = ""
    """Default: as `default_title`."""
    description: str = ""
    author: str = ""
    license: str = ""
    date: str = ""
    """ISO 8601."""

    def to_header(self, checkpoint: Checkpoint) -> dict[str, str]:
        """`modelspec.*`, with the entries that follow from the checkpoint.

        The data hash is left empty for the writer, who knows it at the end.
        """
        description = checkpoint.description
        prediction = description.prediction_type
        side = checkpoint.architecture.own_size(description)[0]
        entries = {
            "sai_model_spec": "1.0.1",
            "architecture": checkpoint.architecture.modelspec.get(prediction, ""),
            "implementation": checkpoint.architecture.implementation,
            "title": self.title or default_title(checkpoint, checkpoint.provenance),
            "resolution": f"{side}x{side}",
            "prediction_type": _PREDICTIONS.get(prediction, ""),
            "description": self.description,
            "author": self.author,
            "license": self.license,
            "date": self.date,
            "merged_from": ", ".join(_sources(checkpoint)),
        }
        named = {f"modelspec.{key}": value for key, value in entries.items() if value}
        return {**named, DATA_HASH: ""}


def _sources(checkpoint: Checkpoint) -> list[str]:
    """The model and the LoRA files that were merged into it; empty where none was."""
    files = [f"{one['file']}:{one['strength']:g}" for one in checkpoint.merged]
    return [checkpoint.name, *files] if files else []


def default_title(checkpoint: Checkpoint, provenance: Provenance | None) -> str:
    """The base and what was erased from it; of a model that does not say its base, or of which
    nothing was erased, its own name."""
    edits = provenance.edits if provenance else ()
    name = edits[0].base if edits else ""
    if not name:
        return _plain(checkpoint.name)
    assert provenance is not None
    return f"{_plain(name)} without {', '.join(provenance.concepts)}"


def _plain(name: str) -> str:
    """A file's name without its ending; a folder may well be called `sd-v1.5`."""
    ending = next((end for end in _ENDINGS if name.lower().endswith(end)), "")
    return name[: -len(ending)] if ending else name
