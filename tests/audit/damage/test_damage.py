"""What else was lost, from drawing to page, on tiny models: priced, kept, compared, written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny import write_tiny_pipeline
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from eval.judges.judge import Guess, Judgement
from pipelines.audit import workshop
from pipelines.audit.damage import damage as damage_run
from pipelines.audit.damage.damage import damage_of, unmeasured
from pipelines.audit.damage.looks import Measure
from pipelines.audit.damage.questions import LINES, costs
from pipelines.audit.damage.table import write_damage_table
from pipelines.audit.lines import Line
from pipelines.audit.page.damage_chart import damage_chart
from pipelines.audit.settings import AuditRecipe
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.models import open_model

LABELS = ("church", "castle", "apple", "dog")


@dataclass(frozen=True)
class Shades:
    """Names a picture by the last bits of its brightness, so that all labels come."""

    name: str = "shades"
    protocol: ClassVar[dict[str, float]] = {}
    labels: tuple[str, ...] = LABELS

    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        numbers = [int(np.asarray(image, dtype=np.int64).sum()) % len(LABELS) for image in images]
        turned = [LABELS[n:] + LABELS[:n] for n in numbers]
        return [
            Judgement(guesses={"class": tuple(Guess(x, 0.9 / (k + 1)) for k, x in enumerate(t))})
            for t in turned
        ]


class Pixels:
    """The mean of each channel."""

    name = "pixels"
    is_inception = False
    protocol: ClassVar[dict[str, float]] = {}

    def __call__(self, pictures: Any, /) -> Tensor:  # noqa: ANN401
        rows = [np.asarray(one, dtype=np.float32).mean((0, 1)) for one in pictures]
        return torch.from_numpy(np.stack(rows)) / 255


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_model(str(write_tiny_pipeline(tmp_path_factory.mktemp("models") / "base")))


def shifted(checkpoint: Checkpoint) -> Checkpoint:
    """The same with another last layer, so that all its pictures differ."""
    network = dict(checkpoint.network)
    network["conv_out.bias"] = network["conv_out.bias"] + 30
    part = checkpoint.architecture.main_part.component
    return replace(checkpoint, components={**checkpoint.components, part: network})


@pytest.fixture(autouse=True)
def seeing(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> CellJudge:
        return CellJudge(
            Shades(), "shades", lambda j: any(g[0].label == "church" for g in j.guesses.values())
        )

    monkeypatch.setattr(workshop, "cell_judge", opened)
    monkeypatch.setattr(damage_run, "measure_of", lambda _: Measure(Pixels()))


def shop(folder: Path, models: dict[str, Checkpoint], **more: Any) -> Workshop:  # noqa: ANN401
    recipe = AuditRecipe(
        model="audited",
        concept="church",
        against="base" if "base" in models else None,
        steps=2,
        guidance=2.0,
        size=16,
        batch_size=16,
        device="cpu",
        **more,
    )
    lines = {
        name: Line(name=name, role=name, checkpoint=one, concept="church")  # type: ignore[arg-type]
        for name, one in models.items()
    }
    return Workshop(recipe, lines, folder, torch.device("cpu"), Reporter(quiet=True))


def test_a_model_that_is_its_base_has_lost_nothing(base: Checkpoint, tmp_path: Path) -> None:
    table = damage_of(shop(tmp_path, {"base": base, "audited": base}))
    for drop in (*table["neighbours"]["text"]["drops"], *table["companions"]):
        assert drop["change"]["value"] == 0
        assert drop["before"] == drop["after"]
    assert table["instead"]["moved"] == 0
    assert table["diversity"]["kept"]["value"] == 0
    assert table["in_prompt"]["change"]["value"] == 0
    assert table["kernel"]["units"] == 0
    assert any(text.startswith("what else was lost: attributes") for text in unmeasured(table))


@pytest.mark.slow
def test_the_plan_names_just_what_is_drawn_and_a_cut_run_goes_on(
    base: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"base": base, "audited": shifted(base)}
    paint, painted = Painter.paint, []

    def counting(self: Painter, requests: Sequence[Request]) -> Any:  # noqa: ANN401
        if len(painted) == limit:
            raise KeyboardInterrupt
        painted.append(len(requests))
        return paint(self, requests)

    limit = 4
    monkeypatch.setattr(Painter, "paint", counting)
    priced = costs(shop(tmp_path / "out", models))
    with pytest.raises(KeyboardInterrupt):
        damage_of(shop(tmp_path / "out", models))
    finished = sorted((tmp_path / "out" / "cells").rglob("damage.*.safetensors"))
    assert finished
    limit = -1
    first = damage_of(shop(tmp_path / "out", models))
    wanted = sum(priced[line].draws for line in LINES)
    # Whole parts are kept, so that at most the pictures of the one that was cut are drawn again.
    assert wanted <= sum(painted) <= wanted + 4 * 16
    drawn = len(painted)
    assert damage_of(shop(tmp_path / "out", models)) == first
    assert len(painted) == drawn  # all of it was read
    assert first["kernel"]["low"] > 2  # pictures of another last layer are no other seeds' pictures


def test_the_table_on_the_disk_has_a_row_a_group(base: Checkpoint, tmp_path: Path) -> None:
    table = damage_of(shop(tmp_path, {"base": base, "audited": shifted(base)}))
    text = write_damage_table(table, tmp_path).read_text(encoding="utf-8").splitlines()
    assert text[0] == "measure,group,before,after,change,low,high,pictures,test"
    assert sum(line.startswith("neighbour,") for line in text) == len(LABELS) - 1
    made = damage_chart(table)
    assert made is not None
    assert [rank for _, rank in made.ticks] == [1, 2, 3]


@pytest.mark.slow
def test_a_damaged_cell_is_drawn_again(base: Checkpoint, tmp_path: Path) -> None:
    models = {"base": base, "audited": shifted(base)}
    first = damage_of(shop(tmp_path, models))
    cell = tmp_path / "cells" / "audited" / "damage.kept.safetensors"
    cell.write_bytes(cell.read_bytes()[:200])
    assert damage_of(shop(tmp_path, models)) == first


def test_without_a_base_or_when_nobody_asks_the_reason_is_named(
    base: Checkpoint, tmp_path: Path
) -> None:
    alone = shop(tmp_path, {"audited": base})
    assert costs(alone) == {}
    (sentence,) = unmeasured(damage_of(alone))
    assert "no base was given" in sentence
    none = shop(tmp_path, {"base": base, "audited": base}, damage="none")
    assert damage_of(none) == {"reason": "not asked for"}
