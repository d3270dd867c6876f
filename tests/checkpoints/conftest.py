"""Tiny pipelines, written once."""

from pathlib import Path

import pytest
from support.tiny_models import SD1_LIKE, SD2_LIKE, SMALL, write_pipeline


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Diffusers folders by kind; do not write into them."""
    root = tmp_path_factory.mktemp("pipelines")
    sizes = {"sd1": SD1_LIKE, "sd2": SD2_LIKE, "small": SMALL}
    return {kind: write_pipeline(root / kind, size) for kind, size in sizes.items()}


@pytest.fixture(scope="session")
def sd1(folders: dict[str, Path]) -> Path:
    return folders["sd1"]
