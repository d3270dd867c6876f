"""Tensors that are costly to make, kept on disk under a hash of what they were made from."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from erasure.storage.tensors.tensor_file import write_tensors

log = logging.getLogger(__name__)
FORMAT: Final = "erasure-cache 1"


def content_key(**parts: Any) -> str:  # noqa: ANN401
    """Hash of plain values, 32 hex digits; equal values in any order give the same key."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class TensorCache:
    """A folder of safetensors files; delete it at any time."""

    folder: Path

    def get(
        self, kind: str, key: str, make: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What is stored under the key, made and stored now if it is not there or is damaged."""
        tensors = self.find(kind, key)
        if tensors is None:
            tensors = dict(make())
            self.keep(kind, key, tensors)
        return tensors

    def find(self, kind: str, key: str) -> dict[str, Tensor] | None:
        """What is stored under the key; None if it is not there or is damaged."""
        path = self._path(kind, key)
        if path.is_file():
            try:
                return load_file(path)
            except (OSError, SafetensorError) as err:
                log.warning("%s is damaged (%s) and is made again", path, err)
        return None

    def keep(self, kind: str, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store under the key; DiskError where the disk refuses."""
        write_tensors(self._path(kind, key), tensors, {"format": FORMAT})

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.safetensors"
