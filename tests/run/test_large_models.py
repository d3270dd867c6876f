"""What a model's size decides of the process that opens it."""

from functools import partial
from pathlib import Path

import pytest

from pipelines.run import models


@pytest.mark.parametrize(("limit", "calls"), [(10**9, 0), (1000, 1)])
def test_free_memory_goes_back_at_once_for_large_models_alone(
    limit: int, calls: int, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_so: list[None] = []
    monkeypatch.setattr(models, "give_back_large_blocks", partial(set_so.append, None))
    monkeypatch.setattr(models, "_LARGE_MODEL", limit)
    models.open_model(str(tiny_folder))
    assert len(set_so) == calls
