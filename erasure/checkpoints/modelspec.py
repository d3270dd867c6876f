"""ModelSpec header entries of a single file: what tools show beside a model's name.

Source: ModelSpec 1.0.1 of Stability AI.
"""

from dataclasses import dataclass

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.tensor_file import DATA_HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The entries a person chooses; empty ones are left out."""

    title: str = ""
    """Default: the name of the checkpoint it was made from."""
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
        side = description.resolution
        entries = {
            "sai_model_spec": "1.0.1",
            "architecture": checkpoint.family.architectures.get(prediction, ""),
            "implementation": "sgm",
            "title": self.title or checkpoint.path.stem,
            "resolution": f"{side}x{side}",
            "prediction_type": "v" if prediction.startswith("v") else prediction,
            "description": self.description,
            "author": self.author,
            "license": self.license,
            "date": self.date,
        }
        named = {f"modelspec.{key}": value for key, value in entries.items() if value}
        return {**named, DATA_HASH: ""}
