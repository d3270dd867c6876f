"""`erasure judge`: a user's own pictures through a judge, from the command line."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.console import erasure

from eval.judges.judge import Detection, Guess, Judgement
from eval.judges.judges import JUDGES


class Scripted:
    """Sees in a picture what the test wrote into its first pixel's red."""

    name = "nudenet"
    protocol = {"package": "scripted 1", "sha256": "0123456789abcdef", "threshold": 0.5}  # noqa: RUF012

    def __call__(self, images: list[Image.Image], /) -> list[Judgement]:
        return [self._judge(np.asarray(image)[0, 0, 0] / 100) for image in images]

    def _judge(self, score: float) -> Judgement:
        score = round(float(score), 2)
        return Judgement(
            guesses={"class": (Guess("church", score), Guess("dog", 1 - score))},
            detections=(Detection("FEET_EXPOSED", score, (1, 2, 3, 4)),),
            scores={"nsfw": score},
        )


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(JUDGES, "nudenet", lambda *, channels="bgr": Scripted())  # type: ignore[index]


def write_picture(path: Path, red: int) -> Path:
    Image.new("RGB", (8, 8), (red, 0, 0)).save(path)
    return path


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_is_one_object_a_picture(scripted: None, tmp_path: Path) -> None:
    one = write_picture(tmp_path / "one.png", 70)
    for red in range(20):  # more than are read at a time
        (tmp_path / "folder").mkdir(exist_ok=True)
        write_picture(tmp_path / "folder" / f"{red:02}.png", red)
    said = erasure("judge", one, tmp_path / "folder", "--with", "nudenet", "--json")
    assert said.code == 0, said.err
    rows = lines(said.out)
    assert [Path(row["path"]).name for row in rows] == [
        *("one.png", *(f"{red:02}.png" for red in range(20)))
    ]
    assert rows[0] == {
        "path": str(one),
        "judge": "nudenet",
        "guesses": {"class": [{"label": "church", "score": 0.7}, {"label": "dog", "score": 0.3}]},
        "detections": [{"label": "FEET_EXPOSED", "score": 0.7, "box": [1, 2, 3, 4]}],
        "scores": {"nsfw": 0.7},
        "flagged": ["nsfw"],
        "protocol": Scripted.protocol,
    }
    assert rows[1]["flagged"] == []
    assert said.err == ""


def test_a_threshold_leaves_out_what_scores_less(scripted: None, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 60)
    write_picture(tmp_path / "b.png", 59)
    said = erasure("judge", tmp_path, "--with", "nudenet", "--threshold", 0.6, "--json")
    one, other = lines(said.out)
    assert [one["score"] for one in one["detections"]] == [0.6]
    assert one["guesses"] == {"class": [{"label": "church", "score": 0.6}]}
    assert (other["detections"], other["guesses"]) == ([], {"class": []})


def test_the_table_has_a_row_a_picture_and_the_papers_counts(
    scripted: None, tmp_path: Path
) -> None:
    write_picture(tmp_path / "[red]bold[bold].png", 60)
    write_picture(tmp_path / "calm.png", 10)
    said = erasure("judge", tmp_path, "--with", "nudenet", "--threshold", 0.7)
    assert said.code == 0, said.err
    assert "[red]bold[bold].png" in said.out.replace("\n", "")
    assert "class: unsure" in said.out  # all is below the threshold
    assert "FEET_EXPOSED" not in said.out  # but counted
    assert "9 exposed classes at 0.6: detections 1, pictures with one 1 of 2" in said.out
    assert "6 exposed classes at 0.5: detections 0, pictures with one 0 of 2" in said.out
    assert "package scripted 1" in said.out
    assert "sha256 0123456789ab," in said.out


def test_broken_pictures_are_named_and_the_others_judged(scripted: None, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 60)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    write_picture(tmp_path / "z.png", 60)
    said = erasure("judge", tmp_path, "--with", "nudenet", "--json")
    assert said.code == 2
    assert [Path(row["path"]).name for row in lines(said.out)] == ["a.png", "z.png"]
    one, other = said.err.splitlines()
    assert one.startswith("erasure: ")
    assert "broken.png is no picture that can be decoded" in one
    assert "cut.png is no picture that can be decoded" in other


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8 are Linux's")
def test_a_name_that_is_no_utf8_is_told(scripted: None, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(path)
    (row,) = lines(erasure("judge", tmp_path, "--with", "nudenet", "--json").out)
    assert row["path"] == str(path)
    assert erasure("judge", tmp_path, "--with", "nudenet").code == 0


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["none.png", "--with", "canvas"], "there is no file or folder none.png; check the path"),
        ([".", "--with", "canvas"], "the folder . has no picture; add .png or .jpg files"),
        (["a.txt", "--with", "nudnet"], "there is no judge 'nudnet'; the nearest is nudenet"),
        (["a.txt", "--with", "canvas", "--labels", "a,b"], "the judge canvas takes no labels"),
        (
            ["a.txt", "--with", "nudenet", "--threshold", "0.2"],
            "the threshold is 0.2; give 0.25 to 1: NudeNet itself drops what scores below 0.25",
        ),
        (["a.txt", "--with", "canvas", "--threshold", "2"], "give a share in 0 to 1"),
        (["a.txt", "--with", "q16"], "the judge q16 needs its head"),
        (["a.txt", "--with", "no/model"], "the model no/model cannot be had from the hub"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence(
    arguments: list[str], wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "a.txt":
        Path("a.txt").write_text("exists")
    said = erasure("judge", *arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("erasure: ")
    assert wrong in said.err
    assert said.err.count("\n") == 1


def test_the_canvas_judge_needs_nothing_but_the_package(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 200)
    said = erasure("judge", tmp_path / "a.png", "--with", "canvas")
    assert said.code == 0, said.err
    assert "object: " in said.out
    assert "style: " in said.out
