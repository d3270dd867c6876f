"""Where ComfyUI keeps models and patches, and what they are called in its menus."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import folder_paths

from erasure.errors import PatchError
from erasure.patches.patch import Patch
from erasure.patches.patch_file import load_patches

PATCHES: Final = "erasure_patches"
"""Kind of file, and the folder of `models` that it lies in."""
ENDINGS: Final = frozenset({".patch", ".safetensors"})
MODELS: Final = ("checkpoints", "diffusion_models")
"""Kinds of file that hold a model; one name in both means the first."""
NONE: Final = "none"


def register() -> None:
    """Make the folder of patches known; where a user's settings name others, they stay."""
    place = str(Path(folder_paths.models_dir) / PATCHES)
    places, endings = folder_paths.folder_names_and_paths.get(PATCHES, ([], set()))
    joined = [*places, *([] if place in places else [place])]
    folder_paths.folder_names_and_paths[PATCHES] = (joined, set(endings) | ENDINGS)


def patch_names() -> list[str]:
    return sorted(folder_paths.get_filename_list(PATCHES))


def model_names() -> list[str]:
    """Names of models; only safetensors files are offered, since others may run code when read."""
    names = (name for kind in MODELS for name in folder_paths.get_filename_list(kind))
    return sorted({name for name in names if name.endswith(".safetensors")})


def patch_path(name: str) -> Path:
    return _path(name, (PATCHES,))


def model_path(name: str) -> Path:
    return _path(name, MODELS)


def read_patches(name: str) -> dict[str, Patch]:
    """Component -> its patch."""
    return load_patches(patch_path(name))


def fingerprint(*paths: Path) -> str:
    """What changes when one of the files does: their sizes and times, since to read a model for
    its hash takes as long as to load it."""
    return repr(list(_states(paths)))


def _states(paths: tuple[Path, ...]) -> Iterator[tuple[str, int, int]]:
    for path in paths:
        state = path.stat()
        yield str(path), state.st_size, state.st_mtime_ns


def _path(name: str, kinds: tuple[str, ...]) -> Path:
    for kind in kinds:
        path = folder_paths.get_full_path(kind, name)
        if path is not None:
            return Path(path)
    raise PatchError(
        f"there is no {name!r} in the folders {' and '.join(kinds)} of ComfyUI; put the file into "
        "one of them and press R to read the folders again"
    )
