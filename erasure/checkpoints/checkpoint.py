"""A Stable Diffusion checkpoint in memory, whatever it was read from."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.architectures.labels.classes import Classes
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.description import TOKENIZER, Description, encoder_of
from erasure.checkpoints.edit_record import EditRecord
from erasure.checkpoints.facts.training_kind import TrainingKind
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.vocabulary import CLIP_SIZE, missing_vocabulary
from erasure.errors import CheckpointError
from erasure.local_paths import last_part
from erasure.storage.tensors.hashing import weights_hash

_HUB_FOLDER: Final = "models--"
"""How the hub's cache begins the name of a model's folder: `models--owner--name/snapshots/HASH`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Weights and all that belongs to them.

    Weights are CPU tensors in their stored type. Read from safetensors, they stay on disk until
    used; do not change them in place.

    Examples:
        >>> checkpoint = read_checkpoint(Path("model"))
        >>> checkpoint.description.prediction_type
        'epsilon'
        >>> checkpoint.network["conv_in.weight"].shape
        torch.Size([8, 4, 3, 3])
    """

    architecture: Architecture
    path: Path
    components: Mapping[str, Mapping[str, Tensor]] = field(repr=False)
    """Component of the architecture, such as `unet` or `vae` -> diffusers name -> weight.
    Text names have `text_model.`."""
    description: Description = field(repr=False)
    extras: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """Weights of the single file that diffusers has no place for, under their original names."""
    carried: Mapping[str, Path] = field(default_factory=dict, repr=False)
    """Other files of the folder (safety checker, licence): place in the folder -> file."""
    provenance: Provenance | None = None
    """What was done to it, where an erasure wrote it."""
    notes: tuple[str, ...] = ()
    """What the model did not hold and was taken from elsewhere: a sentence each, to be shown."""
    merged: tuple[Mapping[str, Any], ...] = ()
    """LoRA files that were merged into these weights after they were read: for each its name, hash,
    strength and how many weights it changed, as plain JSON values."""
    kind: TrainingKind = field(default_factory=TrainingKind)
    """Who says what the model predicts and at which noise levels."""
    in_file: frozenset[str] = frozenset()
    """The components that came from a single file; none of what was read from a folder."""
    sources: Mapping[str, Path] = field(default_factory=dict, repr=False)
    """What was read beside `path`: a component, or `config` -> its file or folder."""

    def only(self, components: Collection[str]) -> "Checkpoint":
        """Give the same without the weights and vocabularies of other components, and without what
        a single file holds beside these."""
        wanted = {name.replace("text_encoder", TOKENIZER) for name in components}
        words = {k: v for k, v in self.description.vocabularies.items() if k in wanted}
        others = (part for part in self.architecture.parts if part.component not in components)
        left = tuple(prefix for part in others for prefix in part.prefixes)
        return replace(
            self,
            components={k: v for k, v in self.components.items() if k in components},
            extras={k: v for k, v in self.extras.items() if not k.startswith(left)},
            description=replace(self.description, vocabularies=words),
        )

    @property
    def public_notes(self) -> tuple[str, ...]:
        """`notes` as a record has them, which others read: paths by their last part."""
        notes = self.notes
        for path in sorted(map(str, {self.path, *self.sources.values()}), key=len, reverse=True):
            notes = tuple(note.replace(path, last_part(path)) for note in notes)
        return notes

    @property
    def edits(self) -> tuple[EditRecord, ...]:
        """Its erasures, oldest first; none where it says of none."""
        return self.provenance.edits if self.provenance else ()

    @property
    def name(self) -> str:
        """What to call it: its id on the hub, or the last part of its path; of a model in a run the
        run's, as all of those are called `model`."""
        place = self.path.resolve() if self.path.name in ("", "..") else self.path
        above = place.parent
        if above.name == "snapshots" and above.parent.name.startswith(_HUB_FOLDER):
            return above.parent.name.removeprefix(_HUB_FOLDER).replace("--", "/")
        in_run = place.name == "model" and (above / "mask.safetensors").is_file()
        return above.resolve().name if in_run else place.name

    @property
    def classes(self) -> Classes | None:
        """The classes that it is told by number; None of a model that reads text."""
        read = self.architecture.classes
        return None if read is None else read(self.description, str(self.path))

    @property
    def network(self) -> Mapping[str, Tensor]:
        """diffusers name -> weight of the main component, which edits change."""
        return self.components[self.architecture.main]

    def network_hash(self) -> str:
        """`weights_hash` of the main component as stored."""
        return weights_hash(self.network)

    def hash_of(self, component: str) -> str:
        """`weights_hash` of a component as stored."""
        return weights_hash(self.components[component])

    def hashes(self) -> dict[str, str]:
        """`weights_hash` of every component as stored."""
        return {component: self.hash_of(component) for component in self.components}

    def digest(self) -> str:
        """SHA-256, 64 hex digits, of all weights, configs and vocabularies: of all that decides
        what is drawn."""
        return self.digest_without("")

    def digest_without(self, component: str) -> str:
        """`digest` of all but the weights of one component."""
        hashes = {name: self.hash_of(name) for name in self.components if name != component}
        decides = {**hashes, "description": self.description.digest()}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def having(self, component: str, weights: Mapping[str, Tensor]) -> "Checkpoint":
        """The same with other weights of one component.

        Raises:
            CheckpointError: they have other names or shapes than its own.
        """
        own = self.components[component]
        if {n: w.shape for n, w in own.items()} != {n: w.shape for n, w in weights.items()}:
            raise CheckpointError(
                f"the new {component} has other names or shapes than that of {self.path}; give "
                "weights of the same architecture"
            )
        return replace(self, components={**self.components, component: weights})

    def tokenizer_files(self, tokenizer: str = "tokenizer") -> Mapping[str, bytes]:
        """Name -> content of a tokenizer, by its folder; CheckpointError where there is none."""
        files = self.description.vocabulary(tokenizer)
        if not files:
            encoder = self.description.components[encoder_of(tokenizer)]
            size = whole_number(encoder, "vocab_size", encoder_of(tokenizer), CLIP_SIZE)
            raise missing_vocabulary(self.path, size)
        return files
