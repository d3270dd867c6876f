"""What Ctrl-C says of the files that a command leaves, and what the next call says of them."""

from pathlib import Path

import pytest
from support.console import erasure
from support.refusals import assert_told

from erasure.errors import OutOfMemoryError
from pipelines.run.memory import Less, NeedsLessError, halved
from pipelines.run.run_folder import RECIPE_HEADER

GOES_ON = "interrupted; what was finished is kept, and the same command goes on"
EVALUATION = ("evaluate", "demo", "--suite", "canvas")
AUDIT = ("audit", "demo", "--concept", "church")
EXPERIMENT = ("reproduce", "salun-imagenette", "--model", "demo")


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        (EVALUATION, "pipelines.evaluation.run.run_evaluation", GOES_ON),
        (AUDIT, "pipelines.audit.run.run_audit", GOES_ON),
        (EXPERIMENT, "pipelines.reproducing.run.reproduce", GOES_ON),
        (("bench", "demo"), "pipelines.bench.run.prepare", GOES_ON),
        (("classify", "bench"), "pipelines.classifiers.bench.bench_run.run_bench", GOES_ON),
        (("demo",), "pipelines.jobs.demo_job.run_demo", "the same command with --force"),
        (
            ("export", "demo"),
            "pipelines.jobs.export_job.ExportJob.write",
            "nothing was half-written; give the same command to begin again",
        ),
    ],
)
def test_a_command_that_is_cut_says_how_to_go_on(
    line: tuple[str, ...],
    place: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, cut)
    assert_told(erasure(*line, "--out", tmp_path / "x"), 1, words)


def test_an_audit_without_memory_names_the_setting_that_needs_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutOfMemoryError("while attacking")

    monkeypatch.setattr("pipelines.audit.run.run_audit", full)
    said = erasure(*AUDIT, "--device", "cpu", "--out", tmp_path / "x")
    assert_told(said, 1, "out of memory on cpu while auditing", "give --batch-size 24 --force")


def test_a_demo_without_memory_names_the_command_that_has_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise NeedsLessError(
            "out of memory on cpu while training: ", Less(halved("micro_batch", 8))
        )

    monkeypatch.setattr("pipelines.jobs.demo_job.run_demo", full)
    said = erasure("demo", "--concept", "dog", "--out", tmp_path / "x")
    assert_told(said, 1, "the demo has no option", "erase demo --concept dog with --drawing-batch")
    assert "--resume" not in said.err


def test_a_demo_that_was_cut_is_replaced_and_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "recipe.toml").write_text(f"# {RECIPE_HEADER.splitlines()[0]}\n")
    said = erasure("demo", "--out", out)
    assert_told(said, 2, f"{out} exists; give another path, or --force to replace it")
    assert "--resume" not in said.err  # which the demo has not
