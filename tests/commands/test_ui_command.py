"""`erasure ui` from the command line: what it refuses before it listens."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("host", ["0.0.0.0", "", "no such host"])
def test_an_address_that_cannot_be_checked_or_had_is_refused(
    refused: Callable[..., None], host: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    refused(("ui", "--runs", runs, "--host", host, "--no-browser"), "listen", code=2)


def test_a_folder_of_models_that_is_not_there_is_refused(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    refused(("ui", "--models", tmp_path / "none", "--no-browser"), "no folder", code=2)
