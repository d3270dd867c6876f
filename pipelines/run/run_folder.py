"""The folder of a run: whether it may be written, and what may be removed from it."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from erasure.checkpoints.provenance import FILE_NAME
from erasure.errors import CheckpointError, ConfigError, DiskError, way
from erasure.storage.disk import disk_errors
from erasure.storage.links import remove_folder
from erasure.storage.state_file import drop
from pipelines.configs.method_table import converted
from pipelines.early import refuse_both

RECIPE: Final = "recipe.toml"
MASK: Final = "mask.safetensors"
STATE: Final = "state.safetensors"
RECORD: Final = FILE_NAME
FACTORS: Final = "factors.safetensors"
LOOKS: Final = ("unseen.csv", "unseen.png")
"""What `--until-unseen` saw, as data and as a chart."""
LORA: Final = "lora.safetensors"
LOOK: Final = "look-"
"""How the names of their pictures begin, a file a look; the step and `.png` follow."""
MODEL: Final = "model"
_PICTURES: Final = ("density.png", "loss.png", "loss.csv", "grid.png", *LOOKS)
_WRITTEN: Final = (MASK, RECORD, FACTORS, LORA, *_PICTURES)
"""Files, beside the recipe and the state."""
RECIPE_HEADER: Final = (
    "A recipe of diffusion-erasure.\n"
    "Paths stand here as they were given, as --resume needs them; leave this file out of what you "
    "publish."
)
_HEADING: Final = f"# {RECIPE_HEADER.splitlines()[0]}"
"""First line of a run's recipe."""
_ANY: Final = _HEADING.rstrip(".")
"""How the recipes of all commands begin."""
_KINDS: Final = {"suite": "evaluation", "attacks": "audit", "retrained": "distance"}
"""Key that a recipe of another command has -> what its folder holds."""
_FREE: Final = (
    ("cache",),
    ("checkpointing",),
    ("save_every",),
    ("stream",),
    ("method", "micro_batch"),
    *(("saliency", key) for key in ("batch_size", "checkpointing", "groups", "mapped")),
    *(("saliency", key) for key in ("offload", "stream")),
    *((part, "drawing", key) for part in ("data", "grid") for key in ("batch_size", "stream")),
)
"""Keys of a recipe that may be other ones when a run goes on: they decide where drawn pictures are
looked for, what is saved when, or how much memory it needs, and the result by rounding alone."""


def may_write(out: Path, recipe: str, model: str, *, resume: bool, force: bool) -> bool:
    """Check that a run may be written to `out`, before the work begins.

    Nothing is touched, but for a state that a finished run was killed over before it could drop it.

    Args:
        recipe: of the run, as TOML.
        model: that is erased from; it must not lie where `force` removes an older result.
        resume: go on with a run that was cut; where there is none, begin one. What decides how
            much memory it needs may be set anew.
        force: replace an older run, but no folder of any other kind.

    Returns:
        Whether there is a run to go on with.

    Raises:
        ConfigError: the run there has other settings, or both `resume` and `force` are given.
        CheckpointError: the folder is in use, or the run in it is finished.
        DiskError: nothing can be written there.
    """
    refuse_both(resume=resume, force=force)
    with disk_errors(out):
        _require_writable(out)
        if not out.exists() or all(path.suffix == ".part" for path in out.iterdir()):
            return False
        begun = recipe_of(out)
        if resume:
            _require_same(out, begun, recipe)
            return True
    if not force:
        hint = "--resume to continue it, " if begun and not (out / RECORD).exists() else ""
        raise CheckpointError(
            f"{out} exists; give another path, {hint}or ", way("force", True), " to replace it"
        )
    if begun is None:
        raise CheckpointError(f"{out} is not empty and no run of erasure; give another path")
    if (out / MODEL).exists() and not (out / MODEL / RECORD).exists():
        raise CheckpointError(f"{out / MODEL} is no result of erasure; give another path for --out")
    if os.path.exists(model) and Path(model).resolve().is_relative_to(out.resolve()):
        raise CheckpointError(
            f"the model {model} lies in {out}, which ",
            way("force", True),
            " would replace; give another path",
        )
    return False


def clear(out: Path) -> None:
    """Remove an older run that `may_write` let pass, and nothing that no run wrote.

    Raises:
        DiskError: the disk refuses.
    """
    model, leaving = out / MODEL, out / f"{MODEL}.old"
    with disk_errors(out):
        # Killed at any point, what is left still looks like a run, and can be cleared again; but
        # not like a finished one.
        (out / RECORD).unlink(missing_ok=True)
        remove_folder(leaving)
        if model.exists() or model.is_symlink():
            model.replace(leaving)
            remove_folder(leaving)
        drop(out / STATE)
        for path in (*(out / name for name in _WRITTEN), *_numbered(out), out / RECIPE):
            path.unlink(missing_ok=True)


def require_no_other(out: Path, kind: str) -> None:
    """Refuse a file, and a folder whose recipe is of a run, or of another command than the one that
    asks.

    Args:
        kind: `evaluation`, `audit` or `distance`.

    Raises:
        ConfigError: it is, or the folder is that of a model or of a part of one; so also with
            `--force`.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give the path of a folder")
    require_no_part(out, kind)
    text = _text_of(out / RECIPE)
    there = _kind_of(text) if text.startswith(_ANY) else kind
    if (out / RECORD).is_file() or (out / "model_index.json").is_file():
        there = "run or model"
    if there != kind:
        raise ConfigError(
            f"{out} is the folder of a{'n' if there[0] in 'ae' else ''} {there}, which would be "
            f"written over in part; give another --out, such as {out}.{kind}"
        )


def require_no_part(out: Path, kind: str) -> None:
    """Refuse the folder of a model's part, such as `MODEL/unet` or `MODEL/tokenizer`.

    Args:
        kind: of what is to be written, in a word.

    Raises:
        ConfigError: it is one; so also with `--force`.
    """
    config = next(out.glob("*config.json"), None)
    if config is not None:
        raise ConfigError(
            f"{out} is the folder of a part of a model, as it has a {config.name}; give another ",
            way("out"),
            f", such as {out.absolute().parent.name}.{kind}",
        )


def _kind_of(text: str) -> str:
    """What a recipe is of; one that is cut short counts as a run's."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError):
        return "run"
    return next((kind for key, kind in _KINDS.items() if key in tables), "run")


def _text_of(file: Path) -> str:
    """The text of a recipe; empty where there is none."""
    return file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""


def _numbered(out: Path) -> Iterator[Path]:
    yield from out.glob("grid-*.png")
    yield from out.glob(f"{LOOK}*.png")


def recipe_of(out: Path) -> str | None:
    """The recipe of the run in a folder; None where it holds no run."""
    text = _text_of(out / RECIPE)
    return text if text.startswith(_HEADING) and _kind_of(text) == "run" else None


def _require_same(out: Path, begun: str | None, recipe: str) -> None:
    if begun is None:
        raise CheckpointError(f"{out} holds no run to resume; give another path")
    if (out / RECORD).exists():
        drop(out / STATE)
        raise CheckpointError(
            f"{out} is finished, so there is nothing to resume; give another path, or ",
            way("force", True),
            " without ",
            way("resume", True),
            " to replace it",
        )
    if not same_run(begun, recipe):
        raise ConfigError(
            f"{out} was begun with other settings; give those of its {RECIPE} "
            f"(--recipe {out / RECIPE}), or start anew with ",
            way("force", True),
        )


def same_run(begun: str, recipe: str) -> bool:
    """Whether the one recipe goes on with a run of the other."""
    try:
        return _fixed(begun) == _fixed(recipe)
    except (ValueError, RecursionError):  # cut short, or written by hand
        return False


def _fixed(recipe: str) -> dict[str, Any]:
    """The tables of a recipe, of an older form too, without the keys that are free."""
    tables = converted(tomllib.loads(recipe))
    for *path, key in _FREE:
        inner: Any = tables
        for part in path:
            inner = inner.get(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner.pop(key, None)
    return tables


def _require_writable(out: Path) -> None:
    """Told at once, not after the pictures are drawn."""
    there = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise CheckpointError(f"cannot write {out}: {there} is a file; give the path of a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise DiskError(f"cannot write {out}: {there} cannot be written to; write elsewhere")
