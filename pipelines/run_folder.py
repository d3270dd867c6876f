"""The folder of a run: whether it may be written, and what may be removed from it."""

import os
import shutil
from pathlib import Path
from typing import Final

from erasure.checkpoints.provenance import FILE_NAME
from erasure.disk import disk_errors
from erasure.errors import CheckpointError, ConfigError, DiskError

RECIPE: Final = "recipe.toml"
MASK: Final = "mask.safetensors"
STATE: Final = "state.safetensors"
RECORD: Final = FILE_NAME
MODEL: Final = "model"
_WRITTEN: Final = (RECIPE, MASK, STATE, RECORD, "density.png", "loss.png", "loss.csv", "grid.png")
_HEADING: Final = "# A recipe of diffusion-erasure."
"""First line of what `dump_toml` writes."""


def may_write(out: Path, recipe: str, model: str, *, resume: bool, force: bool) -> bool:
    """Check that a run may be written to `out`, before the work begins; nothing is touched.

    Args:
        recipe: of the run, as TOML.
        model: that is erased from; it must not lie where `force` removes an older result.
        resume: go on with a run that was cut; where there is none, begin one.
        force: replace an older run, but no folder of any other kind.

    Returns:
        Whether there is a run to go on with.

    Raises:
        ConfigError: the run there has other settings.
        CheckpointError: the folder is in use, or the run in it is finished.
        DiskError: nothing can be written there.
    """
    with disk_errors(out):
        _require_writable(out)
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return False
        begun = _recipe_of(out)
        if resume and not force:
            _require_same(out, begun, recipe)
        if resume and begun == recipe and not (out / RECORD).exists():
            return True
    if not force:
        hint = "--resume to continue it, " if begun and not (out / RECORD).exists() else ""
        raise CheckpointError(f"{out} exists; give another path, {hint}or --force to replace it")
    if begun is None:
        raise CheckpointError(f"{out} is not empty and no run of erasure; give another path")
    if (out / MODEL).exists() and not (out / MODEL / RECORD).exists():
        raise CheckpointError(f"{out / MODEL} is no result of erasure; give another path for --out")
    if os.path.exists(model) and Path(model).resolve().is_relative_to(out.resolve()):
        raise CheckpointError(
            f"the model {model} lies in {out}, which --force would replace; give another path"
        )
    return False


def clear(out: Path) -> None:
    """Remove an older run that `may_write` let pass, and nothing that no run wrote.

    Raises:
        DiskError: the disk refuses.
    """
    with disk_errors(out):
        for path in (*(out / name for name in _WRITTEN), *out.glob("grid-*.png")):
            path.unlink(missing_ok=True)
        if (out / MODEL).exists():
            shutil.rmtree(out / MODEL)


def _recipe_of(out: Path) -> str | None:
    """The recipe of the run in a folder; None where it holds no run."""
    file = out / RECIPE
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8", errors="replace")
    return text if text.startswith(_HEADING) else None


def _require_same(out: Path, begun: str | None, recipe: str) -> None:
    if begun is None:
        raise CheckpointError(f"{out} holds no run to resume; give another path")
    if (out / RECORD).exists():
        raise CheckpointError(
            f"{out} is finished, so there is nothing to resume; give another path, or --force "
            "without --resume to replace it"
        )
    if begun != recipe:
        raise ConfigError(
            f"{out} was begun with other settings; give those of its {RECIPE} "
            f"(--recipe {out / RECIPE}), or start anew with --force"
        )


def _require_writable(out: Path) -> None:
    """Told at once, not after the pictures are drawn."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise CheckpointError(f"cannot write {out}: {there} is a file; give the path of a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DiskError(f"cannot write {out}: {there} cannot be written to; write elsewhere")
