"""Rows of the benchmark with a training run of their own: SISA, DP-SGD, certified heads, trees."""

import csv
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from erasure.classifiers import Step, TrainingRecipe
from erasure.classifiers.exact.points import Points
from erasure.classifiers.exact.sisa.sisa_plan import Stage
from erasure.classifiers.exact.sisa.sisa_store import SisaStore
from erasure.classifiers.progress import SPENT
from erasure.errors import ConfigError
from eval.rates.unlearning_metrics import Scores
from pipelines.classifiers.bench import bench as bench_module
from pipelines.classifiers.bench import presets as preset_module
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.bench_own import OwnTraining
from pipelines.classifiers.bench.bench_run import run_bench
from pipelines.classifiers.bench.bench_table import Row, table, to_csv, to_markdown
from pipelines.classifiers.bench.cells import Cell, DeletionFacts
from pipelines.classifiers.bench.page.bench_layout import panel
from pipelines.classifiers.bench.presets import Preset, load_presets
from pipelines.classifiers.data import data as data_module
from pipelines.classifiers.data.data import DataConfig, DataFacts, batches, load_data
from pipelines.classifiers.exact_folder import is_exact, open_exact
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.classifiers.run_settings import ForgetRun, preset_of
from pipelines.classifiers.training import train_original
from pipelines.process.progress import Reporter

pytest.importorskip("sklearn")

TINY = BenchConfig(
    data=(DataConfig(name="digits", train=120, held_out=60, test=60),),
    models=(ModelConfig(architecture="mlp", width=0.05),),
    training=TrainingRecipe(epochs=1, batch_size=64),
    seeds=(0,),
)
Run = Callable[..., list[Row]]


@pytest.fixture(autouse=True)
def _few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SISA with two shards of one slice, which one epoch is enough for, and six trees."""
    folder = tmp_path / "presets"
    (folder / "tuned").mkdir(parents=True)
    for path in preset_module.FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        text = text.replace("shards = 5", "shards = 2").replace("slices = 4", "slices = 1")
        if path.stem in ("forest", "extra-trees"):
            text += "\n[settings]\ntrees = 6\n"
        (folder / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(preset_module, "FOLDER", folder)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*methods: str, config: BenchConfig = TINY, **options: Any) -> list[Row]:  # noqa: ANN401
        return run_bench(
            replace(config, methods=methods),
            tmp_path / "out",
            device=torch.device("cpu"),
            reporter=Reporter(quiet=True),
            **options,
        )

    return call


def lines(folder: Path, name: str = "cells") -> dict[str, dict[str, Any]]:
    text = (folder / "out" / f"{name}.jsonl").read_text(encoding="utf-8")
    return {line["row"]: line for line in map(json.loads, text.splitlines())}


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sisa_is_scored_before_and_after_and_says_what_it_had_to_train_again(
    run: Run, tmp_path: Path
) -> None:
    retrain, sisa = run("sisa")
    assert (retrain.own_training, sisa.own_training) == (False, True)
    assert sisa.gap is not None
    assert sisa.redone is not None
    assert sisa.redone.mean == 100.0  # a tenth at random hits every shard
    assert sisa.before["ta"].mean > 0
    assert "2 of 2 shards were trained again" in sisa.statements[0]
    cell = lines(tmp_path)["sisa"]
    assert cell["deletion"]["unit"] == "sample-epochs"
    assert cell["deletion"]["before"]["seconds"] > 0
    assert cell["scores"]["seconds"] > 0


def test_the_model_of_a_seed_is_trained_once_and_stays_as_it_was(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sisa")
    (folder,) = (tmp_path / "out" / "models").glob("sisa-*")
    assert is_exact(folder)
    model, record, _ = open_exact(folder)  # as the other commands do
    assert (len(model.ids), record.method, record.forget) == (120, "sisa", "")
    before = bytes_of(folder)

    def never(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise AssertionError("trained again")

    monkeypatch.setattr(OwnTraining, "_fitted", never)
    rows = run("sisa", config=replace(TINY, forget=("10%", "class:3")))
    assert [row.method for row in rows] == ["retrain", "sisa"] * 2
    assert bytes_of(folder) == before
    assert [path.name for path in (tmp_path / "out" / "models").glob("deleting-*")] == []


def test_a_model_is_read_where_sums_end_in_another_digit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sisa")
    facts = data_module._facts

    def elsewhere(*parts: Any) -> DataFacts:  # noqa: ANN401
        here = facts(*parts)
        return replace(here, mean=tuple(value + 1e-6 for value in here.mean))

    monkeypatch.setattr(data_module, "_facts", elsewhere)
    (folder,) = (tmp_path / "out" / "models").glob("sisa-*")
    model, _, data = open_exact(folder)
    assert model.forget(Points.of(batches(data.train)), [3]).forgotten == 1
    rows = run("sisa", config=replace(TINY, forget=("class:3",)))
    assert [row.failures for row in rows] == [(), ()]


def test_a_training_that_was_cut_counts_the_time_of_all_its_parts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SisaStore.save

    def cut(store: SisaStore, stage: Stage, state: Mapping[str, torch.Tensor]) -> None:
        save(store, stage, state)
        store.add_seconds(1000.0)  # as if the stage had taken so long
        raise KeyboardInterrupt

    monkeypatch.setattr(SisaStore, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        run("sisa")
    monkeypatch.setattr(SisaStore, "save", save)
    _, row = run("sisa")
    assert 1000 < row.before["seconds"].mean < 2000
    (folder,) = (tmp_path / "out" / "models").glob("sisa-*")
    assert not (folder / SPENT).exists()


def test_an_original_that_was_cut_counts_the_time_of_all_its_parts(tmp_path: Path) -> None:
    data, state = load_data(TINY.data[0]), tmp_path / "original.state"
    recipe = replace(TINY.training, epochs=2)

    def train(on_step: Callable[[Step], None]) -> float:
        _, record = train_original(
            data,
            TINY.models[0],
            recipe,
            seed=0,
            device=torch.device("cpu"),
            state=state,
            on_step=on_step,
        )
        return record.seconds

    def stop(step: Step) -> None:
        time.sleep(0.2)
        if step.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    assert train(lambda _: None) > 0.4  # two steps an epoch


@pytest.mark.slow
def test_a_certified_head_takes_the_features_of_the_original(run: Run, tmp_path: Path) -> None:
    _, row = run("certified")
    assert row.numbers["gradient_bound"].mean <= row.numbers["budget"].mean
    assert "which was trained on the points and keeps them" in row.statements[0]
    originals = list((tmp_path / "out" / "models").glob("original-*.safetensors"))
    assert len(originals) == 1


def test_dp_sgd_is_not_touched_and_says_its_bound(run: Run) -> None:
    pytest.importorskip("opacus")
    _, row = run("dp-sgd")
    assert row.redone is not None
    assert row.redone.mean == 0.0
    four = ("ua", "ra", "ta", "mia")
    assert {n: row.before[n].mean for n in four} == {n: row.scores[n].mean for n in four}
    assert set(row.numbers) == {"epsilon", "delta", "forgotten"}
    assert row.numbers["epsilon"].mean == pytest.approx(12 * 8.0, rel=0.01)  # twelve points left


@pytest.mark.slow
def test_trees_have_rows_for_tables(run: Run) -> None:
    _, forest, extra = run("forest", "extra-trees")
    assert [forest.failures, extra.failures] == [(), ()]
    assert "every node is what growing on the remaining 108 points gives" in forest.statements[0]


@pytest.mark.slow
def test_trees_are_left_out_where_they_do_not_apply_unless_they_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Preset, "applies_to", lambda self, _: self.method != "forest")
    cheap = {"ft", "certified", "forest"}
    shown = [row for row in load_presets() if row.name in cheap]
    monkeypatch.setattr(
        "pipelines.classifiers.bench.bench_run.load_presets", lambda *_, **__: shown
    )
    assert [row.method for row in run()] == ["retrain", "ft", "certified"]
    rows = run("forest")
    assert rows[-1].failures[0].startswith("does not apply: forest takes tables of numbers")
    assert "| forest | does not apply: forest takes" in to_markdown(rows)
    assert [row.applies_to("table") for row in shown] == [True, True, False]


@pytest.mark.parametrize(("kind", "fits"), [("image", False), ("text", False), ("table", True)])
def test_trees_take_tables_alone(kind: Any, fits: bool) -> None:  # noqa: ANN401
    forest, sisa = load_presets(["forest", "sisa"])[::-1]
    assert {row.name: row.applies_to(kind) for row in (forest, sisa)} == {
        "forest": fits,
        "sisa": True,
    }


def test_a_refusal_is_a_failed_cell_that_the_next_run_tries_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise ConfigError("opacus is not installed")

    with monkeypatch.context() as patch:
        patch.setattr(OwnTraining, "_fitted", missing)
        rows = run("sisa")
    assert rows[1].failures == ("opacus is not installed",)
    assert run("sisa")[1].failures == ()
    assert lines(tmp_path)["sisa"]["error"] == ""


@pytest.mark.slow
def test_the_search_leaves_them_alone(run: Run, tmp_path: Path) -> None:
    run("ga", "certified", budget=2)
    assert set(lines(tmp_path, "trials")) == {"retrain", "ga"}


def test_the_recipe_of_the_benchmark_is_theirs_but_for_what_the_preset_says() -> None:
    recipe = TrainingRecipe(epochs=7, lr=0.2)
    rows = {row.name: row.make_own(recipe, seed=5) for row in load_presets(["sisa", "dp-sgd"])}
    sisa, private = (rows[name].recipe for name in ("sisa", "dp-sgd"))  # type: ignore[attr-defined]
    assert sisa == recipe
    assert private == replace(recipe, lr=0.5, batch_size=1024, weight_decay=0.0)
    assert {row.seed for row in rows.values()} == {5}  # type: ignore[attr-defined]


def test_unlearning_a_file_by_a_method_that_trains_itself_is_refused() -> None:
    run = ForgetRun(model="x", forget="10%", method="sisa")
    with pytest.raises(ConfigError, match="train with `erasure classify train --method sisa`"):
        preset_of(run)


# The table and the plot


def cell(row: str, *, own: bool = False, **scores: float) -> Cell:
    four = Scores(**({"ua": 5.0, "ra": 100.0, "ta": 94.0, "mia": 13.0, "seconds": 2.0} | scores))
    facts = DeletionFacts(before=four, unit="rows", spent=1, refit=4, statement="gone for good")
    return Cell(
        key=row,
        setting="a/b/10%",
        row=row,
        seed=0,
        scores=four,
        own_training=own,
        deletion=facts if own else None,
    )


def test_they_are_not_ranked_and_stand_below_the_others() -> None:
    cells = [cell("retrain"), cell("sisa", own=True), cell("a", ua=6.0), cell("b", ua=9.0)]
    text = to_markdown(table(cells))
    ranked, own = text.split("#### Own training run")
    assert "| a | 6.00±0.00 | 100.00±0.00 | 94.00±0.00 | 13.00±0.00 | **0.25** |" in ranked
    assert "| *1.00* |" in ranked
    assert "sisa" not in ranked
    assert "| sisa | 5.00±0.00 | 100.00±0.00 | 94.00±0.00 | 13.00±0.00 | 0.00 | 2.0 | 25.0 |" in own
    assert "- sisa: gone for good" in own
    (read,) = [
        row for row in csv.DictReader(io.StringIO(to_csv(table(cells)))) if row["method"] == "sisa"
    ]
    assert (read["own_training"], read["redone"], read["before_ta"]) == (
        "yes",
        "25.0000",
        "94.0000",
    )


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.00374, "0.0037"), (0.0, "0"), (1.04, "1.0"), (197.54, "197.5")]
)
def test_times_are_readable_at_any_length(seconds: float, said: str) -> None:
    made = to_markdown(table([cell("retrain"), cell("sisa", own=True, seconds=seconds)]))
    assert f"| 0.00 | {said} | 25.0 |" in made


def test_one_that_takes_no_time_is_drawn_at_the_edge() -> None:
    cells = [cell("retrain", seconds=80.0), cell("ft", ua=9.0), cell("dp-sgd", own=True, seconds=0)]
    chart = panel(table(cells))
    assert chart is not None
    edge = chart.dots[-1]
    assert (edge.name, edge.seconds) == ("dp-sgd (0.001 s)", 2 / 30)
    assert all(0 <= dot.x <= 1 and 0 <= dot.y <= 1 for dot in chart.dots)
    assert panel(table([cell("ft")])) is None


def test_forget_data_is_not_asked_for_a_model_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:  # noqa: ANN401
        raise AssertionError("an approximate method ran")

    monkeypatch.setattr(bench_module, "forget_data", never)
    assert run("certified")[1].gap is not None
