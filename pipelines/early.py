"""What can be refused before torch is imported, which takes seconds: names, files, choices."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from erasure.errors import CheckpointError, ConfigError, way
from pipelines.configs.everyday import ERASE, ERASE_RECIPE, flags
from pipelines.configs.recipe_files import merge, read_recipe
from pipelines.configs.source_fields import source_field

DEMO: Final = "demo"
DDPM_DEMO: Final = "ddpm-demo"
DEMO_FLOW: Final = "demo-flow"
EMBEDDED: Final = (DEMO, DDPM_DEMO, DEMO_FLOW)
"""Models that come with the package, each in the folder of its name among `pipelines/assets`."""
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FAMILIES: Final = (
    *("sd1", "sd2", "sdxl", "sd3", "sd35_medium", "sd35_large", "flux_dev", "flux_schnell"),
)
"""Names of families whose published configs are here, for a plan without weights; the registry of
architectures, which has them too, takes long to import."""
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    path: choices for path in flags(ERASE) if (choices := source_field(ERASE_RECIPE, path).choices)
}
"""Key of a recipe -> the values that its field allows."""


def require_model_name(model: str) -> None:
    """Raise CheckpointError unless `model` is embedded, a path here, or looks like a hub id."""
    if model in EMBEDDED or os.path.exists(os.path.expanduser(model)):
        return
    if not _HUB_ID.fullmatch(model) or model.endswith(
        (".safetensors", ".ckpt", ".pt", ".bin", ".gguf")
    ):
        raise CheckpointError(
            f"there is no model {model!r}; give a diffusers folder, a .safetensors file, "
            f"a hub id such as owner/name, or {' or '.join(EMBEDDED)}, which comes with the package"
        )


def refuse_both(*, resume: bool, force: bool) -> None:
    """Raise ConfigError where a run is both to go on and to be replaced."""
    if resume and force:
        raise ConfigError(
            way("resume", True),
            " goes on with a run and ",
            way("force", True),
            " replaces it; give one of the two",
        )


def refuse_early(options: Mapping[str, Any], recipe: str | None, *, shapes: bool = False) -> None:
    """Refuse what needs no torch to be seen as wrong; what passes is checked again in full.

    Args:
        options: tables of the command line.
        recipe: a recipe's file or name.
        shapes: whether the shapes of a model do, whose weights need not be here.

    Raises:
        ConfigError: there is no such recipe, it is no TOML, or a value is none of its choices.
        CheckpointError: there is no such model.
    """
    tables = merge(read_recipe(recipe) if recipe else {}, options)
    for key, choices in CHOICES.items():
        *path, name = key.split(".")
        inner: Any = tables
        for part in path:
            inner = inner.get(part) if isinstance(inner, Mapping) else None
        value = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(value, str) and value not in choices and tables.get("code") is None:
            close = get_close_matches(value, choices, 1)
            hint = f"; the nearest is {close[0]!r}" if close else ""
            raise ConfigError(f"{key} is {value!r}; give one of {', '.join(choices)}{hint}")
    model = tables.get("model")
    known = shapes and (tables.get("config") is not None or model in FAMILIES)
    if isinstance(model, str) and not known:
        require_model_name(model)
