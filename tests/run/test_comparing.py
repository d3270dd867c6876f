"""Two checkpoints side by side."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.console import erasure
from support.tiny import CPU

from erasure.checkpoints import Checkpoint
from erasure.errors import DiskError
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing import generation
from pipelines.process.progress import Reporter
from pipelines.run.comparing import Comparison, compare
from pipelines.run.models import CANVAS_NAME

PROMPTS = ("an image of a church", "an image of a dog")
SEEDS = (4, 1)


def compared(
    before: Checkpoint, after: Checkpoint, erased: Sequence[str] = ("church",)
) -> Comparison:
    return compare(
        before,
        after,
        PROMPTS,
        SEEDS,
        erased=erased,
        drawing=DrawingConfig(steps=1, guidance=2.0),
        device=CPU,
        reporter=Reporter(quiet=True),
        title="before | after",
    )


def cells(comparison: Comparison, folder: Path) -> list[dict[str, Any]]:
    described = comparison.grid.described(folder / "grid.png")["cells"]
    assert isinstance(described, list)
    return described


@pytest.fixture(scope="module")
def other(tiny_checkpoint: Checkpoint) -> Checkpoint:
    """The tiny checkpoint with another last layer."""
    unet = {**tiny_checkpoint.network}
    unet["conv_out.weight"] = torch.flip(unet["conv_out.weight"], (0,))
    return replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": unet})


def test_a_model_is_like_itself_and_unlike_another(
    tiny_checkpoint: Checkpoint, other: Checkpoint
) -> None:
    same = compared(tiny_checkpoint, tiny_checkpoint)
    assert [image.tobytes() for image in same.before] == [image.tobytes() for image in same.after]
    unlike = compared(tiny_checkpoint, other)
    assert [image.tobytes() for image in unlike.before] == [im.tobytes() for im in same.before]
    for one, two in zip(unlike.before, unlike.after, strict=True):
        assert not np.array_equal(np.asarray(one), np.asarray(two))


def test_rows_are_prompts_and_those_that_name_the_concept_are_marked(
    tiny_checkpoint: Checkpoint, other: Checkpoint, tmp_path: Path
) -> None:
    for erased in (("church",), ("an image of a church",)):
        rows = cells(compared(tiny_checkpoint, other, erased), tmp_path)
        marked = {cell["prompt"]: cell["erased"] for cell in rows}
        assert marked == dict(zip(PROMPTS, (True, False), strict=True))
        assert {cell["seed"] for cell in rows} == set(SEEDS)


def test_pictures_are_saved_by_prompt_and_seed(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    comparison = compared(tiny_checkpoint, tiny_checkpoint)
    comparison.save_pictures(tmp_path / "new" / "pictures")
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert paths == [
        f"new/pictures/{side}/{row:03d}-seed{seed}.png"
        for side in ("after", "before")
        for row in range(2)
        for seed in sorted(SEEDS)
    ]
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="cannot write"):
        comparison.save_pictures(tmp_path / "file")


def test_pictures_of_the_canvas_say_what_the_classifier_sees(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    index = {**tiny_checkpoint.description.model_index, "_name_or_path": CANVAS_NAME}
    description = replace(tiny_checkpoint.description, model_index=index)
    canvas = replace(tiny_checkpoint, description=description)
    for checkpoint, filled in ((tiny_checkpoint, False), (canvas, True)):
        captioned = cells(compared(checkpoint, checkpoint), tmp_path)
        assert all(bool(cell["caption"]) is filled for cell in captioned)


def test_streamed_blocks_draw_the_same_grid(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed: list[str] = []
    make = generation.streamed_network

    def noting(checkpoint: Checkpoint, *how: Any) -> Any:  # noqa: ANN401
        streamed.append(checkpoint.name)
        return make(checkpoint, *how)

    monkeypatch.setattr(generation, "streamed_network", noting)
    line = ("compare", tiny_folder, tiny_folder, "--prompt", "a church", "--seeds", 3)
    grids = [tmp_path / "plain.png", tmp_path / "streamed.png"]
    for grid, more in zip(grids, ([], ["--stream"]), strict=True):
        said = erasure(*line, "--steps", 1, "--device", "cpu", "--out", grid, *more)
        assert said.code == 0, said.err
    assert len(streamed) == 2
    assert grids[0].read_bytes() == grids[1].read_bytes()


def test_a_further_page_of_a_grid_stands_on_no_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "grid-2.png").write_bytes(b"of another grid")
    line = ("compare", "demo", "demo", "--prompt", "a church", "--out", tmp_path / "grid.png")
    said = erasure(*line)
    assert said.code == 2
    assert "grid-2.png exists; give another path, or --force" in said.err
    assert (tmp_path / "grid-2.png").read_bytes() == b"of another grid"
