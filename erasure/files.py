"""Write files so that a reader never meets half of one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from erasure.disk import disk_errors
from erasure.errors import DiskError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield `path.part` to write to; it takes the place of `path` only if the block succeeds.

    The bytes are on the disk before the name changes, so that a crash leaves the old file or the
    new one. Whatever fails, no `.part` stays behind.

    Raises:
        DiskError: the disk refuses, here or in the block.
    """
    part = path.with_name(f"{path.name}.part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.chmod(0o644)  # safetensors makes files that only their owner can read
            os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically; metadata values are strings.

    Raises:
        DiskError: the disk refuses.
    """
    with atomic(path) as part:
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, part, dict(metadata))
        except SafetensorError as err:  # how the library reports a full disk
            raise DiskError(
                f"cannot write {path}: {err}; free some space or write elsewhere"
            ) from err
