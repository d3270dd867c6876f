"""Runs side by side: what belongs together, what cannot be compared, and every number again."""

import csv
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support.console import erasure
from support.results.compared import attack, audit_of, copied, evaluate, record_of
from support.results.evaluated import CHURCH, DOG, PROTOCOL, evaluation, image, rate, seen

from erasure.masks.mask_file import load_mask
from eval.errors import EvalError
from pipelines.audit.outcome.results import AttackRecord
from pipelines.comparison.attacks import attack_groups
from pipelines.comparison.blocks import blocks_of
from pipelines.comparison.comparing import Comparison, compare_runs, details_of
from pipelines.comparison.heat import ANOTHER, MOST, heat_maps
from pipelines.comparison.page.page import write_comparison
from pipelines.comparison.run_facts import base_of, run_of
from pipelines.comparison.side_by_side import side_by_side
from pipelines.evaluation.report.report_format import signed


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path) -> Path:
    """Two runs of the same weights: `one` with its evaluation and its audit, `two` with neither."""
    folder = tmp_path / "out"
    one = copied(tiny_run, folder / "one")
    copied(tiny_run, folder / "two")
    evaluate(one, folder / "one.evaluation")
    attack(one, folder / "one" / "audit")
    return folder


@pytest.mark.slow
def test_a_run_brings_its_evaluation_and_its_audit_along(runs: Path) -> None:
    one, two = compare_runs([runs / "one", runs / "two"]).table.rows
    edit = record_of(runs / "one")
    assert (one.name, one.method, one.moved, one.total) == (
        "one",
        edit["config"]["method"],
        edit["moved"],
        edit["total"],
    )
    assert one.cells["ua"].after == 0.5
    assert (one.attacked, one.weakest, one.revived) == (True, "words", ("words",))
    assert (two.evaluated, two.attacked, dict(two.cells)) == (False, False, {})
    assert "has no evaluation" in two.notes[0]


def test_of_several_audits_of_a_run_the_first_is_taken_and_the_others_are_named(
    runs: Path,
) -> None:
    for concept in ("dog", "sketch"):
        attack(runs / "two", runs / "two.audits" / concept, concept=concept, hits=0)
    two = compare_runs([runs / "one", runs / "two"]).table.rows[1]
    assert (two.attacked, two.revived) == (True, ())
    assert "its attacks are those on dog alone; audits of sketch lie beside it" in two.notes


def test_an_evaluation_finds_its_run_by_its_name_or_by_its_recipe(
    runs: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    evaluate(runs / "one", elsewhere)
    recipe = f'model = "{runs / "one"}"\nsuite = "csv"\n'
    (elsewhere / "recipe.toml").write_text(recipe, encoding="utf-8")
    by_name, by_recipe = compare_runs([runs / "one.evaluation", elsewhere]).rows
    assert by_name.run == by_recipe.run == run_of(runs / "one")
    assert by_recipe.audit == by_name.audit is not None


def test_parts_of_one_run_that_lie_apart_make_one_row(runs: Path, tmp_path: Path) -> None:
    evaluate(runs / "two", tmp_path / "figures")
    attack(runs / "two", tmp_path / "attacks", hits=0)
    other = copied(runs / "one", tmp_path / "other")
    record = json.loads((other / "erasure.json").read_text(encoding="utf-8"))
    record["edits"][-1]["result_hash"] = "f" * 64
    (other / "erasure.json").write_text(json.dumps(record), encoding="utf-8")
    paths = [runs / "two", tmp_path / "figures", tmp_path / "attacks", other]
    made = compare_runs(paths).table.rows
    assert [row.name for row in made] == ["figures", "other"]
    assert (made[0].moved, made[0].weakest) == (record["edits"][-1]["moved"], None)
    assert made[0].access == "none revived it"


def test_an_evaluation_of_other_weights_is_not_taken_for_the_runs_own(runs: Path) -> None:
    models = evaluation(runs / "x").models
    evaluate(runs / "two", runs / "two.evaluation", models=models)
    row = compare_runs([runs / "one", runs / "two"]).table.rows[1]
    assert not row.evaluated
    assert row.notes[0] == "the evaluation two.evaluation is of other weights"


def test_an_audit_without_the_guard_says_nothing_of_the_guarded_model(runs: Path) -> None:
    models = compare_runs([runs / "one", runs / "two"]).rows[0].evaluation
    assert models is not None
    plain = models.results.models
    guarded = replace(plain, after=replace(plain.after, guard="prompt-filter"))
    evaluate(runs / "one", runs / "guarded", models=guarded)
    attack(runs / "one", runs / "attacks")
    recipe = f'model = "{runs / "one"}"\n'
    (runs / "guarded" / "recipe.toml").write_text(recipe, encoding="utf-8")
    rows = compare_runs([runs / "one.evaluation", runs / "guarded", runs / "attacks"]).table.rows
    assert [row.attacked for row in rows] == [True, False]
    assert [row.moved for row in rows] == [record_of(runs / "one")["moved"]] * 2


def test_what_lies_damaged_beside_a_run_is_named_and_stops_nothing(runs: Path) -> None:
    for file in ("one.evaluation/results.json", "one/audit/audit.json"):
        (runs / file).write_text("{", encoding="utf-8")
    (row, _) = compare_runs([runs / "one", runs / "two"]).table.rows
    assert row.notes[:2] == (
        "the evaluation one.evaluation is damaged; evaluate again into it",
        "the audit audit is damaged; audit again into it",
    )
    evaluate(runs / "two", runs / "two.evaluation")
    (runs / "two" / "erasure.json").write_text("{", encoding="utf-8")
    evaluate(runs / "one", runs / "figures")
    (row, _) = compare_runs([runs / "two.evaluation", runs / "figures"]).table.rows
    assert row.evaluated
    assert row.notes == ("the record of the run two is damaged; `erasure verify` says how",)


def test_a_record_of_endless_time_and_a_recipe_of_endless_depth_say_nothing(runs: Path) -> None:
    file = runs / "one" / "erasure.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["seconds"] = {"train": 10**400}
    file.write_text(json.dumps(record), encoding="utf-8")
    (runs / "one" / "recipe.toml").write_text(f"model = {'[' * 5000}", encoding="utf-8")
    run = run_of(runs / "one")
    assert run is not None
    assert run.seconds is None
    assert base_of(run.folder) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": replace(PROTOCOL, seeds="5-6")}, "seeds is '0-1' in the first and '5-6'"),
        ({"protocol": replace(PROTOCOL, judges={})}, "judges.canvas.weights is"),
    ],
)
def test_other_seeds_and_judges_are_refused_by_name(
    runs: Path, change: dict[str, object], words: str
) -> None:
    evaluate(runs / "two", runs / "two" / "evaluation", **change)
    with pytest.raises(EvalError, match="cannot be compared") as said:
        compare_runs([runs / "one", runs / "two"])
    assert words in str(said.value)


def test_other_bases_are_named_with_the_runs_that_are_held_against_them(runs: Path) -> None:
    one = compare_runs([runs / "one", runs / "two"]).rows[0].evaluation
    assert one is not None
    assert one.results.models.before is not None
    other = replace(one.results.models.before, name="other", hash="e" * 64)
    models = replace(one.results.models, before=other)
    evaluate(runs / "two", runs / "two" / "evaluation", models=models)
    (note,) = compare_runs([runs / "one", runs / "two"]).table.notes
    assert "cannot be compared" in note
    assert "two against other (eeeeeeee)" in note


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "there is no"),
        (lambda folder: folder.mkdir(), "holds neither results.json nor audit.json"),
        (
            lambda folder: (folder.mkdir(), (folder / "recipe.toml").write_text("")),
            "is not finished; go on with it by --resume",
        ),
    ],
)
def test_what_is_no_run_is_refused_in_one_sentence(runs: Path, make: object, words: str) -> None:
    assert callable(make)
    make(runs / "x")
    said = erasure("evaluate", "--compare", runs / "one", runs / "x", "--out", runs / "compared")
    assert said.code == 2
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (runs / "compared").exists()


def test_one_run_given_twice_is_nothing_to_compare(runs: Path) -> None:
    with pytest.raises(EvalError, match="two or more"):
        compare_runs([runs / "one", runs / "one.evaluation"])


def test_the_maps_count_what_the_judge_saw_first(runs: Path) -> None:
    comparison = compare_runs([runs / "one", runs / "two"])
    (maps,) = heat_maps(comparison.rows)
    values = json.loads((runs / "one.evaluation" / "results.json").read_text(encoding="utf-8"))
    for map_, side in zip(maps.maps, ("before", "after"), strict=True):
        wanted: Counter[tuple[str, str]] = Counter()
        for case in values["images"]:
            guess = case[side]["judgements"]["canvas"]["guesses"]["object"][0]["label"]
            wanted[case["labels"]["object"], guess] += 1
        for row, asked in enumerate(maps.asked):
            own = dict(zip(maps.seen, map_.counts[row], strict=True))
            assert sum(own.values()) == map_.totals[row]
            for name in maps.asked:
                assert own[name] == wanted[asked, name]
            others = sum(n for (a, g), n in wanted.items() if a == asked and g not in maps.asked)
            assert own[ANOTHER] == others
    assert maps.maps[0].base
    assert [maps.asked[n] for n, is_changed in enumerate(maps.changed) if is_changed] == [
        "church",
        "dog",
    ]
    assert maps.erased == {"church"}


def test_a_map_without_room_keeps_what_was_erased_and_what_changed(runs: Path) -> None:
    folder = runs / "one.evaluation"
    names = [f"thing {n}" for n in range(MOST + 9)]
    cases = [image(folder, f"c{n}", name, name) for n, name in enumerate(names)]
    cases.append(image(folder, "lost", "thing 56", "thing 56", after=seen("thing 0")))
    cases.append(image(folder, "church", CHURCH, "church"))
    classes = (rate("church", 1, erased=True),)
    evaluate(runs / "one", folder, images=tuple(cases), classes=classes)
    (maps,) = heat_maps(compare_runs([runs / "one", runs / "two"]).rows)
    assert len(maps.asked) == MOST
    assert {"church", "thing 56"} <= set(maps.asked)
    assert maps.left_out == len(names) + 1 - MOST


def test_blocks_add_up_to_the_record_and_to_a_slow_count(runs: Path, tiny_folder: Path) -> None:
    run = run_of(runs / "one")
    assert run is not None
    blocks = blocks_of(run)
    assert (blocks.selected, blocks.moved) == (run.last.selected, run.last.moved)
    assert blocks.notes == ()
    file = "unet/diffusion_pytorch_model.safetensors"
    before, after = load_file(tiny_folder / file), load_file(runs / "one" / "model" / file)
    mask = load_mask(runs / "one" / "mask.safetensors").entries
    middle = [name for name in before if name.startswith("mid_block.")]
    row = next(row for row in blocks.rows if row.name == "mid")
    assert row.total == sum(before[name].numel() for name in middle)
    assert row.moved == sum(
        sum(a != b for a, b in zip(before[n].flatten(), after[n].flatten(), strict=True))
        for n in middle
    )
    assert row.selected == sum(int(mask[n].sum()) for n in middle if n in mask)


def test_what_cannot_be_counted_by_block_is_said(runs: Path) -> None:
    recipe = runs / "one" / "recipe.toml"
    lines = recipe.read_text(encoding="utf-8").splitlines()
    moved = ['model = "/nowhere/base"' if n.startswith("model =") else n for n in lines]
    recipe.write_text("\n".join(moved), encoding="utf-8")
    (runs / "one" / "mask.safetensors").unlink()
    run, other = run_of(runs / "one"), run_of(runs / "two")
    assert run is not None
    assert other is not None
    missing, mask = blocks_of(run).notes
    assert missing == "it has no file of a mask"
    assert mask == "the base base is not on this machine, so what moved is not counted by block"
    shutil.rmtree(runs / "two" / "model" / "unet")
    (note,) = blocks_of(other).notes
    assert note == "what moved is not counted by block: a model cannot be read"
    assert blocks_of(other).moved is None
    assert blocks_of(other).selected == other.last.selected


def test_audits_of_two_concepts_stand_apart_and_say_why(runs: Path) -> None:
    attack(runs / "two", runs / "two" / "audit", concept="dog", hits=0)
    one, two = attack_groups(compare_runs([runs / "one", runs / "two"]).rows)
    assert (one.concept, one.names, one.differs) == ("church", ("one",), ())
    assert (two.names, two.differs) == (("two",), ("concept is dog here and church above",))


def test_audits_of_one_protocol_share_a_chart_with_the_base(runs: Path) -> None:
    attack(runs / "two", runs / "two" / "audit", hits=0, protocol={
        "draws": 96, "seed": 0, "batch_size": 1,
    })  # fmt: skip
    (group,) = attack_groups(compare_runs([runs / "one", runs / "two"]).rows)
    (panel,) = group.panels
    assert panel.chart is not None
    paths = {curve.line: curve.path for curve in panel.chart.curves}
    assert paths == {
        "demo (base)": "M0.00 75.00L100.00 75.00L100.00 25.00L100.00 25.00",
        "one": "M0.00 75.00L100.00 75.00L100.00 25.00L100.00 25.00",
        "two": "M0.00 100.00L100.00 100.00L100.00 100.00L100.00 100.00",
    }
    assert [fate.state for fate in panel.fates] == ["revived", "not revived within this budget"]


def test_audits_whose_attacks_were_set_otherwise_stand_apart(runs: Path) -> None:
    def words(seeds: int) -> AttackRecord:
        return replace(audit_of(runs / "two").attacks[0], settings={"seeds": seeds})

    eta = replace(words(1), name="eta")
    attack(runs / "one", runs / "one" / "audit", attacks=(words(8),))
    attack(runs / "two", runs / "two" / "audit", attacks=(words(8), eta))
    (group,) = attack_groups(compare_runs([runs / "one", runs / "two"]).rows)
    assert [panel.attack for panel in group.panels] == ["words", "eta"]
    attack(runs / "two", runs / "two" / "audit", attacks=(words(2),))
    _, other = attack_groups(compare_runs([runs / "one", runs / "two"]).rows)
    assert other.differs == ("setting words.seeds is 2 here and 8 above",)


def test_a_curve_that_no_audit_can_have_is_not_drawn(runs: Path) -> None:
    file = runs / "one" / "audit" / "audit.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    for line in values["attacks"][0]["lines"].values():
        line["curve"][0]["draws"] = 0
    file.write_text(json.dumps(values), encoding="utf-8")
    (group,) = attack_groups(compare_runs([runs / "one", runs / "two"]).rows)
    assert group.panels[0].chart is None


def test_pictures_stand_side_by_side_on_the_least_seed_erased_ones_first(runs: Path) -> None:
    shown = side_by_side(compare_runs([runs / "one", runs / "two"]).rows)
    assert shown is not None
    assert shown.columns == ("model (before)", "one")
    assert {line.seed for line in shown.lines} == {0}
    assert [line.prompt for line in shown.lines][:2] == [CHURCH, DOG]
    assert [line.erased for line in shown.lines][:2] == [True, False]
    before, after = shown.lines[0].pictures
    assert before is not None
    assert after is not None
    assert before.picture.uri != after.picture.uri
    assert after.words == ("castle 0.90",)


def test_a_picture_outside_of_its_evaluation_is_not_shown(runs: Path) -> None:
    file = runs / "one.evaluation" / "results.json"
    text = file.read_text(encoding="utf-8").replace("images/after/0-0.png", "../../secret.png")
    file.write_text(text, encoding="utf-8")
    shown = side_by_side(compare_runs([runs / "one", runs / "two"]).rows)
    assert shown is not None
    after = shown.lines[0].pictures[1]
    assert after is not None
    assert "lies outside" in after.picture.missing


def test_csv_and_json_hold_the_same_numbers_as_the_results(runs: Path) -> None:
    comparison: Comparison = compare_runs([runs / "one", runs / "two"])
    write_comparison(comparison, runs / "compared")
    with (runs / "compared" / "compare.csv").open(encoding="utf-8", newline="") as file:
        one, two = list(csv.DictReader(file))
    results = json.loads((runs / "one.evaluation" / "results.json").read_text(encoding="utf-8"))
    ua = results["summary"]
    assert (float(one["ua"]), float(one["ua.before"])) == (ua["ua"], ua["before"]["ua"])
    assert [float(one["ua.low"]), float(one["ua.high"])] == ua["intervals"]["ua"]
    assert float(one["ua.change"]) == ua["difference"]["ua"]["value"]
    for end in ("low", "high"):
        assert float(one[f"ua.change.{end}"]) == ua["difference"]["ua"][end]
    page = (runs / "compared" / "compare.html").read_text(encoding="utf-8")
    low, high = (signed(ua["difference"]["ua"][end]) for end in ("low", "high"))
    assert f" points</small><small>{low} to {high}</small>" in page
    assert int(one["moved"]) == record_of(runs / "one")["moved"]
    assert (two["ua"], two["access"]) == ("", "not attacked")
    values = json.loads((runs / "compared" / "compare.json").read_text(encoding="utf-8"))
    assert values["rows"][0]["cells"]["ua"]["after"] == ua["ua"]
    assert values["format"] == "diffusion-erasure comparison 1"


def test_the_command_writes_a_page_once_and_prints_the_table(runs: Path) -> None:
    line = ("evaluate", "--compare", runs / "one", runs / "two", "--out", runs / "compared")
    said = erasure(*line)
    assert said.code == 0, said.err
    assert (runs / "compared" / "compare.html").is_file()
    again = erasure(*line)
    assert again.code == 2
    assert "--force to replace it" in again.err
    values = json.loads(erasure(*line, "--force", "--json").out)
    assert [row["name"] for row in values["rows"]] == ["one", "two"]
    assert values["page"].endswith("compare.html")
    lone = erasure("evaluate", runs / "one", runs / "two", "--out", runs / "x")
    assert lone.code == 2
    assert "one model is evaluated at a time" in lone.err


def test_only_runs_that_were_evaluated_are_said_to_have_been_judged_alike(runs: Path) -> None:
    copied(runs / "two", runs / "three")
    for names, judged in ((("one", "two"), True), (("two",), False)):
        comparison = compare_runs([runs / name for name in (*names, "three")])
        page = write_comparison(comparison, runs / names[0] / "page").read_text(encoding="utf-8")
        assert ("were judged alike" in page) is judged


def test_nothing_of_a_comparison_says_where_on_this_machine_the_runs_lie(runs: Path) -> None:
    comparison = compare_runs([runs / "one", runs / "two"])
    page = write_comparison(comparison, runs / "compared").read_text(encoding="utf-8")
    assert str(runs.parent) not in page
    assert str(runs.parent) not in (runs / "compared" / "compare.json").read_text(encoding="utf-8")
    assert details_of(comparison).blocks[0][0] == "one"


def test_the_committed_example_is_small_asks_nothing_and_agrees_with_its_text() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "compare.html").read_text(encoding="utf-8")
    assert len(page) < 1_500_000
    assert not re.search(r"""(?:src|href|action)=["']?https?:|url\(["']?https?:""", page)
    text = (docs / "comparison.md").read_text(encoding="utf-8")
    with (docs / "compare.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        objects, styles = (round(56 * float(row[name])) for name in ("ira", "cra"))
        gone = 12 - round(12 * float(row["ua"]))
        line = next(n for n in text.splitlines() if n.endswith(f"| {int(row['moved']):,} |"))
        assert line.startswith(f"| {row['erased']} |")
        assert f"12 of 12 -> {gone} " in line
        assert f"56 of 56 -> {objects} | 54 of 56 -> {styles} |" in line
        assert f"| {round(12 * float(row['ua.rejected']))} of 12 |" in line
        assert row["name"] in page
    assert len(rows) == 3
