"""Letting go of the pages of mapped weights."""

import sys
from pathlib import Path

import pytest
import torch

from erasure.storage.tensors.mapped import let_go
from erasure.storage.tensors.tensor_file import read_tensors, write_tensors

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about Linux")
WEIGHTS = 1_000_000


def of_files() -> int:
    """Bytes of files that are resident in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


@pytest.fixture
def mapped(tmp_path: Path) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(WEIGHTS, generator=draw) for name in "ab"}
    write_tensors(tmp_path / "w.safetensors", weights, {})
    return dict(read_tensors(tmp_path / "w.safetensors").tensors)


def test_pages_go_and_values_stay(mapped: dict[str, torch.Tensor]) -> None:
    before = {name: weight.clone() for name, weight in mapped.items()}
    full = of_files()
    assert let_go(mapped.values()) >= 8 * WEIGHTS
    assert full - of_files() > 7 * WEIGHTS
    assert all(torch.equal(mapped[name], before[name]) for name in before)


def test_what_was_written_to_is_kept(mapped: dict[str, torch.Tensor]) -> None:
    mapped["a"][5] = 7.0
    assert let_go(mapped.values()) == 0
    assert mapped["a"][5] == 7.0


def test_memory_without_a_file_is_left_alone() -> None:
    weight = torch.ones(WEIGHTS)
    assert let_go([weight]) == 0
    assert bool((weight == 1).all())


def test_for_a_few_weights_nobody_walks_through_all_mappings(
    mapped: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[int] = []
    monkeypatch.setattr(
        "erasure.storage.tensors.mapped._clean_files", lambda: walks.append(1) or ()
    )
    let_go(weight[: WEIGHTS // 4] for weight in mapped.values())
    assert walks == []
    let_go(mapped.values())
    assert walks == [1]
