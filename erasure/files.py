"""Write files so that a reader never meets half of one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield `path.part` to write to; it takes the place of `path` only if the block succeeds.

    The bytes are on the disk before the name changes, so that a crash leaves the old file or the
    new one. Whatever fails, no `.part` stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; metadata values are strings."""
    with atomic(path) as part:
        save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata=dict(metadata))
