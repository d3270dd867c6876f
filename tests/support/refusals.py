"""Commands that must fail, what they say, and what they leave: nothing."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from support.console import Said, erasure

UNET = "unet/diffusion_pytorch_model.safetensors"
PROGRESS = re.compile(
    r"[a-z ]+: \d+ in [\d.]+ s"
    r"|(model|before|after): .+; predicts .+; noise .+"
    r"|(main )?memory.* is free|time: .+; disk: .+|note: .+"
)
"""A stage that ended, what a model was read as, or what the run will take."""
CHURCH = ("--concept", "church")

LINES = [
    ("erase", "MODEL", *CHURCH, "--mask", "all", "--forget-drawn", 1, "--retain-drawn", 0),
    ("export", "MODEL"),
    ("export", "MODEL", "--to", "diffusers"),
    ("mask", "MODEL", *CHURCH, "--kind", "all"),
    ("compare", "MODEL", "MODEL", "--prompt", "x", "--seeds", 0, "--steps", 1),
]
"""One of each command that writes; `line_of` fills them in."""
OUT = {"mask": "out.safetensors", "compare": "out.png"}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder: size and time of change of each file.

    A folder's own time says no more than that a file came and went, as a lock does.
    """
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        if path.is_file()
        else (0, 0)
        for path in sorted(folder.rglob("*"))
    }


def assert_told(said: Said, code: int, *words: object) -> None:
    """One sentence, the last line of stderr, after nothing but progress; no result."""
    lines = said.err.splitlines()
    assert said.code == code, said.err
    assert lines, "nothing was told"
    assert lines[-1].startswith("erasure: "), said.err
    assert len(lines[-1]) > len("erasure: ") + 15
    assert all(PROGRESS.fullmatch(line) for line in lines[:-1]), said.err
    for word in words:
        assert str(word) in lines[-1]
    assert said.out == ""


def line_of(parts: tuple[Any, ...], tiny_folder: Path, tmp_path: Path, cache: Path) -> list[Any]:
    """A line of `LINES` with its model, its cache and its place to write to."""
    line = [tiny_folder if part == "MODEL" else part for part in parts]
    out = OUT.get(
        parts[0], "out" if "diffusers" in parts or parts[0] == "erase" else "o.safetensors"
    )
    more = ["--cache", cache] if parts[0] in ("erase", "mask") else []
    return [*line, *more, "--out", tmp_path / out]


def few_steps(folder: Path) -> Path:
    """A recipe that draws each picture in one step."""
    path = folder / "few.toml"
    path.write_text("[data.drawing]\nsteps = 1\n", encoding="utf-8")
    return path


def single_file(folder: Path, tmp_path: Path) -> Path:
    """The model as one file."""
    path = tmp_path / "sd.safetensors"
    assert erasure("export", folder, "--out", path).code == 0
    return path


def changed_model(folder: Path, path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A copy whose first convolution has other weights."""
    shutil.copytree(folder, path)
    tensors = load_file(path / UNET)
    tensors["conv_in.weight"] = change(tensors["conv_in.weight"])
    save_file(tensors, path / UNET)
    return path


def changed_part(folder: Path, path: Path, component: str, name: str, value: float) -> Path:
    """A copy in which one tensor of one component holds one value."""
    shutil.copytree(folder, path)
    (file,) = (path / component).glob("*.safetensors")
    tensors = load_file(file)
    (full,) = (key for key in tensors if key.endswith(name))  # transformers 5.6 drops a prefix
    tensors[full] = torch.full_like(tensors[full], value)
    save_file(tensors, file)
    return path
