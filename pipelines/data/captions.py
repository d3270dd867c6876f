"""Pictures with a caption in a text file beside each, as kohya's scripts want them.

`10_church/a.png` with `10_church/a.txt` in it: the caption is the first line of the text, and the
number says how often the pictures of that folder are seen in an epoch. Where a picture has no
caption, the rest of the folder's name is its prompt.

Source: the README on training data of kohya-ss/sd-scripts.
"""

import re
from collections.abc import Mapping, Sequence
from math import gcd
from pathlib import Path
from typing import Final

from erasure.errors import ConfigError
from erasure.storage.regular_files import require_regular
from eval.pictures.picture_files import is_picture
from prompts.concepts.phrases import tidy

ENDINGS: Final = (".txt", ".caption")
_REPEATED: Final = re.compile(r"(\d+)_(.*\S.*)")
_MOST: Final = 1000
"""Repeats of a folder that are believed."""


def caption_files(files: Sequence[Path]) -> dict[Path, Path]:
    """Picture -> its caption, of the files of a folder.

    Raises:
        ConfigError: a picture has captions of both endings.
    """
    there = set(files)
    captions: dict[Path, Path] = {}
    for picture in filter(is_picture, files):
        beside = [path for end in ENDINGS if (path := picture.with_suffix(end)) in there]
        if len(beside) > 1:
            raise ConfigError(
                f"{picture} has two captions, {beside[0].name} and {beside[1].name}; keep one"
            )
        if beside:
            captions[picture] = beside[0]
    return captions


def read_caption(path: Path) -> str:
    """The first line of a caption file.

    Raises:
        ConfigError: it is empty, or cannot be read as UTF-8.
    """
    require_regular(path, ConfigError)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path} cannot be read as text in UTF-8: {err}") from err
    caption = tidy(lines[0]) if lines else ""
    if not caption:
        raise ConfigError(f"the first line of {path} is empty; write what its picture shows")
    return caption


def prompts_of(pictures: Sequence[Path], captions: Mapping[Path, Path]) -> list[str]:
    """The caption of each picture, or the name that its folder has behind a number.

    Raises:
        ConfigError: a picture has neither; it is named, and how many there are.
    """
    prompts = [
        read_caption(captions[picture]) if picture in captions else folder_name(picture)
        for picture in pictures
    ]
    bare = [picture for picture, prompt in zip(pictures, prompts, strict=True) if prompt is None]
    if bare:
        raise ConfigError(
            f"{bare[0]} has no caption, while others have one (pictures without: {len(bare)}); add "
            f"{bare[0].stem}.txt beside it, or give one prompt for all"
        )
    return [prompt for prompt in prompts if prompt is not None]


def folder_name(picture: Path) -> str | None:
    """`church` of `10_church/a.png`; None where the folder has no such name."""
    named = _REPEATED.fullmatch(picture.parent.name)
    return tidy(named[2]) if named else None


def repeats_of(pictures: Sequence[Path]) -> list[int]:
    """How often each picture is listed, by the numbers of the folders: 1 and 2 for 5 and 10.

    Only their ratio matters, since epochs are not what counts here.

    Raises:
        ConfigError: a number is 0 or above 1,000.
    """
    numbers = []
    for picture in pictures:
        named = _REPEATED.fullmatch(picture.parent.name)
        digits = (named[1].lstrip("0") or "0") if named else "1"
        number = int(digits) if len(digits) < 5 else _MOST + 1
        if not 1 <= number <= _MOST:
            raise ConfigError(
                f"the folder {picture.parent.name[:80]!r} says that its pictures are repeated "
                f"{digits[:20]} times; rename it, with a number from 1 to {_MOST:,}"
            )
        numbers.append(number)
    common = gcd(*numbers)
    return [number // common for number in numbers]
