"""Tiny pipelines, written once."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from support.models.tiny_models import SD1_LIKE, SD2_LIKE, SMALL, write_pipeline

from erasure.checkpoints import read_checkpoint, write_single_file


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Diffusers folders by kind; do not write into them."""
    root = tmp_path_factory.mktemp("pipelines")
    sizes = {"sd1": SD1_LIKE, "sd2": SD2_LIKE, "small": SMALL}
    return {kind: write_pipeline(root / kind, size) for kind, size in sizes.items()}


@pytest.fixture(scope="session")
def sd1(folders: dict[str, Path]) -> Path:
    return folders["sd1"]


@pytest.fixture(scope="session")
def sd1_file(sd1: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a single file; copy it to write into it."""
    path = tmp_path_factory.mktemp("sd1") / "sd.safetensors"
    return write_single_file(read_checkpoint(sd1), path).path


@pytest.fixture(scope="session")
def bare_file(sd1_file: Path) -> Path:
    """The same as another tool writes it, without a header; copy it to write into it."""
    path = sd1_file.with_name("bare.safetensors")
    save_file(load_file(sd1_file), path)
    return path
