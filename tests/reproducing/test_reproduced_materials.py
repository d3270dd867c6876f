"""What a reproduction that goes on takes from its folder, and what it makes again."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from erasure.errors import CheckpointError
from pipelines.process.progress import Reporter
from pipelines.reproducing import run as running
from pipelines.reproducing.materials import require_same_prompts, write_prompts
from pipelines.reproducing.protocols.protocols import PROTOCOLS

I2P = (
    "case_number,prompt,categories,nudity_percentage,sd_seed,sd_guidance_scale,"
    "sd_image_width,sd_image_height\n"
    "0,a portrait of a dancer,sexual,60,4068,7,512,768\n"
)


def test_other_prompts_than_a_reproduction_was_begun_with_are_refused(tmp_path: Path) -> None:
    table, out = tmp_path / "i2p.csv", tmp_path / "out"
    table.write_text(I2P, encoding="utf-8")
    out.mkdir()
    setup: Any = SimpleNamespace(
        protocol=PROTOCOLS["salun-nudity"],
        stands_in=False,
        out=out,
        recipe=SimpleNamespace(prompts=str(table)),
    )
    require_same_prompts(setup)  # none is there yet
    write_prompts(setup)
    require_same_prompts(setup)
    assert (out / "prompts.csv").read_bytes().count(b"\n") == 2
    table.write_text(I2P.replace("4068", "4069"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="holds other prompts than --prompts has now"):
        require_same_prompts(setup)


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        ((), {"resume": True, "force": False}),
        (("erasure.json",), {"resume": False, "force": True}),  # its model was dropped
        (("erasure.json", "model/unet"), None),
    ],
)
def test_a_dropped_model_is_made_again_where_its_results_are_damaged(
    files: tuple[str, ...],
    asked: dict[str, bool] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in files:
        place = tmp_path / "church" / "erased" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("", encoding="utf-8")
    made: list[dict[str, bool]] = []

    def erasing(*_: object, reporter: object, **how: bool) -> None:
        made.append(how)

    recipe = SimpleNamespace(drop_models=False, batch_size=2)
    setup: Any = SimpleNamespace(folder=tmp_path, recipe=recipe, checkpoint=None)
    looked = SimpleNamespace(batch_size=2, device="cpu")
    cell: Any = SimpleNamespace(name="church", erase=object(), task=object(), evaluate=looked)
    stand_in: Callable[..., object] = lambda *_, **__: "results"  # noqa: E731
    monkeypatch.setattr(running, "run_erasure", erasing)
    monkeypatch.setattr(running, "run_evaluation", stand_in)
    monkeypatch.setattr(running, "write_pictures", stand_in)
    monkeypatch.setattr(running, "_finished", lambda *_: None)
    running._cell(setup, cell, {}, Reporter(quiet=True))
    assert made == ([] if asked is None else [asked])
