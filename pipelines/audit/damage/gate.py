"""The quality gate of an audit: which of the judge's hits lie near pictures of the concept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from eval.damage.quality_gate import FEWEST, QualityGate, fit_quality_gate
from eval.metrics.features import FeatureExtractor
from pipelines.audit.damage.looks import measure_of
from pipelines.audit.workshop import Workshop

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Gate:
    """A threshold of distance, and what measures it."""

    fitted: QualityGate
    extractor: FeatureExtractor

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides an answer, as plain values."""
        return {
            "features": self.extractor.name,
            "protocol": dict(self.extractor.protocol),
            "threshold": self.fitted.threshold,
            "pictures": len(self.fitted.real),
        }

    def passes(self, images: Sequence[Image.Image]) -> list[bool]:
        """Whether each picture lies near enough to one of the concept."""
        made: list[bool] = []
        for at in range(0, len(images), _BATCH):
            made += self.fitted.passes(self.extractor(images[at : at + _BATCH]))
        return made


def gate_of(shop: Workshop, line: str) -> Gate | None:
    """Fitted on the line's pictures of the concept; None where they are too few, or nothing that is
    installed measures pictures."""
    concept = shop.lines[line].concept
    if concept not in shop.gates:
        shop.gates[concept] = _fitted(shop, line)
    gate = shop.gates[concept]
    assert gate is None or isinstance(gate, Gate)
    return gate


def _fitted(shop: Workshop, line: str) -> Gate | None:
    images = shop.material(line).concept
    if len(images) < FEWEST:
        return None
    extractor = measure_of(shop.judge(line).judge).extractor
    if extractor is None:
        return None
    rows = [extractor(images[at : at + _BATCH]) for at in range(0, len(images), _BATCH)]
    return Gate(fit_quality_gate(torch.cat(rows)), extractor)
