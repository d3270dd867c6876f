"""The guidance at which the pictures of a family are drawn where nobody asks for another."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.reading.reading_file import open_file
from erasure.checkpoints.reading.reading_folder import describe_folder
from erasure.checkpoints.reading.recognise import family_of_file
from erasure.errors import ConfigError, ErasureError, way
from pipelines.configs.recipe_files import merge, shipped
from pipelines.configs.settings import DrawingConfig

_log = logging.getLogger(__name__)

_USUAL: Final = DrawingConfig().guidance


def drawing_of(values: Mapping[str, Any], find: Callable[[str], Path]) -> dict[str, Any]:
    """The same as `guidance_of`, and of a model of classes the steps and batch of its grid too.

    Raises:
        ConfigError: as `refuse_unguided`.
    """
    family, guidance = _family_in(values, find), guidance_of(values, find)
    if family is None or family.classes is None:
        return guidance
    return merge(shipped("defaults-labels")["grid"]["drawing"], guidance)


def guidance_of(values: Mapping[str, Any], find: Callable[[str], Path]) -> dict[str, Any]:
    """The table `guidance` of the model that a recipe names, by its configs and names alone.

    It is empty where the recipe says which, or where the model cannot be read: whoever reads it
    whole says what is wrong with it.

    Args:
        values: the recipe's tables.
        find: gives the folder or the file of a model.

    Raises:
        ConfigError: as `refuse_unguided`.
    """
    family = _family_in(values, find)
    if family is None:
        return {}
    if values.get("guidance") is not None:
        refuse_unguided(family, values["guidance"])
        return {}
    tell_guidance(family)
    return {"guidance": family.own_guidance}


def refuse_unguided(family: Architecture, value: object, setting: str = "guidance") -> None:
    """Raise ConfigError where a model that draws without guidance is asked for one.

    Args:
        value: the guidance that was asked for; None where none was.
        setting: what it was asked by.
    """
    if family.guidance_kind == "none" and value is not None:
        name = way("guidance") if setting == "guidance" else setting
        raise ConfigError(
            name,
            f" is {value} and would not be read, as {family.title} was distilled to draw without "
            "guidance; leave it out",
        )


def tell_guidance(family: Architecture, option: str = "--guidance") -> None:
    """Say which guidance is taken for granted, where it is not the usual one, and that there is
    fresh noise.

    Args:
        family: whose defaults are taken.
        option: how one asks the command for another guidance.
    """
    if family.own_eta:
        _log.warning(
            "pictures are drawn with fresh noise at every step (eta %g), as is the default of %s",
            family.own_eta,
            family.title,
        )
    if family.guidance_kind == "none":
        return
    if family.own_guidance != _USUAL:
        _log.warning(
            "pictures are drawn at guidance %g, which is the default of %s, unless %s says "
            "otherwise",
            family.own_guidance,
            family.title,
            option,
        )


def _family_in(values: Mapping[str, Any], find: Callable[[str], Path]) -> Architecture | None:
    """The family of the model that a recipe names; None where it cannot be read."""
    model, config = values.get("model"), values.get("config")
    if not isinstance(model, str):
        return None
    try:
        return _family(find(model), config if isinstance(config, str) else None)
    except ErasureError:
        return None


def _family(path: Path, config: str | None) -> Architecture:
    """Find the family of a folder, or of a file, whose configs may be in another folder."""
    if path.is_dir():
        return describe_folder(path)[1]
    if config is not None:
        return describe_folder(Path(os.path.expanduser(config)))[1]
    return family_of_file(open_file(path).tensors, path, alone=True)
