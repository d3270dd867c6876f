"""Pictures from a data set of the hub, read with the package `datasets`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE

from erasure.errors import ConfigError
from erasure.storage.bare_names import shown
from pipelines.drawing.pictures import Picture, read_pictures, sampled
from prompts.concepts.phrases import tidy
from prompts.hub import announce_hub
from prompts.nearest import nearest

CONVERTED = "refs/convert/parquet"
"""The hub's own copy, without code, of a data set that comes as a script."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSource:
    """Which pictures of which data set, and their prompts: by text, by label, or one for all."""

    name: str
    """Id on the hub, such as `frgfm/imagenette`, or a local folder that `datasets` reads."""
    config: str | None = None
    """Its configuration, such as `160px`."""
    split: str = "train"
    image_column: str = "image"
    label_column: str = "label"
    text_column: str | None = None
    label_prompts: Mapping[int, str] | None = None
    """Label -> prompt; rows of other labels are left out."""
    prompt: str | None = None
    """One for all."""
    limit: int | None = None
    """Most pictures to take, chosen by `seed`; all if none."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("the data set has no name; give its id, such as `frgfm/imagenette`")
        ways = (self.text_column, self.label_prompts, self.prompt)
        if sum(value is not None for value in ways) != 1:
            raise ConfigError(
                f"the data set {self.name} needs exactly one of text_column, label_prompts and "
                "prompt to say what its pictures show"
            )


def dataset_pictures(source: DatasetSource, *, size: int) -> Iterator[Picture]:
    """Squares of `size` pixels from a data set, one by one.

    Raises:
        ConfigError: `datasets` is not installed, the data set cannot be loaded, has not the
            columns wanted, has no row with such a label, or (as it is read) a bad picture.
    """
    package = _package()
    rows = _load(package, source)
    label = source.label_column if source.label_prompts is not None else None
    for column in (source.image_column, label, source.text_column):
        if column is not None and column not in rows.features:
            raise ConfigError(
                f"the data set {source.name} has no column {column!r}; "
                f"{nearest(column, rows.features)}"
            )
    if not isinstance(rows.features[source.image_column], package.Image):
        raise ConfigError(
            f"the column {source.image_column} of the data set {source.name} holds no pictures; "
            f"name the one of {', '.join(rows.features)} that does"
        )
    # Decoded here, not there: by the same rules as files, and only the rows that are wanted.
    undecoded = rows.cast_column(source.image_column, package.Image(decode=False))
    listed = _listed(undecoded, source, _places(package, source))
    return read_pictures(sampled(listed, source.limit, source.seed), size)


def _package() -> ModuleType:
    try:
        return import_module("datasets")
    except ImportError as err:
        raise ConfigError(
            "reading a data set by its id needs the package `datasets`, which is not installed; "
            "run `pip install 'diffusion-erasure[data]'` or give a folder of pictures"
        ) from err


def _load(package: ModuleType, source: DatasetSource) -> Any:  # noqa: ANN401
    """The split, map-style: downloaded once, its rows read as they are asked for."""
    announce_hub(source.name)
    try:
        try:
            return package.load_dataset(source.name, source.config, split=source.split)
        except RuntimeError as err:
            if "scripts are no longer supported" not in str(err):
                raise
        # As `frgfm/imagenette` was published; its copy has a folder a configuration.
        return package.load_dataset(
            source.name,
            data_dir=source.config or "default",
            split=source.split,
            revision=CONVERTED,
        )
    except (OSError, ValueError, RuntimeError, package.exceptions.DatasetsError) as err:
        config = f" ({source.config})" if source.config else ""
        raise ConfigError(
            f"the {source.split} split of the data set {source.name}{config} cannot be loaded: "
            f"{tidy(str(err)) or type(err).__name__}"
        ) from err


def _places(package: ModuleType, source: DatasetSource) -> list[str]:
    """The folders in which files of a data set may lie: its own, and those of the caches."""
    config = package.config
    own = [source.name] if os.path.isdir(source.name) else []
    caches = (HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH)
    return [os.path.abspath(place) for place in (*own, *caches, config.EXTRACTED_DATASETS_PATH)]


def _listed(
    rows: Iterable[Mapping[str, Any]], source: DatasetSource, places: Sequence[str]
) -> Iterator[tuple[Path | bytes, str, str]]:
    """Content, prompt and name of each picture that is wanted."""
    any_picture = False
    for number, row in enumerate(rows):
        place = f"row {number} of {source.name}"
        if source.label_prompts is None:
            prompt = row[source.text_column] if source.text_column else source.prompt
        else:
            label = row[source.label_column]  # a list where a picture has several
            prompt = source.label_prompts.get(label) if isinstance(label, int) else None
            if prompt is None:
                continue
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError(f"{place} has no text in {source.text_column} but {prompt!r}")
        any_picture = True
        yield _content(row[source.image_column], place, places), prompt, place
    if not any_picture:
        raise ConfigError(
            f"the {source.split} split of {source.name} has no picture that is wanted; "
            "check the split and the labels"
        )


def _content(image: Mapping[str, Any] | None, place: str, places: Sequence[str]) -> bytes | Path:
    """Take the bytes of an undecoded picture, or the file that they are in.

    A row may name any file of this machine, so only those of the data set are read.
    """
    if image and image.get("bytes"):
        return bytes(image["bytes"])
    if image and image.get("path"):
        path = os.path.abspath(image["path"])
        if not any(path.startswith(os.path.join(folder, "")) for folder in places):
            raise ConfigError(
                f"{place} names the picture {shown(image['path'])}, which lies outside the data "
                "set; choose another data set, or give a folder of pictures"
            )
        return Path(path)
    raise ConfigError(f"{place} has no picture; choose another split or data set")
