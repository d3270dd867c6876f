"""The gate lets pictures of the concept pass and keeps blots out, whatever the judge says."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipelines.audit.confirming import _near
from pipelines.audit.damage import gate as gates
from pipelines.audit.damage.gate import Gate, gate_of
from pipelines.audit.damage.looks import Measure
from pipelines.drawing.generation import Picture


class Pixels:
    """The mean of each channel."""

    name = "pixels"
    is_inception = False
    protocol: ClassVar[dict[str, float]] = {}

    def __call__(self, pictures: Any, /) -> Tensor:  # noqa: ANN401
        rows = [np.asarray(one, dtype=np.float32).mean((0, 1)) for one in pictures]
        return torch.from_numpy(np.stack(rows))


def plain(red: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (red, 100, 100))


def shop(count: int, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401
    """Make a workshop whose pictures of the concept are plain reds: 100, 102, 104 and so on."""
    monkeypatch.setattr(gates, "measure_of", lambda _: Measure(Pixels()))
    shown = SimpleNamespace(concept=tuple(plain(100 + 2 * n) for n in range(count)))
    return SimpleNamespace(
        lines={"audited": SimpleNamespace(concept="church")},
        gates={},
        judge=lambda _: SimpleNamespace(judge=None),
        material=lambda _: shown,
    )


def test_a_blot_that_the_judge_takes_for_the_concept_does_not_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = gate_of(shop(10, monkeypatch), "audited")
    assert isinstance(made, Gate)
    assert made.fitted.threshold == 2.0
    assert made.passes([plain(107), plain(250)]) == [True, False]
    drawn = [Picture(plain(107), True), Picture(plain(250), True), Picture(plain(108), True)]
    # The third is near, but no hit of the judge.
    assert _near(made, drawn, [True, True, False]) == (True, False, False)


def test_too_few_pictures_make_no_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert gate_of(shop(7, monkeypatch), "audited") is None
