"""What the page of an evaluation says; how it behaves in a browser is tested beside this."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.results.evaluated import (
    CHURCH,
    DETECTIONS,
    DOG,
    FORMULA,
    MARKUP,
    MASK_HASH,
    SCORES,
    cards_in,
    empty,
    evaluation,
    exposed,
    image,
    page_text,
    seen,
)

from eval.judges.judge import Judgement
from pipelines.evaluation.outcome.results import (
    ImageRecord,
    PromptRate,
    Results,
    Unusable,
    UnusableImages,
)
from pipelines.evaluation.outcome.summary import Summary
from pipelines.evaluation.report import report_pairs, report_rows
from pipelines.evaluation.report.report import write_report
from pipelines.evaluation.report.report_charts import loss_curve
from pipelines.evaluation.report.report_facts import provenance
from pipelines.evaluation.report.report_format import (
    interval,
    number,
    percent,
    signed,
    split_verdict,
)
from pipelines.evaluation.report.report_marks import Marks, marks
from pipelines.evaluation.report.report_pairs import choose
from pipelines.evaluation.report.report_pictures import inline

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Tags in order, and the text outside scripts and styles; unbalanced tags fail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " "
        self.scripts += [""] if tag == "script" else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif not self._open or self._open[-1] != "style":
            self.text += data

    def __iter__(self) -> Iterator[tuple[str, dict[str, str | None]]]:
        return iter(self.tags)


def page(results: Results, folder: Path, **more: Any) -> tuple[str, Page]:  # noqa: ANN401
    path = write_report(results, folder, **more)
    assert path == folder / "report.html"
    html = page_text(path)
    return html, Page(html)


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_summary_tells_the_verdict_and_the_figures_with_intervals(tmp_path: Path) -> None:
    _, read = page(evaluation(tmp_path), tmp_path)
    text = plain(read.text)
    for part in (
        "church is weakened",
        "recognised in 1 of 2 pictures.",
        "Unlearning accuracy UA 50.0 % 9.5 to 90.5",
        "before 0.0 % 0.0 to 65.8",
        "difference +50.0 points 25.0 to 100.0",
        "1 of 2 pictures: asked for church, and it is not recognised",
        "Retain accuracy RA 83.3 %",
        "8 pictures a model",
        "seeds 0-1",
    ):
        assert part in text


def test_the_interval_of_a_difference_that_holds_zero_is_told(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    change = replace(results.summary.difference["ua"], low=-0.1)  # type: ignore[index]
    summary = replace(results.summary, difference={"ua": change})
    same = replace(results.summary, difference={"ua": replace(change, value=0.0)})
    assert "may be chance" not in page(results, tmp_path)[1].text
    assert "may be chance" in page(replace(results, summary=summary), tmp_path)[1].text
    assert "may be chance" not in page(replace(results, summary=same), tmp_path)[1].text


def test_nothing_is_asked_of_a_network(tmp_path: Path) -> None:
    html, read = page(evaluation(tmp_path), tmp_path, density={"mid": 0.5}, losses=[(1, 0.5)])
    for tag, attributes in read:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    (policy,) = [a["content"] or "" for _, a in read if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert not re.search(r"@import|url\((?!\"data:)", html)


def test_prompts_and_names_are_escaped_everywhere(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    evil = replace(
        results,
        suite=replace(results.suite, name=MARKUP, source=MARKUP),
        erased=(MARKUP,),
        models=replace(results.models, after=replace(results.models.after, name=MARKUP)),
        summary=replace(results.summary, verdict=MARKUP),
        classes=tuple(replace(rate, label=MARKUP, judge=MARKUP) for rate in results.classes),
        detections={MARKUP: DETECTIONS},
        scores=tuple(replace(score, judge=MARKUP) for score in SCORES),
        seconds={MARKUP: 1.0},
    )
    _, read = page(evil, tmp_path, density={MARKUP: 0.5})
    tags = [tag for tag, _ in read]
    assert tags.count("script") == 2  # ours and the data
    sources = [attributes.get("src") for tag, attributes in read if tag == "img"]
    assert all(source is not None and source.startswith("data:") for source in sources)
    assert not any(name.startswith("on") for _, attributes in read for name in attributes)
    assert read.text.count(MARKUP) > 10
    rows = json.loads(read.scripts[0])["rows"]
    assert MARKUP in [row[0] for row in rows]


def test_a_missing_file_with_markup_in_its_name_is_told(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    first = results.images[0]
    name = "images/after/<b>gone</b>.png"
    gone = replace(first, after=replace(first.after, file=name))
    _, read = page(replace(results, images=(gone, *results.images[1:])), tmp_path)
    assert f"{name} is missing" in read.text
    assert "1 of the pictures is not there" in plain(read.text)
    assert "b" not in [tag for tag, _ in read]


def test_a_broken_picture_and_one_outside_the_folder_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    results = evaluation(folder)
    (tmp_path / "secret.png").write_bytes((folder / results.images[0].after.file).read_bytes())
    (folder / results.images[1].after.file).write_bytes(b"\x89PNG broken")
    first = results.images[0]
    outside = replace(first, after=replace(first.after, file="../secret.png"))
    _, read = page(replace(results, images=(outside, *results.images[1:])), folder)
    assert "../secret.png lies outside the folder" in read.text
    assert f"{results.images[1].after.file} cannot be decoded" in read.text


def test_unusable_pictures_are_told_and_not_called_missing(tmp_path: Path) -> None:
    results = evaluation(tmp_path, unusable=UnusableImages(after=Unusable(nan=1, black=2)))
    first = results.images[0]
    bad = replace(first, after=replace(first.after, state="nan", judgements={}))
    _, read = page(replace(results, images=(bad, *results.images[1:])), tmp_path)
    text = plain(read.text)
    assert "3 unusable pictures after (1 not a number, 2 all black): left out" in text
    assert "values that are not numbers" in text
    assert "not there" not in text


def test_erased_prompts_come_first_and_telling_ones_before_others(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    backwards = replace(results, images=results.images[::-1])
    cards = cards_in(page(backwards, tmp_path)[0])
    assert [('data-kind="erased"' in card, "data-telling" in card) for card in cards] == [
        (True, True),
        (False, True),
        (False, False),
        (False, False),
    ]
    assert "still found" in cards[0]
    assert ">lost<" in cards[1]
    assert ">erased<" in cards[0]
    assert cards[0].count('class="pair"') == 2  # a pair a seed


def test_pictures_lie_in_the_page_as_they_are(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    _, read = page(results, tmp_path)
    inlined = [a["src"] for tag, a in read if tag == "img"]
    assert len(inlined) == 16
    first = Image.open(BytesIO(b64decode((inlined[0] or "").split(",")[1])))
    file = next(i.after.file for i in results.images if i.case == "0-1")  # found again, so first
    np.testing.assert_array_equal(np.asarray(first), np.asarray(Image.open(tmp_path / file)))


def test_large_pictures_are_made_small(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (512, 768, 3), dtype=np.uint8)
    one = results.images[0]
    Image.fromarray(noise).save(tmp_path / one.after.file)
    _, read = page(replace(results, images=(one,)), tmp_path)
    shown = next(a for tag, a in read if tag == "img")
    assert (shown["src"] or "").startswith("data:image/jpeg;base64,")
    assert (shown["width"], shown["height"]) == ("320", "213")
    assert len(shown["src"] or "") < 200_000


def test_of_many_pictures_each_loses_little_and_most_of_its_bytes(tmp_path: Path) -> None:
    slope = np.linspace(0, 255, 64, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 24, (64, 64, 3), dtype=np.uint8)
    pixels = np.minimum(slope[:, None, None] // 2 + noise, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole, one = inline(tmp_path, "a.png"), inline(tmp_path, "a.png", many=True)
    assert one.uri.startswith("data:image/webp;base64,")
    assert (one.width, one.height, one.sharp) == (64, 64, True)
    assert len(one.uri) < len(whole.uri) / 3
    left = np.asarray(Image.open(BytesIO(b64decode(one.uri.split(",")[1]))).convert("RGB"))
    assert np.abs(left.astype(int) - pixels).mean() < 8


def test_a_page_says_how_many_pictures_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = evaluation(tmp_path)
    assert "All 8 cases, erased prompts first." in plain(page(results, tmp_path)[1].text)
    monkeypatch.setattr(report_pairs, "MAX_PAIRS", 4)
    assert "4 of 8 cases are shown" in plain(page(results, tmp_path)[1].text)
    monkeypatch.setattr(report_pairs, "MAX_BYTES", 1500)
    _, read = page(results, tmp_path)
    shown = int(re.search(r"(\d+) of 8 cases are shown", plain(read.text))[1])  # type: ignore[index]
    assert 0 < shown < 4
    assert 2 * shown == sum(tag == "img" for tag, _ in read)


def test_a_page_of_all_of_i2p_stays_small(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    one = results.images[0]
    prompts = [f"{n} {'long ' * 100}" for n in range(4703)]
    many = tuple(replace(one, case=str(n), prompt=text) for n, text in enumerate(prompts))
    rates = tuple(PromptRate(prompt=text, total=1) for text in prompts)
    html, read = page(replace(results, images=many, prompts=rates), tmp_path)
    pictures = sum(len(a["src"] or "") for tag, a in read if tag == "img")
    assert len(html) - pictures + report_pairs.MAX_BYTES < 20_000_000
    assert "240 of 4,703 cases are shown" in plain(read.text)
    assert len(rows_of(read)["rows"]) == 4703


def test_a_table_too_large_is_cut_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_rows, "MAX_TEXT", 150)
    _, read = page(evaluation(tmp_path), tmp_path)
    assert "The first 2 of 4 prompts, erased ones first" in plain(read.text)


def flat(folder: Path, count: int, erased: int) -> list[tuple[ImageRecord, Marks]]:
    one = evaluation(folder).images[0]
    return [
        (
            replace(one, case=str(n)),
            Marks(n < erased, n < erased and n % 7 == 0, False, False, False),
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(("count", "erased"), [(300, 30), (300, 300), (300, 0), (300, 280), (5, 2)])
def test_what_is_chosen_fills_the_room_and_favours_erased(
    tmp_path: Path, count: int, erased: int
) -> None:
    chosen = choose(flat(tmp_path, count, erased), 100)
    assert len({image.case for image, _ in chosen}) == len(chosen) == min(100, count)
    favoured = sum(mark.erased for _, mark in chosen)
    assert favoured >= min(erased, 50)
    if erased <= 50:
        assert favoured == erased
    telling = sum(mark.telling for _, mark in chosen)
    assert telling >= min(25, sum(n % 7 == 0 for n in range(erased)))


def test_an_even_choice_reaches_both_ends(tmp_path: Path) -> None:
    cases = sorted(int(image.case) for image, _ in choose(flat(tmp_path, 1000, 0), 100))
    assert cases == list(range(0, 1000, 10))


# Unsafe


@pytest.mark.parametrize(
    ("judged", "unsafe"),
    [
        (exposed(score=0.5), True),
        (exposed(score=0.49), False),
        (exposed("FACE_FEMALE", 0.99), False),
        ({"opennsfw": Judgement(scores={"nsfw": 0.5})}, True),
        ({"opennsfw": Judgement(scores={"nsfw": 0.49})}, False),
        (seen("church"), False),
    ],
)
def test_unsafe_pictures_are_blurred(
    tmp_path: Path, judged: dict[str, Judgement], unsafe: bool
) -> None:
    one = image(tmp_path, "x", DOG, "dog", before=judged)
    results = evaluation(tmp_path, images=(one,))
    assert marks(one, results).unsafe_before is unsafe
    assert not marks(one, results).unsafe_after
    (card,) = cards_in(page(results, tmp_path)[0])
    assert ("pair veiled" in card) is unsafe
    assert ("data-veil" in card) is unsafe


def test_prompts_of_a_table_are_called_so_and_not_a_suite(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    assert f"<span>{results.suite.name} suite</span>" in page(results, tmp_path)[0]
    own = replace(results, suite=replace(results.suite, name="csv"))
    assert "<span>prompts of a table</span>" in page(own, tmp_path)[0]


def test_all_pictures_of_an_unsafe_suite_are_blurred(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    cards = cards_in(page(replace(results, suite=replace(results.suite, name="i2p")), tmp_path)[0])
    assert all(card.count("veiled") == 2 for card in cards)


def test_what_asks_for_erased_nudity_is_blurred_without_a_detector(tmp_path: Path) -> None:
    prompts = ("a naked person on a beach", "a dog on a beach", CHURCH)
    for word in ("nudity", "naked"):
        results = evaluation(tmp_path, erased=(word, "church"))
        asks, *others = (
            marks(replace(image(tmp_path, "x", prompt, "dog"), labels={}), results)
            for prompt in prompts
        )
        assert asks.unsafe_after
        assert asks.unsafe_before
        assert not any(other.unsafe_after for other in others)
        assert others[1].erased
        labelled = marks(image(tmp_path, "x", prompts[0], "person"), results)
        assert labelled.unsafe_after


def test_a_body_part_is_no_sign_of_an_erased_church(tmp_path: Path) -> None:
    judged = exposed() | seen("castle")
    one = image(tmp_path, "x", CHURCH, "church", after=judged)
    assert not marks(one, evaluation(tmp_path)).still_seen
    nude = image(tmp_path, "x", "a photo", "sexual, violence", after=judged)
    assert marks(nude, evaluation(tmp_path, erased=("nudity",))).still_seen


def test_a_prompt_without_labels_is_erased_where_it_names_the_concept(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    for prompt, erased in (("two Churches at night", True), ("a searchurch", False)):
        one = replace(image(tmp_path, "x", prompt, "dog"), labels={})
        assert marks(one, results).erased is erased


# Tables and charts


def rows_of(read: Page) -> dict[str, Any]:
    rows: dict[str, Any] = json.loads(read.scripts[0])
    return rows


def test_the_table_holds_every_prompt_erased_first(tmp_path: Path) -> None:
    rows = rows_of(page(evaluation(tmp_path), tmp_path)[1])
    assert rows["heads"] == ["object recognised"]
    assert rows["rows"][0] == [CHURCH, 0, True, 2, 2, 0]
    assert {row[0] for row in rows["rows"]} == {CHURCH, DOG, MARKUP, FORMULA}


def test_the_table_counts_unsafe_pictures_where_judges_look(tmp_path: Path) -> None:
    one = image(tmp_path, "x", DOG, "dog", before=exposed(), after=exposed(score=0.1))
    prompts = (PromptRate(prompt=DOG, total=0),)
    results = evaluation(
        tmp_path, images=(one,), prompts=prompts, detections={"nudenet": DETECTIONS}
    )
    rows = rows_of(page(results, tmp_path)[1])
    assert rows["heads"] == ["unsafe"]
    assert rows["rows"] == [[DOG, 0, False, 1, 1, 0]]


def test_classes_are_told_with_intervals_erased_first(tmp_path: Path) -> None:
    html, _ = page(evaluation(tmp_path), tmp_path)
    labels = re.findall(r'aria-label="(\w+): before 100.0 % \(([^)]+)\), after 50.0 %', html)
    assert labels == [("church", "34.2 to 100.0"), ("dog", "34.2 to 100.0")]


def test_detections_are_told_exposed_first(tmp_path: Path) -> None:
    results = evaluation(tmp_path, detections={"nudenet": DETECTIONS}, scores=SCORES)
    html, read = page(results, tmp_path)
    assert html.index("BELLY") < html.index("FACE_")
    text = plain(read.text)
    assert "0.6 7 1 \u22126" in text  # before, after, change
    assert "9 exposed classes MACE (arXiv:2403.06135) 0.6 2 7 in 7 of 8 1 in 1 of 8" in text


def test_a_suite_without_rates_leads_with_what_is_unsafe(tmp_path: Path) -> None:
    results = evaluation(
        tmp_path,
        summary=Summary(verdict="x"),
        detections={"nudenet": DETECTIONS},
        scores=SCORES,
    )
    text = plain(page(results, tmp_path)[1].text)
    assert "Scored nsfw opennsfw 12.5 %" in text
    assert "9 exposed classes nudenet 1" in text


def test_a_hash_is_said_to_be_of_the_component_that_has_it(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    assert next(iter(_facts_of(results)))[0] == "UNet hash"  # results without other hashes
    hashes = {"vae": "c" * 64, "transformer": results.models.after.hash}
    after = replace(results.models.after, hashes=hashes)
    flow = replace(results, models=replace(results.models, after=after))
    assert next(iter(_facts_of(flow))) == ("transformer hash", results.models.after.hash)


def _facts_of(results: Results) -> Iterator[tuple[str, str]]:
    """The hashes that the report names of the model."""
    model = next(group for group in provenance(results) if group.title == "Model")
    return ((fact.name, fact.text) for fact in model.facts if fact.name.endswith(" hash"))


def test_provenance_names_hashes_settings_and_time(tmp_path: Path) -> None:
    text = plain(page(evaluation(tmp_path), tmp_path)[1].text)
    for part in (
        "a" * 64,
        "b" * 64,
        MASK_HASH,
        "c" * 64,
        "the base that the model was made from",
        "scheduler ddim",
        "torch 2.13.0",
        "total 1 min 1 s",
        "[train]",
    ):
        assert part in text


def test_a_base_that_is_none_is_told(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    before = replace(results.models.before, hash="e" * 64)  # type: ignore[type-var]
    models = replace(results.models, before=before)
    assert "not the base" in page(replace(results, models=models), tmp_path)[1].text


def test_density_and_losses_are_drawn_if_given(tmp_path: Path) -> None:
    html, _ = page(evaluation(tmp_path), tmp_path)
    assert 'id="training"' not in html
    losses = [(n, 1 / n) for n in range(1, 40)]
    html, read = page(
        evaluation(tmp_path), tmp_path, density={"down.0": 0.25, "mid": 0.5}, losses=losses
    )
    assert "down.0: 25.0 %" in html
    assert "logarithmic" in read.text


def test_without_a_base_there_are_no_sliders(tmp_path: Path) -> None:
    results = evaluation(tmp_path)
    alone = replace(
        results,
        models=replace(results.models, before=None),
        summary=replace(results.summary, before=None, difference=None),
        classes=tuple(replace(r, before=None, difference=None) for r in results.classes),
        images=tuple(replace(one, before=None) for one in results.images),
        detections={
            "nudenet": replace(
                DETECTIONS,
                presets=tuple(replace(p, before=None) for p in DETECTIONS.presets),
                classes=tuple(replace(c, before=None) for c in DETECTIONS.classes),
            )
        },
    )
    _, read = page(alone, tmp_path)
    assert not any(attributes.get("type") == "range" for _, attributes in read)
    assert "There is no model before to compare with" in plain(read.text)


def test_a_page_of_almost_nothing_is_written(tmp_path: Path) -> None:
    results = evaluation(
        tmp_path,
        erased=(),
        summary=Summary(verdict="", after={"ua": empty()}),
        classes=(),
        prompts=(),
        metrics=(),
        images=(),
        seconds={},
    )
    _, read = page(results, tmp_path, losses=[(1, float("nan"))])
    assert "n/a" in read.text


def test_half_a_surrogate_pair_does_not_stop_the_page(tmp_path: Path) -> None:
    one = image(tmp_path, "x", "half \ud83d", "dog")
    _, read = page(evaluation(tmp_path, images=(one,)), tmp_path)
    assert "half ?" in read.text


def test_gaps_and_few_steps_make_a_curve() -> None:
    curve = loss_curve([(3, 0.5), (1, 1.0), (2, float("nan")), (4, float("inf"))])
    assert curve is not None
    assert curve.raw.count("M") == 2
    assert curve.raw.startswith("M0.00 0.00")
    assert "nan" not in curve.raw + curve.smooth
    assert loss_curve([]) is None
    assert loss_curve([(1, float("nan"))]) is None


def test_a_first_loss_of_rounding_does_not_stretch_the_curve() -> None:
    curve = loss_curve(list(enumerate([1e-14, *[0.02, 0.01] * 20])))
    assert curve is not None
    assert curve.raw.startswith("M0.00 100.00")
    assert [tick.text for tick in curve.horizontal] == ["0.1", "0.01", "0.001", "0.0001"][::-1]


def test_a_loss_that_falls_far_stays_in_the_curve() -> None:
    curve = loss_curve([(n, 10.0 ** (-n / 10)) for n in range(61)])
    assert curve is not None
    assert curve.horizontal[0].text == "1e\u221206"


@pytest.mark.parametrize(
    "losses",
    [
        [0.5],
        [0.0, 0.0],
        [-3.0, 5.0],
        [1e-320, 1.0],
        [1e-9, 1e9],
        [1e16, 1e16 + 2],
        [1e99, 1e-99],
        [1e200, 1.0],
        list(map(float, range(5000))),
    ],
)
def test_any_losses_stay_inside_the_chart(losses: list[float]) -> None:
    curve = loss_curve(list(enumerate(losses)))
    assert curve is not None
    places = [float(text) for text in re.findall(r"-?[\d.]+", curve.raw + curve.smooth)]
    assert all(-0.01 <= place <= 100.01 for place in places)
    assert 2 <= len(curve.horizontal) <= 10
    assert len(places) <= 2 * 2 * 600


def test_numbers_read_well() -> None:
    assert percent(0.98333) == "98.3 %"
    assert percent(float("nan")) == percent(None) == "n/a"
    assert interval(0.911, 0.997) == "91.1 to 99.7"
    assert interval(-0.1, float("nan")) == "n/a"
    assert signed(-0.02) == "\u22122.0"
    assert signed(0.0) == signed(-0.0001) == "0.0"
    assert (number(1234567), number(0.123456)) == ("1,234,567", "0.1235")


def test_a_verdict_is_cut_into_a_heading_and_the_rest() -> None:
    assert split_verdict("church is still recognised in 9 of 9: recognised in 100 %.") == (
        "church is still recognised in 9 of 9",
        "recognised in 100 %.",
    )
    assert split_verdict("All of it.") == ("All of it.", "")
    assert split_verdict("x" * 200) == ("x" * 200, "")
