"""Options of a LoRA that cannot be what they should be: one sentence each."""

from pathlib import Path
from typing import Any

import pytest
from support.console import erasure

CHURCH = ("--concept", "church")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--as", "lora", "--rank", 0), ("rank is 0", "give 1 or more")),
        (("--as", "lora", "--rank", 999), ("rank is 999", "no layer here has more than")),
        (("--as", "lora", "--lora-alpha", 0), ("alpha is 0",)),
        (("--as", "lora", "--lora-mask", "half"), ("'half'", "modules, dense")),
        (("--as", "adapter"), ("'adapter'", "weights, lora")),
        (("--rank", 4), ("--rank is '4' and would not be read", "without --as lora; leave it out")),
        (("--lora-alpha", 4), ("--lora-alpha is", "without --as lora; leave it out")),
        (
            ("--as", "lora", "--method", "uce", "--rank", 4),
            ("--rank is '4'", "the method uce solves for factors of its own rank"),
        ),
        (("--lora", "none.safetensors:0.5"), ("none.safetensors does not exist",)),
        (("--lora", "x.safetensors:much"), ("'much' for its strength",)),
        (("--lora", "x.safetensors:0"), ("the strength of x.safetensors is 0.0",)),
    ],
)
def test_options_of_an_erasure_are_refused(
    options: tuple[Any, ...], words: tuple[str, ...], tiny_folder: Path, tmp_path: Path
) -> None:
    said = erasure("erase", tiny_folder, *CHURCH, *options, "--out", tmp_path / "run")
    assert said.code == 2, said.err
    for word in words:
        assert word in said.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "lora", "--rank", 0), ("rank is 0",)),
        (("--to", "lora", "--energy", 2), ("energy is 2.0",)),
        (("--to", "lora", "--rank", 2, "--energy", 0.5), ("give one of them",)),
        (("--to", "lora", "--naming", "a1111"), ("'a1111'", "kohya or diffusers")),
        (("--to", "patch", "--base", "demo", "--rank", 2), ("--rank is 2 and would not be read",)),
        (("--naming", "kohya"), ("--naming is kohya", "--to lora")),
        (("--to", "diff"), ("--to diff needs --base",)),
        (("--to", "patch"), ("--to patch needs --base",)),
        (("--base", "demo"), ("--base is for --to patch, lora or diff",)),
        (("--to", "lora", "--title", "x"), ("--title is 'x'",)),
        (("--to", "lora"), ("no run that holds the factors", "--base")),
        (("--to", "lora", "--base", "SAME"), ("the two models are equal",)),
        (("--to", "diff", "--base", "demo"), ("names, shapes or types",)),
    ],
)
def test_options_of_an_export_are_refused(
    options: tuple[Any, ...], words: tuple[str, ...], tiny_folder: Path, tmp_path: Path
) -> None:
    line = [tiny_folder if part == "SAME" else part for part in options]
    said = erasure("export", tiny_folder, *line, "--out", tmp_path / "x.safetensors")
    assert said.code == 2, said.err
    for word in words:
        assert word in said.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
