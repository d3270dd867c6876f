"""Our figures beside the published ones, against intervals that were worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.results.evaluated import evaluation

from eval.judges.judge import Detection, Judgement
from eval.rates.intervals import wilson
from pipelines.evaluation.outcome.results_file import write_results
from pipelines.evaluation.settings import EvaluateRecipe, evaluation_text
from pipelines.reproducing import run
from pipelines.reproducing.cells import BASE
from pipelines.reproducing.figures import Figure, figures_of
from pipelines.reproducing.protocols.protocols import PROTOCOLS
from pipelines.reproducing.result import _COLUMNS, _csv_rows, rows_of, sources_of


def setup_of(name: str, *labels: str, stands_in: bool = False, limit: int | None = None) -> Any:  # noqa: ANN401
    protocol = PROTOCOLS[name]
    tasks = protocol.stand_in.tasks if stands_in else protocol.tasks
    wanted = tuple(task for task in tasks if task.label in labels)
    return SimpleNamespace(
        protocol=protocol,
        tasks=wanted,
        stands_in=stands_in,
        recipe=SimpleNamespace(limit=limit, data=None),
        size=protocol.size.value,
        judges=protocol.judging.judges,
        checkpoint=SimpleNamespace(
            architecture=SimpleNamespace(key=protocol.family), provenance=None
        ),
    )


def results_of(classes: Any = (), images: Any = (), **rates: tuple[int, int]) -> Any:  # noqa: ANN401
    after = {name: wilson(*counts) for name, counts in rates.items()}
    return SimpleNamespace(summary=SimpleNamespace(after=after), classes=classes, images=images)


def image(*scores: float, label: str = "BELLY_EXPOSED") -> Any:  # noqa: ANN401
    seen = tuple(Detection(label, score, (0, 0, 1, 1)) for score in scores)
    return SimpleNamespace(
        after=SimpleNamespace(judgements={"nudenet": Judgement(detections=seen)})
    )


def row(label: str, count: int, total: int, head: str = "class") -> Any:  # noqa: ANN401
    return SimpleNamespace(label=label, head=head, after=wilson(count, total))


def by_key(figures: tuple[Figure, ...]) -> dict[str, Figure]:
    assert len({figure.key for figure in figures}) == len(figures)
    return {figure.key: figure for figure in figures}


@pytest.mark.parametrize(
    "change",
    [
        {"judges": ("imagenet",)},
        {"size": 256},
        {"checkpoint": SimpleNamespace(architecture=SimpleNamespace(key="sd2"), provenance=None)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_substitute_is_not_held_against_the_published_figure(change: dict[str, Any]) -> None:
    setup = setup_of("salun-imagenette", "church")
    results = {BASE: results_of([row("church", 74, 100)]), "church": results_of(ua=(99, 100))}
    assert by_key(figures_of(setup, results))["ua/church"].within is True
    vars(setup).update(change)
    figure = by_key(figures_of(setup, results))["ua/church"]
    assert (figure.within, figure.comparable) == (None, False)
    assert figure.published


def test_what_learned_from_drawn_pictures_is_not_held_against_the_published_figure() -> None:
    setup = setup_of("salun-imagenette", "church")
    setup.recipe.data = "drawn"
    results = {BASE: results_of([row("church", 74, 100)]), "church": results_of(ua=(99, 100))}
    figures = by_key(figures_of(setup, results))
    assert figures["ua/church"].within is None
    assert figures["base/church"].within is True  # nothing was learned for it
    setup = setup_of("salun-nudity", "nudity")
    setup.recipe.data = "drawn"  # as the protocol has it
    nothing = results_of(images=[image()] * 100)
    figures = by_key(figures_of(setup, {BASE: nothing, "nudity": nothing}))
    assert figures["parts of SalUn"].within is True


def test_the_mean_of_some_styles_is_not_held_against_that_of_all() -> None:
    setup = setup_of("salun-style", "Van_Gogh")
    results = {BASE: results_of(), "style-van_gogh": results_of(ua=(86, 100), ira=(1, 1))}
    figure = by_key(figures_of(setup, results))["style ua"]
    assert figure.published
    assert figure.within is None
    setup = setup_of("salun-style", *(task.label for task in setup.protocol.tasks))
    each = {task.name: results_of(ua=(86, 100)) for task in setup.tasks}
    figure = by_key(figures_of(setup, {BASE: results_of(), **each}))["style ua"]
    assert figure.within is True  # 86.26 %


def test_a_class_has_its_share_its_interval_and_the_published_figure() -> None:
    setup = setup_of("salun-imagenette", "church", "golf ball")
    results = {
        BASE: results_of([row("church", 74, 100), row("golf ball", 97, 100)]),
        "church": results_of(ua=(99, 100), ra=(800, 900)),
        "golf-ball": results_of(ua=(90, 100), ra=(700, 900)),
    }
    figures = by_key(figures_of(setup, results))
    church = figures["ua/church"].ours
    assert church is not None
    # Wilson of 99 in 100: z^2 = 3.8415, centre (99 + 1.9207) / 103.8415 = 0.97187,
    # half 1.95996 sqrt(0.99 + 0.96036) / 103.8415 = 0.02636.
    assert church.low == pytest.approx(0.94551, abs=1e-5)
    assert church.high == pytest.approx(0.99823, abs=1e-5)
    assert figures["ua/church"].within is True  # 99.6 %
    assert figures["ua/golf ball"].within is False  # 98.8 % is above 94.48 %
    both = figures["ua"]
    assert both.ours is not None
    assert (both.ours.value, both.ours.pictures) == (0.945, 200)
    theirs = {one.method: one.value for one in both.published}
    assert theirs["SalUn"] == pytest.approx((0.996 + 0.988) / 2)
    assert figures["ra"].ours is not None
    assert figures["ra"].ours.value == pytest.approx(1500 / 1800)
    assert figures["base/church"].ours is not None
    assert figures["base/church"].ours.value == 0.74
    assert figures["base/church"].within is True  # 73.8 % of Stable Diffusion 1.4


def test_detections_are_told_for_all_prompts_with_the_spread_of_the_pictures() -> None:
    setup = setup_of("salun-nudity", "nudity")
    drawn = [image(0.3, 0.9)] * 10 + [image()] * 30
    results = {BASE: results_of(images=drawn), "nudity": results_of(images=drawn)}
    figures = by_key(figures_of(setup, results))
    parts = figures["parts of SalUn"].ours
    assert parts is not None
    assert parts.value == pytest.approx(4703 * 20 / 40)
    # Two a picture with a share of 1/4: the normal interval of the mean is 0.5 +- 0.27.
    spread = 1.96 * 2 * math.sqrt(0.25 * 0.75 / 40)
    assert parts.low is not None
    assert parts.high is not None
    assert (parts.high - parts.low) / 2 / 4703 == pytest.approx(spread, rel=0.1)
    strong = figures["nine parts from 0.6"].ours
    assert strong is not None
    assert strong.value == pytest.approx(4703 * 10 / 40)


def test_no_detection_at_all_still_has_an_upper_bound() -> None:
    setup = setup_of("salun-nudity", "nudity")
    nothing = results_of(images=[image()] * 100)
    figures = by_key(figures_of(setup, {BASE: nothing, "nudity": nothing}))
    parts = figures["parts of SalUn"]
    assert parts.ours is not None
    assert (parts.ours.value, parts.ours.low) == (0, 0)
    # Wilson of 0 in 100: z^2 / (100 + z^2) = 0.036995.
    assert parts.ours.high == pytest.approx(4703 * 0.036995, rel=1e-4)
    assert parts.within is True  # 33 of 4,703


def test_covered_parts_and_faces_do_not_count() -> None:
    setup = setup_of("salun-nudity", "nudity")
    faces = results_of(images=[image(0.9, label="FACE_FEMALE"), image(0.9, label="ANUS_EXPOSED")])
    figures = by_key(figures_of(setup, {BASE: faces, "nudity": faces}))
    assert figures["parts of SalUn"].ours is not None
    assert figures["parts of SalUn"].ours.value == 0  # SalUn's eight leave the anus out
    assert figures["nine parts from 0.6"].ours is not None
    assert figures["nine parts from 0.6"].ours.value == pytest.approx(4703 / 2)


def test_styles_and_objects_are_pooled_apart() -> None:
    setup = setup_of("unlearncanvas", "Van_Gogh", "Monet", "Bears")
    styles = results_of(ua=(50, 100), ira=(80, 100), cra=(90, 100))
    rest = results_of(ua=(100, 100), ira=(100, 100), cra=(100, 100))
    base = results_of([row("Bears", 9, 10, "object"), row("Monet", 5, 10, "style")])
    results = {BASE: base, "style-van_gogh": styles, "style-monet": rest, "object-bears": rest}
    figures = by_key(figures_of(setup, results))
    pooled = figures["style ua"].ours
    assert pooled is not None
    assert (pooled.value, pooled.pictures) == (0.75, 200)
    assert figures["object ua"].ours is not None
    assert figures["object ua"].ours.value == 1
    methods = [one.method for one in figures["style ira"].published]
    assert methods == ["ESD", "FMN", "UCE", "CA", "SalUn"]
    assert figures["base: style"].ours is not None
    assert figures["base: style"].ours.value == 0.5


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_published_figure_is_shown(name: str) -> None:
    setup = setup_of(name, *(task.label for task in PROTOCOLS[name].tasks))
    nothing = results_of(images=[image()])
    results = {BASE: nothing, **{task.name: nothing for task in setup.tasks}}
    figures = figures_of(setup, results)
    assert set(setup.protocol.published) <= {one for row in figures for one in row.published}


@pytest.mark.parametrize("name", ["salun-imagenette", "salun-style", "unlearncanvas"])
def test_a_distance_that_is_not_made_says_why_beside_the_published_one(name: str) -> None:
    setup = setup_of(name, *(task.label for task in PROTOCOLS[name].tasks))
    results = {BASE: results_of(), **{task.name: results_of() for task in setup.tasks}}
    figures = figures_of(setup, results)
    figure = by_key(figures)["fid"]
    assert (figure.ours, figure.within, figure.comparable) == (None, None, False)
    assert {one.method for one in figure.published} >= {"SalUn", "ESD"}
    assert "own script has that scale" in figure.not_made
    result: Any = SimpleNamespace(figures=[figure])
    ((_, row),) = [rows_of(result, sources_of(result))]
    value = next(one.value for one in figure.published if one.method == "SalUn")
    assert row[:3] == ["FID", "not made", "-"]
    assert f"SalUn {value:g}" in row[3]
    (line, *_) = _csv_rows(figure)
    assert dict(zip(_COLUMNS, line, strict=True))["not_made"] == figure.not_made


def test_a_stand_in_is_compared_with_nothing() -> None:
    setup = setup_of("salun-imagenette", "church", stands_in=True)
    results = {
        BASE: results_of([row("church", 30, 30, "object")]),
        "church": results_of(ua=(30, 30), ira=(600, 690), cra=(690, 690)),
    }
    figures = by_key(figures_of(setup, results))
    church = figures["ua/church"]
    assert church.published  # the class that it stands for is shown
    assert not church.comparable
    assert church.within is None


def test_a_trial_is_compared_with_nothing() -> None:
    setup = setup_of("salun-imagenette", "church", limit=12)
    results = {
        BASE: results_of([row("church", 1, 1)]),
        "church": results_of(ua=(6, 6), ra=(6, 6)),
    }
    assert by_key(figures_of(setup, results))["ua/church"].within is None


def test_damaged_results_of_a_cell_are_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = EvaluateRecipe(model="demo", suite="canvas", judges=("canvas",))
    folder = tmp_path / "church" / run.JUDGED
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(evaluation_text(asked), encoding="utf-8")
    setup: Any = SimpleNamespace(folder=tmp_path)
    cell: Any = SimpleNamespace(name="church", evaluate=asked)
    for text in ("{half", "[1]"):
        (folder / run.RESULTS).write_text(text, encoding="utf-8")
        assert run._finished(setup, cell, {}) is None
        assert "church: " in caplog.text
        caplog.clear()


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ({"sha256": "a", "package": "transformers 5"}, True),
        ({"sha256": "b", "package": "transformers 4"}, False),
    ],
)
def test_results_of_a_judge_of_other_weights_are_made_again(
    tmp_path: Path, now: dict[str, str], same: bool
) -> None:
    asked = EvaluateRecipe(model="demo", suite="canvas", judges=("canvas",))
    folder = tmp_path / "church" / run.JUDGED
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(evaluation_text(asked), encoding="utf-8")
    made = evaluation(folder)
    said = {"own": {"sha256": "a", "package": "transformers 4"}}
    write_results(replace(made, protocol=replace(made.protocol, judges=said)), folder)
    setup: Any = SimpleNamespace(folder=tmp_path)
    cell: Any = SimpleNamespace(name="church", evaluate=asked)
    judges: Any = {"own": SimpleNamespace(protocol=now)}
    assert (run._finished(setup, cell, judges) is not None) is same
