"""The two experiments on UnlearnCanvas run to their tables: a tiny model and two tiny judges."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support.console import erasure
from support.models.tiny_canvas_judges import canvas_classifier

from pipelines.reproducing import cells
from pipelines.reproducing.protocol import Sourced
from pipelines.reproducing.protocols.protocols import PROTOCOLS
from pipelines.reproducing.released_classifiers import convert


@pytest.fixture(autouse=True)
def _brisk() -> Iterator[None]:
    """The same experiments with two steps of the sampler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_DRAWING", {"steps": 2, "guidance": 7.5})
        for name in ("salun-style", "unlearncanvas"):
            one = PROTOCOLS[name]
            steps = {**one.evaluate, "steps": Sourced(2, "this test")}
            patch.setitem(PROTOCOLS, name, replace(one, evaluate=steps))  # type: ignore[arg-type]
        yield


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options of the two judges, converted as a user converts the released ones."""
    folder = tmp_path_factory.mktemp("judges")
    options = []
    for head, classes in (("style", 51), ("object", 20)):
        file = folder / f"{head}.pth"
        torch.save({"model_state_dict": canvas_classifier(classes)}, file)
        options += ["--judge", f"{head}={convert(file, folder / head)}"]
    return tuple(options)


@pytest.mark.parametrize(
    ("experiment", "only", "kinds"),
    [
        ("salun-style", ("Monet",), ("style",)),
        ("unlearncanvas", ("Van Gogh", "Bears"), ("style", "object")),
    ],
)
def test_an_experiment_runs_to_its_table(
    experiment: str,
    only: tuple[str, ...],
    kinds: tuple[str, ...],
    tiny_folder: Path,
    judged: tuple[str, ...],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    line: list[Any] = [experiment, "--model", tiny_folder, "--data", "drawn", *judged]
    for name in only:
        line += ["--only", name]
    line += ["--limit", 3, "--batch-size", 4, "--cache", tmp_path / "cache", "--out", out]
    said = erasure("reproduce", *line)
    assert said.code == 0, said.err
    result = json.loads((out / "reproduction.json").read_text(encoding="utf-8"))
    figures = {row["key"]: row for row in result["figures"]}
    rated = [f"{kind} {rate}" for kind in kinds for rate in ("ua", "ira", "cra")]
    assert list(figures) == [*rated, "base: object", "base: style", "fid"]
    for key in rated:
        ours, published = figures[key]["ours"], figures[key]["published"]
        assert 0 <= ours["low"] <= ours["value"] <= ours["high"] <= 1
        assert ours["pictures"] >= 1
        assert [one["method"] for one in published] == ["ESD", "FMN", "UCE", "CA", "SalUn"]
        assert figures[key]["published_lies_within"] is None
    assert figures["fid"]["ours"] is None
    (line_of_fid,) = [row for row in said.out.splitlines() if row.startswith("FID ")]
    assert "not made" in line_of_fid
    assert "SalUn 61.05 [1]" in line_of_fid
    assert {judge["model"] for judge in result["judges"].values()} == {"style", "object"}
    changed = " ".join(result["changed"])
    assert "the judge of style is style, as the user gave it; whether it is one of" in changed
    assert "pictures have 32 pixels a side, the model's own, and not the protocol's 512" in changed
    for cell in ("base", "style-monet" if kinds == ("style",) else "object-bears"):
        pictures = list((out / "cells" / cell / "judged").rglob("images/*/*.png"))
        assert len(pictures) >= 3
        assert {Image.open(path).size for path in pictures} == {(32, 32)}
    with (out / "figures.csv").open(newline="", encoding="utf-8") as file:
        assert {row["figure"] for row in csv.DictReader(file)} == set(figures)
    page = (out / "reproduction.md").read_text(encoding="utf-8")
    assert "| FID | not made | - |" in page
