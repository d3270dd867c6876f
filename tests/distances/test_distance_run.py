"""A whole measurement on tiny models: what comes out, and that it is what it should be."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models.tiny_flow import write_sd3
from support.models.tiny_labels import CLASSES, write_ddpm
from support.results.distanced import (
    Bright,
    bright_judge,
    coarse_measure,
    tiny_recipe,
    write_models,
    write_pictures,
)

from erasure.architectures.building import build_parts, schedule_of
from erasure.diffusion.schedule import NoiseSchedule
from erasure.errors import CheckpointError
from pipelines.distances import run
from pipelines.distances.groups import Group
from pipelines.distances.passes import Settings, by_bin, predict, samples_of
from pipelines.distances.result import Distances, table_of
from pipelines.distances.run import run_distances
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.models import open_model

CPU = torch.device("cpu")


def always(*_: object, **__: object) -> CellJudge:
    """Sees the concept in every picture."""
    return CellJudge(Bright(), "bright", lambda _: True)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Held-out pictures and those that were trained on."""
    folder = tmp_path_factory.mktemp("pictures")
    return write_pictures(folder / "held-out", 6, 1), write_pictures(folder / "trained", 6, 2)


@pytest.fixture(scope="module")
def measured(
    models: dict[str, Path], folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Distances, dict[str, Any]]:
    """The result, and the file that was written."""
    out = tmp_path_factory.mktemp("out")
    recipe = tiny_recipe(models, folders[0], trained=str(folders[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "cell_judge", bright_judge)
        patch.setattr(run, "measure_of", coarse_measure)
        result = run_distances(recipe, out, force=False, reporter=Reporter(quiet=True))
        with pytest.raises(CheckpointError, match="exists"):
            run_distances(recipe, out, force=False, reporter=Reporter(quiet=True))
    assert (out / "recipe.toml").is_file()
    return result, json.loads((out / "distance.json").read_text())


def test_every_distance_is_there_but_the_one_that_needs_an_audit(
    measured: tuple[Distances, dict[str, Any]],
) -> None:
    result, written = measured
    names = {entry.name for entry in result.entries}
    assert names == {"D1", "D2", "D3", "D4", "D5", "D7", "D8"}
    assert "D6: there is no --audit" in " ".join(result.not_measured)
    assert written["format"] == "diffusion-erasure distances 1"
    assert written["rows"] == ["audited", "base", "random"]
    assert set(written["models"]) == {"audited", "base", "retrained", "twin", "random"}
    assert len(written["entries"]) == len(result.entries)


def test_what_the_others_draw_is_drawn_once_for_all_measurements(
    measured: tuple[Distances, dict[str, Any]],
    models: dict[str, Path],
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "cell_judge", bright_judge)
    monkeypatch.setattr(run, "measure_of", coarse_measure)
    recipe = tiny_recipe(models, folders[0], trained=str(folders[1]))
    reporter = Reporter(quiet=True)
    again = run_distances(recipe, tmp_path / "out", force=False, reporter=reporter)
    stages = [name for name in reporter.seconds if name.startswith("draw")]
    assert stages == ["draw concept by audited", "draw retain by audited"]
    assert again.entries == measured[0].entries


def test_the_nearer_model_reads_less_in_noise_predictions(
    measured: tuple[Distances, dict[str, Any]],
) -> None:
    for entry in measured[0].entries:
        if entry.name == "D2":
            read = {role: reading.units for role, reading in entry.readings.items()}
            assert read["audited"] is not None
            assert read["base"] is not None
            assert 1 < read["audited"] < read["base"], entry.place
            assert read["audited"] == pytest.approx(25, rel=0.8)  # five times the noise, squared


def test_each_place_and_time_of_noise_predictions_has_an_entry(
    measured: tuple[Distances, dict[str, Any]],
) -> None:
    places = [entry.place for entry in measured[0].entries if entry.name == "D2"]
    assert len(places) == len(set(places)) == 3 * 3 * (1 + 2)
    assert "drawn pictures, null text, times 2 of 2" in places


def test_the_move_of_the_weights_is_from_the_base(
    measured: tuple[Distances, dict[str, Any]], models: dict[str, Path]
) -> None:
    (entry,) = (entry for entry in measured[0].entries if entry.name == "D8")
    one, two = (open_model(str(models[role])).network for role in ("base", "audited"))
    gap = sum(float((one[n].double() - two[n].double()).square().sum()) for n in one)
    whole = sum(float(weight.double().square().sum()) for weight in one.values())
    assert entry.readings["audited"].value == pytest.approx((gap / whole) ** 0.5)
    assert entry.unit is None


def test_one_noise_prediction_is_that_of_a_slow_loop(models: dict[str, Path]) -> None:
    checkpoint = open_model(str(models["base"]))
    parts = build_parts(checkpoint, torch.float32, CPU)
    schedule = schedule_of(checkpoint)
    assert isinstance(schedule, NoiseSchedule)
    draw = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 4, 4, 4, generator=draw)
    texts = ("a church", "a dog", "")
    group = Group("concept", mean, torch.full_like(mean, 0.1), {"concept": texts}, frozenset())
    settings = Settings(bins=2, samples=2, batch_size=5, seed=3)
    shown = samples_of(group, schedule, settings)
    assert len(shown) == 12
    condition = checkpoint.architecture.with_size(parts.text(list(texts)), 16, 16)
    denoise = checkpoint.architecture.denoiser(parts.network.eval())
    made = predict(denoise, shown, condition, settings, CPU)
    for n in range(12):
        with torch.no_grad():
            alone = denoise(
                shown.x_t[n : n + 1], shown.t[n : n + 1], condition[torch.tensor([n // 4])]
            )
        torch.testing.assert_close(made[n : n + 1], alone)
    losses = by_bin(made - shown.target, settings)
    by_hand = (made - shown.target).square().mean(dim=(1, 2, 3)).double()
    torch.testing.assert_close(losses[1, 1], by_hand[6:8].mean())
    times = shown.t.view(3, 2, 2)
    assert (times[:, 0] < 500).all()
    assert (times[:, 1] >= 500).all()


def test_the_table_names_each_distance_and_what_its_numbers_are(
    measured: tuple[Distances, dict[str, Any]],
) -> None:
    text = "\n".join(table_of(measured[0]))
    assert "D2 noise predictions: concept pictures, null text, all times" in text
    assert "times 1 of 2" not in text  # by time only in the file
    assert "1: cannot be told apart" in text
    assert "not measured: D6" in text


@pytest.mark.slow
def test_the_twin_in_the_place_of_the_model_reads_one(
    models: dict[str, Path],
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "cell_judge", bright_judge)
    monkeypatch.setattr(run, "measure_of", coarse_measure)
    recipe = tiny_recipe(models, folders[0], model=str(models["twin"]), draws=6)
    result = run_distances(recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True))
    for entry in result.entries:
        if entry.name in ("D2", "D4"):
            assert entry.readings["audited"].units == pytest.approx(1.0) or entry.floored


@pytest.mark.slow
def test_a_flow_transformer_is_measured_too(tmp_path: Path) -> None:
    file = Path("transformer") / "diffusion_pytorch_model.safetensors"
    models = write_models(tmp_path, lambda folder: write_sd3(folder, t5=False), file)
    recipe = tiny_recipe(models, None, draws=4, shown=4, bins=2, samples=1, steps=1, stream=True)
    streamed: list[bool] = []
    make = run.streamed_network

    def noting(*inputs: Any) -> Any:  # noqa: ANN401
        streamed.append(True)
        return make(*inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_SMALL", 0)  # as after a large model has drawn
        patch.setattr(run, "streamed_network", noting)
        patch.setattr(run, "cell_judge", bright_judge)
        patch.setattr(run, "measure_of", coarse_measure)
        result = run_distances(recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True))
    assert len(streamed) >= len(result.models)
    headlines = [one for one in result.entries if one.name == "D2" and one.headline]
    assert len(headlines) == 9
    for entry in headlines:
        near, far = (entry.readings[role].units for role in ("audited", "base"))
        assert near is not None
        assert far is not None
        assert 1 < near < far, entry.place


def test_a_model_without_a_label_of_no_class_is_measured_under_its_classes(tmp_path: Path) -> None:
    file = Path("unet") / "diffusion_pytorch_model.safetensors"
    classes = len(CLASSES)
    models = write_models(
        tmp_path, lambda folder: write_ddpm(folder, num_class_embeds=classes), file
    )
    recipe = tiny_recipe(
        models,
        None,
        concept="sneaker",
        draws=4,
        shown=4,
        bins=1,
        samples=1,
        steps=1,
        guidance=1.0,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "cell_judge", always)
        patch.setattr(run, "measure_of", coarse_measure)
        result = run_distances(recipe, tmp_path / "out", force=False, reporter=Reporter(quiet=True))
    assert "null text: the model has no label of no class" in result.not_measured
    places = [one.place for one in result.entries if one.name in ("D2", "D3")]
    assert "concept pictures, concept text, all times" in places
    assert "concept pictures, concept text" in places
    assert not [place for place in places if "null" in place]
