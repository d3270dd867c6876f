"""`--set name=value`: every setting that has no option of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from erasure.errors import ConfigError
from pipelines.configs.everyday import ERASE, MASK, Options, flags
from pipelines.configs.method_table import kind_in, settings_of
from pipelines.configs.recipe_files import empty_setting, merge
from pipelines.configs.settings import EraseRecipe
from prompts.nearest import nearest

_OWN_FLAGS: Final = {"concept": "--concept", "data.retain_prompts": "--retain-prompts"}
"""Key of a recipe -> the option that sets it, where that is made from no field."""


def with_settings(
    options: Mapping[str, Any],
    named: Mapping[str, Any],
    texts: Sequence[str],
    *,
    spelled: Options = ERASE,
) -> dict[str, Any]:
    """The tables of the command line with those of its `--set` options.

    A name is a setting of the method, or of the recipe where the method has no such; a name with
    dots, such as `data.size` or `saliency.guidance_scale`, goes into the recipe's tables.

    Args:
        options: what the command line gives by name.
        named: the recipe file below it.
        texts: each `name=value`.
        spelled: what the command has options of its own for.

    Raises:
        ConfigError: a text gives no value, the recipe has no such table, a setting is given twice
            or is empty, or it chooses the method. Whether the setting exists and takes the value is
            seen when the recipe is built.
    """
    if not texts:
        return dict(options)
    own = {field.name for field in fields(kind_in(merge(named, options)))}  # type: ignore[arg-type]
    tables: dict[str, Any] = {}
    for name, value in settings_of(texts).items():
        path = _path(name, own)
        if value is None:
            raise ConfigError(
                f"--set {name}=null sets nothing; leave it out for the default, or take {path} out "
                "of the recipe file"
            )
        if _at(options, path) is not None:
            flag = _flag_of(path, options, spelled)
            raise ConfigError(f"{path} is given by {flag} and by --set {name}; give it once")
        _put(tables, path, value)
    empty = empty_setting(tables)
    if empty is not None:
        raise ConfigError(f"--set gives {empty} an empty text; give it a value, or leave it out")
    return merge(options, tables)


def _flag_of(path: str, options: Mapping[str, Any], spelled: Options) -> str:
    """The option that gave a key of a recipe, or of a table the first that gave a key below it."""
    if path in _OWN_FLAGS:
        return _OWN_FLAGS[path]
    known = flags(spelled)
    below = (
        known[key] for key in known if key.startswith(f"{path}.") and _at(options, key) is not None
    )
    return known.get(path) or next(below, "--method")


def with_mask_settings(
    options: Mapping[str, Any], named: Mapping[str, Any], texts: Sequence[str]
) -> dict[str, Any]:
    """`with_settings` for `erasure mask`, which reads what draws the pictures of the concept and
    what scores the weights, and nothing of a method, of what is kept or of the grid.

    Raises:
        ConfigError: as there, or a mask does not read the setting.
    """
    before = {path for path, _ in _leaves(options)}
    tables = with_settings(options, named, texts, spelled=MASK)
    for path, _ in _leaves(tables):
        if path not in before and not _scores(path):
            raise ConfigError(
                f"--set gives {path}, which a mask does not read; give a setting of saliency or of "
                "data, such as saliency.guidance_scale=3 or data.size=256"
            )
    return tables


def _scores(path: str) -> bool:
    """Whether a mask is another one by this setting."""
    table, _, rest = path.partition(".")
    unread = rest.startswith(("retain", "anchors"))
    return path in flags(MASK) or (table in ("data", "saliency") and not unread)


def _leaves(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Dotted name -> value of everything that is no table."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _path(name: str, own: set[str]) -> str:
    """The dotted name in the recipe of what `--set` calls `name`."""
    known = [field.name for field in fields(EraseRecipe)]
    path = name if "." in name or (name in known and name not in own) else f"method.{name}"
    first = path.partition(".")[0]
    if first not in known:
        raise ConfigError(f"--set {name} is no setting of a recipe; {nearest(first, known)}")
    if path in ("code", "method.name"):
        raise ConfigError(f"--set {name} would choose the method; give --method instead")
    return path


def _put(tables: dict[str, Any], path: str, value: object) -> None:
    *outer, key = path.split(".")
    for part in outer:
        tables = tables.setdefault(part, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"--set gives {part} a value and settings below it; give one of both")
    if key in tables:
        raise ConfigError(f"--set gives {path} twice; give it once")
    tables[key] = value


def _at(tables: Mapping[str, Any], path: str) -> object:
    value: Any = tables
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
