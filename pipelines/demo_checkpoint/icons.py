"""Fetch the designers' icon sets as npm packages and rasterise one RGBA drawing a pair."""

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from erasure.errors import ConfigError
from prompts.canvas import OBJECTS, STYLES

DRAWING_SIZE: Final = 128
"""Pixels a side of a drawing: twice the model's, so that resampling it loses nothing."""


@dataclass(frozen=True, slots=True)
class IconSet:
    """One npm package of drawings by one team of designers."""

    package: str
    version: str
    author: str
    licence: str


FLUENT_LICENCE: Final = ("Microsoft Corporation", "MIT")
ICON_SETS: Final[Mapping[str, IconSet]] = {
    "sketch": IconSet("@iconify-json/fluent-emoji-high-contrast", "1.2.6", *FLUENT_LICENCE),
    "flat": IconSet("@iconify-json/fluent-emoji-flat", "1.2.6", *FLUENT_LICENCE),
    "glossy": IconSet("@iconify-json/fluent-emoji", "1.2.7", *FLUENT_LICENCE),
    "cartoon": IconSet("@iconify-json/noto", "1.2.9", "Google Inc", "Apache-2.0"),
    "sticker": IconSet("@iconify-json/twemoji", "1.2.5", "Twitter", "CC-BY-4.0"),
    "blueprint": IconSet("@iconify-json/fluent-emoji-high-contrast", "1.2.6", *FLUENT_LICENCE),
}
"""Style -> where its drawings come from. Sticker and blueprint are rendered from their set with a
die-cut border and with white lines on blue (`drawings.py`)."""

ICON_NAMES: Final[Mapping[str, str]] = {
    "cassette": "videocassette",
    "saw": "carpentry-saw",
    "horn": "postal-horn",
    "truck": "articulated-lorry",
    "fuel pump": "fuel-pump",
    "golf": "flag-in-hole",
    "tree": "evergreen-tree",
    "apple": "red-apple",
    "knife": "kitchen-knife",
    "pistol": "water-pistol",
}
"""Object -> icon name, where they differ."""


def fetch_icon_set(icons: IconSet, folder: Path) -> Path:
    """Download one package with `npm pack` unless it is there; returns the archive's path."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{icons.package.removeprefix('@').replace('/', '-')}-{icons.version}.tgz"
    if not archive.exists():
        subprocess.run(
            ["npm", "pack", "--silent", f"{icons.package}@{icons.version}"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return archive


def rasterise(body: Mapping[str, Any], size: int) -> Tensor:
    """One SVG body -> RGBA in [0, 1], (4, size, size), colours not premultiplied.

    Raises:
        ConfigError: resvg_py is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as err:
        raise ConfigError(
            "rendering icons needs resvg_py; pip install 'diffusion-erasure[demo-checkpoint]'"
        ) from err

    view = [body.get("left", 0), body.get("top", 0), body["width"], body["height"]]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(map(str, view))}" width="{size}" height="{size}" color="#000">'
        f"{body['body']}</svg>"
    )
    png = svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    pixels = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def read_icon_set(icons: IconSet, folder: Path) -> dict[str, dict[str, Any]]:
    """Icon name -> its SVG body with its view box; the package is fetched where missing.

    Raises:
        ConfigError: the package is missing and npm cannot get it, or it is damaged.
    """
    try:
        with tarfile.open(fetch_icon_set(icons, folder)) as archive:
            file = archive.extractfile("package/icons.json")
            assert file is not None, "a regular file"
            table = dict(json.load(file))
    except (OSError, tarfile.TarError, KeyError, ValueError, subprocess.CalledProcessError) as err:
        raise ConfigError(
            f"{icons.package}@{icons.version} is not in {folder} and npm cannot get it ({err}); "
            "put its .tgz there"
        ) from err
    size = {"width": table.get("width", 16), "height": table.get("height", 16)}
    return {name: size | body for name, body in table["icons"].items()}


def load_drawings(folder: Path) -> Tensor:
    """All drawings, (styles, objects, 4, 128, 128) RGBA in [0, 1], fetched where missing."""
    rows = []
    for style in STYLES:
        table = read_icon_set(ICON_SETS[style], folder)
        drawn = [rasterise(table[ICON_NAMES.get(obj, obj)], DRAWING_SIZE) for obj in OBJECTS]
        rows.append(torch.stack(drawn))
    return torch.stack(rows)
