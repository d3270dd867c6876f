"""Metrics of an evaluation: what they need is looked at before any picture is drawn."""

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.console import Said, erasure

ROWS = "prompt,object,seed\n" + "".join(
    f"an image of a {name},{name},{seed}\n"
    for name, seed in (("church", 0), ("dog", 0), ("dog", 1), ("cat", 0), ("cat", 1))
)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    folder = tmp_path / "real"
    folder.mkdir()
    for n in range(6):
        Image.radial_gradient("L").rotate(40 * n).convert("RGB").save(folder / f"{n}.png")
    return folder


def evaluate(model: Path, prompts: Path, out: Path, *more: object) -> Said:
    line = ("evaluate", model, "--suite", "csv", "--prompts", prompts, "--erased", "church")
    return erasure(*line, "--steps", 1, "--judge", "canvas", "--out", out, *more)


@pytest.mark.parametrize(
    ("breaking", "metric", "words"),
    [
        ("missing", "kid", "there is no file or folder"),
        ("empty", "kid", "has no picture"),
        ("damaged", "frechet", "3.png"),
        ("pipe", "frechet", "is no regular file"),
        ("few", "kid", "kid needs 4 of each"),
        ("package", "kid", "diffusion-erasure[metrics]"),
        ("weights", "kid", "no-such-folder"),
        ("clip", "clip", "no-such-folder"),
    ],
)
def test_what_a_metric_needs_is_checked_before_pictures_are_drawn(
    breaking: str,
    metric: str,
    words: str,
    tiny_folder: Path,
    prompts: Path,
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more: list[object] = ["--metric", metric]
    if breaking == "damaged":
        (reference / "3.png").write_bytes(b"no picture")
    elif breaking == "pipe":
        os.mkfifo(reference / "6.png")
    elif breaking in ("few", "empty", "missing"):
        for file in list(reference.iterdir())[: 4 if breaking == "few" else 6]:
            file.unlink()
        if breaking == "missing":
            reference.rmdir()
    elif breaking == "package":
        monkeypatch.setitem(sys.modules, "torchmetrics.image.kid", None)
    elif breaking == "weights":
        more += ["--features", tmp_path / "no-such-folder"]
    if breaking == "clip":
        more += ["--clip", tmp_path / "no-such-folder"]
    else:
        more += ["--reference", reference]
    said = evaluate(tiny_folder, prompts, tmp_path / "out", *more)
    assert said.code == 2, said.err
    assert words in said.err
    assert "draw" not in "".join(line for line in said.err.splitlines() if " s" == line[-2:])
    assert not (tmp_path / "out").exists()


def test_metrics_look_at_nothing_where_every_picture_shows_what_was_erased(
    tiny_folder: Path, reference: Path, tmp_path: Path
) -> None:
    path = tmp_path / "churches.csv"
    path.write_text("prompt,object\nan image of a church,church\n", encoding="utf-8")
    said = evaluate(
        tiny_folder, path, tmp_path / "out", "--metric", "kid", "--reference", reference
    )
    assert said.code == 2
    assert "every picture would show something erased" in said.err


@pytest.mark.slow
def test_a_distance_to_the_reference_is_measured_over_the_kept_pictures_alone(
    tiny_folder: Path, prompts: Path, reference: Path, tmp_path: Path
) -> None:
    said = evaluate(
        tiny_folder, prompts, tmp_path / "out", "--metric", "kid", "--reference", reference
    )
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    (metric,) = results["metrics"]
    assert (metric["name"], metric["after_n"], metric["before_n"]) == (
        "kernel-efficientnet-lite0",
        4,
        6,
    )
    assert results["protocol"]["metrics"]["sets"]["against"] == "reference"


def test_a_limited_evaluation_looks_at_what_was_erased_and_at_the_rest(
    tiny_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    said = evaluate(tiny_folder, prompts, tmp_path / "out", "--limit", 2)
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [one["labels"]["object"] == "church" for one in results["images"]] == [True, False]
