"""`--until-unseen` from the command line: its curve, its record, a cut run, what is refused."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.console import Said, erasure
from support.forked import forked, run_line

from erasure import verify
from erasure.architectures.building import build_network
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.training.unseen import Curve, InTraining, Look
from eval.judges.judge import Guess, Judgement
from pipelines.configs.settings import DrawingConfig, EraseRecipe
from pipelines.drawing.requests import Request
from pipelines.process.processes import Processes
from pipelines.run import erasing, stages
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.judging.looking import JudgingEye, curve_said, write_curve
from prompts.concepts.plan import ConceptPlan

SHOWN, KEPT = 2, 3
BASE = (
    *("--concept", "church", "--mask", "all", "--scope", "xattn", "--lr", 0.05),
    *("--batch-size", 2, "--forget-drawn", 2, "--retain-drawn", 2, "--seeds", 0),
    *("--set", "data.drawing.steps=2", "--set", "grid.drawing.steps=2", "--set", "save_every=1"),
    *("--device", "cpu", "--json", "--set", 'grid.prompts=["a church"]'),
)
LOOKS = (
    *("--until-unseen", "--set", "unseen.every=1", "--set", "unseen.times=2"),
    *("--set", f"unseen.pictures={SHOWN}", "--set", f"unseen.neighbours={KEPT}"),
)


class Judge:
    """Sees a church in every picture that is hardly another than one of the first it was shown."""

    name, labels, protocol = "fake", ("church", "castle"), {"weights": "none"}

    def __init__(self, nearest: float) -> None:
        self.nearest, self.first = nearest, list[np.ndarray]()

    def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
        arrays = [np.asarray(image, np.float32) for image in images]
        self.first = self.first or arrays
        gaps = [min(np.abs(array - one).mean() for one in self.first) for array in arrays]
        seen = ["church" if gap <= self.nearest else "castle" for gap in gaps]
        return [Judgement(guesses={"class": (Guess(label, 0.9),)}) for label in seen]


def seeing(nearest: float) -> Callable[..., CellJudge]:
    """Make a function that opens the judge of a run; `nearest` decides what it recognises."""

    def opened(recipe: EraseRecipe, plan: ConceptPlan, *, own: str | None) -> CellJudge:
        return CellJudge(
            Judge(nearest), "fake", lambda seen: seen.guesses["class"][0].label == "church"
        )

    return opened


def run(folder: Path, cache: Path, out: Path, *options: object, steps: int = 6) -> Said:
    line = ("erase", folder, *BASE, "--steps", steps, "--cache", cache, "--out", out)
    return erasure(*line, *options, charts=True)


def record_of(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "erasure.json").read_text(encoding="utf-8"))
    return values


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def ended(tiny_folder: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that its judge ended."""
    out = tmp_path_factory.mktemp("ended") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasing, "cell_judge", seeing(1.0))
        said = run(tiny_folder, cache, out, *LOOKS)
    assert said.code == 0, said.err
    report = json.loads(said.out)
    assert report["until_unseen"] == curve_of(out)
    assert "step 1: church recognised in" in said.err
    return out


def curve_of(out: Path) -> dict[str, Any]:
    seen = record_of(out)["config"]["until_unseen"]
    return {key: seen[key] for key in ("stopped", "result", "looks")}


def test_the_training_ends_and_the_curve_is_written_as_data_and_as_a_picture(ended: Path) -> None:
    curve = curve_of(ended)
    assert 2 <= curve["stopped"] < 6
    assert curve["looks"][0]["recognised"] == curve["looks"][0]["shown"] == SHOWN
    assert [look["recognised"] for look in curve["looks"][-2:]] == [0, 0]
    rows = rows_of(ended / "unseen.csv")
    assert [int(row["step"]) for row in rows] == [look["step"] for look in curve["looks"]]
    assert [float(row["distance"]) for row in rows] == [look["distance"] for look in curve["looks"]]
    assert [row["step"] for row in rows if row["result"] == "1"] == [str(curve["result"])]
    assert rows[0]["rejected"] == ""  # this judge cannot say so
    with Image.open(ended / "unseen.png") as chart:
        assert len({pixel for _, pixel in chart.convert("RGB").getcolors(2**24)}) > 10


def test_the_record_says_who_chose_the_state_and_verify_passes(ended: Path) -> None:
    seen = record_of(ended)["config"]["until_unseen"]
    assert seen["judge"] == "fake"
    assert seen["protocol"] == {"weights": "none"}
    assert (seen["every"], seen["times"]) == (1, 2)
    assert len(seen["concept"]) == SHOWN
    assert len(seen["neighbours"]) == KEPT
    assert all("church" in prompt for prompt, _ in seen["concept"])
    assert not any("church" in prompt for prompt, _ in seen["neighbours"])
    provenance = read_checkpoint(ended / "model").provenance
    assert provenance is not None
    assert provenance.last.config["until_unseen"] == seen
    assert verify(ended).passed
    files = record_of(ended)["files"]
    assert {"unseen.csv", "unseen.png"} <= set(files)


def test_the_result_is_the_state_of_the_step_that_is_named(
    ended: Path, tiny_folder: Path, cache: Path, tmp_path: Path
) -> None:
    said = run(tiny_folder, cache, tmp_path / "run", steps=curve_of(ended)["result"])
    assert said.code == 0, said.err
    assert record_of(tmp_path / "run")["result_hash"] == record_of(ended)["result_hash"]


def test_a_run_that_was_cut_ends_with_the_same_bytes_and_the_same_curve(
    ended: Path,
    tiny_folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasing, "cell_judge", seeing(1.0))
    with monkeypatch.context() as patch:
        patch.setattr(stages, "between_steps", stopping_after_one)
        said = run(tiny_folder, cache, tmp_path / "run", *LOOKS)
    assert said.code == 1, said.err
    said = run(tiny_folder, cache, tmp_path / "run", *LOOKS, "--resume")
    assert said.code == 0, said.err
    assert record_of(tmp_path / "run")["result_hash"] == record_of(ended)["result_hash"]
    assert curve_of(tmp_path / "run") == curve_of(ended)
    one, two = (folder / "unseen.csv" for folder in (tmp_path / "run", ended))
    assert one.read_bytes() == two.read_bytes()


@contextmanager
def stopping_after_one() -> Iterator[Callable[[], bool]]:
    yield lambda: True


def test_a_run_in_which_it_never_fires_has_the_weights_of_one_without(
    tiny_folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "cell_judge", seeing(300.0))
    watched = run(tiny_folder, cache, tmp_path / "watched", *LOOKS, steps=2)
    plain = run(tiny_folder, cache, tmp_path / "plain", steps=2)
    assert watched.code == plain.code == 0, watched.err
    assert json.loads(watched.out)["until_unseen"]["stopped"] is None
    assert "until_unseen" not in json.loads(plain.out)
    assert not (tmp_path / "plain" / "unseen.csv").exists()
    one, two = (record_of(tmp_path / name)["result_hash"] for name in ("watched", "plain"))
    assert one == two


def test_what_is_said_of_a_curve_tells_destroyed_from_forgotten() -> None:
    looks = [Look(0, 4, 4, 6, 0, 0.0, 0), Look(5, 0, 4, 6, 1, 0.1, 3), Look(10, 0, 4, 6, 2, 0.2, 4)]
    said = curve_said(Curve(tuple(looks), 10, 5), "church")
    assert "up to step 10" in said
    assert "the state of step 5 harmed least" in said
    assert said.endswith("; 3 of its 4 pictures show nothing that the judge knows: destroyed is "
                         "not forgotten")  # fmt: skip
    never = curve_said(Curve((*looks[:1], replace(looks[1], recognised=2))), "church")
    assert never.startswith("church is recognised in 2 of 4 pictures at the last look (step 5)")


class Detector:
    """Finds nothing and names nothing."""

    name, protocol = "detector", {"threshold": 0.6}

    def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
        return [Judgement() for _ in images]


def test_a_judge_that_names_nothing_of_the_neighbours_leaves_their_pixels_to_decide(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    eye = JudgingEye(
        checkpoint=tiny_checkpoint,
        judge=CellJudge(Detector(), "detector", lambda seen: bool(seen.detections)),
        concept=[Request("a church", 0)],
        neighbours=[Request("a dog", 1), Request("a cat", 2)],
        drawing=DrawingConfig(steps=2),
        size=None,
        device=torch.device("cpu"),
        team=Processes(0, 1),
    )
    before = eye.before()
    assert (before.changed, before.rejected, before.distance) == (None, None, 0.0)
    network = build_network(tiny_checkpoint)
    plain = InTraining(network, tiny_checkpoint.architecture.denoiser(network))
    assert eye(plain, 1) == replace(before, step=1)  # the same weights draw the same pictures
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1.5)
    moved = eye(plain, 2)
    assert moved.changed is None
    assert 0 < moved.distance <= 1
    assert before.damage < moved.damage
    write_curve(Curve((before, moved)), tmp_path / "looks.csv", tmp_path / "looks.png")
    rows = rows_of(tmp_path / "looks.csv")
    assert [row["changed"] for row in rows] == ["", ""]
    assert (tmp_path / "looks.png").stat().st_size > 1000


def run_judged(*line: object) -> None:
    """What a process of its own is to call: a command line whose judge is such a one."""
    erasing.cell_judge = seeing(1.0)  # type: ignore[assignment]
    run_line(*line)


@pytest.mark.slow
def test_two_processes_see_what_one_sees(
    ended: Path, tiny_folder: Path, cache: Path, tmp_path: Path
) -> None:
    line = ("erase", tiny_folder, *BASE, "--steps", 6, "--cache", cache, *LOOKS)
    said = forked(run_judged, *line, "--out", tmp_path / "run", count=2)
    assert said.code == 0, said.err
    one, two = curve_of(ended), curve_of(tmp_path / "run")
    assert (one["stopped"], one["result"]) == (two["stopped"], two["result"])
    assert verify(tmp_path / "run").passed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (LOOKS, "needs a judge that recognises church"),
        (("--set", "unseen.every=3"), "unseen.every is '3' and would not be read"),
        ((*LOOKS, "--steps", 1), "--until-unseen needs 2 looks, one every 1 steps"),
        (("--until-unseen", "--set", "unseen.times=0"), "unseen.times is 0; give 1 or more"),
    ],
)
def test_looks_that_cannot_be_are_refused(
    options: tuple[object, ...],
    words: str,
    tiny_folder: Path,
    tmp_path: Path,
    refused: Callable[..., None],
) -> None:
    refused(("erase", tiny_folder, *BASE, "--out", tmp_path / "run", *options), words)


def test_a_closed_form_takes_no_steps_that_could_be_ended(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    line = ("erase", tiny_folder, "--concept", "church", "--method", "uce", "--until-unseen")
    refused((*line, "--out", tmp_path / "run"), "--until-unseen is 'True'", "takes no steps")


def test_a_judge_that_does_not_see_the_concept_before_is_refused(
    tiny_folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.setattr(erasing, "cell_judge", seeing(-1.0))
    line = ("erase", tiny_folder, *BASE, *LOOKS, "--cache", cache, "--out", tmp_path / "run")
    refused(line, "the judge fake recognises church in 0 of 2 pictures", "fewer than half")


def test_a_judge_that_sees_one_of_two_concepts_before_is_refused(
    tiny_folder: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    class Half:
        name, labels, protocol = "half", ("church", "dog"), {"weights": "none"}

        def __call__(self, images: Sequence[Image.Image]) -> list[Judgement]:
            seen = ["church"] * SHOWN + ["castle"] * (len(images) - SHOWN)
            return [Judgement(guesses={"class": (Guess(label, 0.9),)}) for label in seen]

    def opened(recipe: EraseRecipe, plan: ConceptPlan, *, own: str | None) -> CellJudge:
        return CellJudge(Half(), "half", lambda seen: seen.guesses["class"][0].label in Half.labels)

    monkeypatch.setattr(erasing, "cell_judge", opened)
    line = ("erase", tiny_folder, *BASE, *LOOKS, "--concept", "dog", "--cache", cache)
    words = f"the judge half recognises dog in 0 of {SHOWN} pictures"
    refused((*line, "--out", tmp_path / "run"), words)


def test_nothing_to_keep_leaves_no_damage_to_measure(
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[..., None],
) -> None:
    monkeypatch.setattr(erasing, "cell_judge", seeing(1.0))
    (tmp_path / "recipe.toml").write_text("[data]\nretain_prompts = []\n", encoding="utf-8")
    recipe = ("--recipe", tmp_path / "recipe.toml")
    refused(
        ("erase", tiny_folder, *BASE, *recipe, *LOOKS, "--out", tmp_path / "run"),
        "there is no prompt to keep",
    )
