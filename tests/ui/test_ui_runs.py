"""What the page shows of runs and does with them: by any name, and never what is of another."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.results.compared import attack, copied, evaluate

from erasure.errors import ConfigError
from pipelines.ui.actions import ACTIONS
from pipelines.ui.jobs import FOLDER, Job, Jobs
from pipelines.ui.places import Places
from pipelines.ui.runs import all_runs, one_run

BUTTONS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("draw", {"prompt": "a dog", "seed": "0"}),
    ("audit", {"concept": "church"}),
    ("export", {"to": "file", "dtype": "fp16"}),
    ("export", {"to": "lora", "dtype": ""}),
    ("undo", {}),
)

CONCEPTS = ("church", "Van Gogh", "van gogh")


@pytest.fixture
def places(runs: Path, tiny_folder: Path) -> Places:
    return Places(runs, (tiny_folder.parent,))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands of the jobs that are started; none runs."""
    begun: list[tuple[str, ...]] = []

    def start(jobs: Jobs, title: str, commands: list[list[str]], run: str) -> Job:
        begun.extend(map(tuple, commands))
        return Job(jobs.runs / FOLDER / "x", title, tuple(map(tuple, commands)), run)

    monkeypatch.setattr(Jobs, "start", start)
    return begun


def drawing(runs: Path, name: str, at: int, **record: object) -> Path:
    """A drawing of the run church, with a time."""
    folder = runs / "church.drawings"
    folder.mkdir(exist_ok=True)
    cell = {"heading": "before", "prompt": name, "file": f"{name}.png", "box": [0, 0, 9, 9]}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"cells": [cell], **record}))
    os.utime(path, (at, at))
    return path


def shown(places: Places) -> dict[str, Any]:
    return one_run(places, "church")


@pytest.mark.parametrize(
    "name", ["church at night", "k\N{LATIN SMALL LETTER U WITH DIAERESIS}che", "x" * 64]
)
def test_a_run_by_any_name_is_opened_and_worked_on(
    places: Places, lines: list[tuple[str, ...]], name: str
) -> None:
    copied(places.runs / "church", places.runs / name)
    assert name in {run["name"] for run in all_runs(places)}
    assert one_run(places, name)["finished"] is True
    for button, values in BUTTONS:
        ACTIONS[button](places, Jobs(places.runs), {"run": name, **values})
    assert sum(str(places.runs / name) in line for line in lines) == 6


def test_what_other_commands_have_begun_is_no_run_that_is_not_finished(places: Places) -> None:
    heading = "# A recipe of diffusion-erasure.\n"
    for name, key in (("evaluation", "suite"), ("audit", "attacks"), ("cut", "concept")):
        (places.runs / name).mkdir()
        (places.runs / name / "recipe.toml").write_text(f'{heading}{key} = "x"\n')
    assert {run["name"] for run in all_runs(places)} == {"church", "cut"}
    assert one_run(places, "cut")["finished"] is False


def test_what_cannot_be_asked_for_by_its_name_is_not_listed(places: Places) -> None:
    copied(places.runs / "church", places.runs / "a:b")
    assert [run["name"] for run in all_runs(places)] == ["church"]


@pytest.mark.parametrize(
    ("button", "values", "name"),
    [
        ("export", {"to": "folder", "dtype": ""}, "church-diffusers"),
        ("undo", {}, "church-undone"),
    ],
)
def test_a_run_of_the_page_that_is_called_like_an_export_is_not_replaced(
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    button: str,
    values: dict[str, str],
    name: str,
) -> None:
    copied(places.runs / "church", places.runs / name)
    made = ("erase", "demo", "--concept=church", "--out", str(places.runs / name))
    monkeypatch.setattr(Jobs, "lines", lambda jobs: iter([made]))
    with pytest.raises(ConfigError, match=f"there is '{name}' already"):
        ACTIONS[button](places, Jobs(places.runs), {"run": "church", **values})


def test_an_export_of_another_run_that_comes_to_the_same_name_is_not_replaced(
    places: Places, monkeypatch: pytest.MonkeyPatch, lines: list[tuple[str, ...]]
) -> None:
    copied(places.runs / "church", places.runs / "church-lora")
    monkeypatch.setattr(Jobs, "lines", lambda jobs: iter(lines))
    lora = {"run": "church", "to": "lora", "dtype": ""}
    ACTIONS["export"](places, Jobs(places.runs), lora)
    (places.runs / "church-lora.safetensors").write_bytes(b"a LoRA")
    whole = {"run": "church-lora", "to": "file", "dtype": "fp16"}
    with pytest.raises(ConfigError, match="did not write for this run"):
        ACTIONS["export"](places, Jobs(places.runs), whole)
    ACTIONS["export"](places, Jobs(places.runs), lora)
    assert [("--force" in line) for line in lines] == [False, True]


def test_figures_of_another_run_that_had_the_name_are_not_shown_as_this_one_s(
    places: Places,
) -> None:
    church = places.runs / "church"
    evaluate(church, places.runs / "church.evaluation")
    attack(church, places.runs / "church.audit")
    record = json.loads((church / "erasure.json").read_text())
    weights = {"unet": record["edits"][-1]["result_hash"]}
    drawing(places.runs, "own", 1, weights={"after": weights})
    own = shown(places)
    assert own["evaluation"]["rates"]
    assert [one["concept"] for one in own["audits"] if one["attacks"]] == ["church"]
    assert [one["name"] for one in own["drawings"]] == ["own"]

    record["edits"][-1]["result_hash"] = "0" * 64  # erased anew under the same name
    (church / "erasure.json").write_text(json.dumps(record))
    other = shown(places)
    (audit,) = other["audits"]
    assert other["evaluation"]["rates"] == audit["attacks"] == other["drawings"] == []
    assert "church.evaluation is of another run" in other["evaluation"]["verdict"]
    assert "church.audit is of another run" in audit["sentence"]
    assert "page" not in audit


def test_a_run_that_was_attacked_is_not_said_to_be_not_attacked(places: Places) -> None:
    path = places.runs / "church" / "erasure.json"
    record = json.loads(path.read_text())
    sentence = "church is not recognised in 3 of 3 pictures; not attacked; 1 of them is black"
    record["verdict"] = {"sentence": sentence}
    path.write_text(json.dumps(record))
    assert shown(places)["verdict"] == sentence
    attack(places.runs / "church", places.runs / "church.audit")
    assert shown(places)["verdict"] == (
        "church is not recognised in 3 of 3 pictures; 1 of them is black. The attacks are below."
    )


def of_several(run: Path, *concepts: str) -> None:
    """Let the record of a run say that it has forgotten all of these."""
    record = json.loads((run / "erasure.json").read_text())
    for edit in record["edits"]:
        edit |= {"concept": ", ".join(concepts), "concepts": list(concepts)}
    (run / "erasure.json").write_text(json.dumps(record))


def test_each_concept_of_a_run_has_an_audit_of_its_own(
    places: Places, lines: list[tuple[str, ...]]
) -> None:
    church, jobs = places.runs / "church", Jobs(places.runs)
    ACTIONS["audit"](places, jobs, {"run": "church", "concept": "church"})
    attack(church, places.runs / "church.audit")
    of_several(church, *CONCEPTS)
    for concept in CONCEPTS:
        ACTIONS["audit"](places, jobs, {"run": "church", "concept": concept})
        attack(church, Path(lines[-1][-1]), concept=concept)
    outs = [Path(line[-1]).relative_to(places.runs).as_posix() for line in lines]
    assert outs[:2] == ["church.audit", "church.audits/church"]
    assert len(set(outs)) == 4
    assert all(f"--concept={one}" in line for one, line in zip(CONCEPTS, lines[1:], strict=True))
    audits = shown(places)["audits"]
    assert sorted(one["concept"] for one in audits) == sorted(("church", *CONCEPTS))
    for one in audits:
        page = places.run(one["run"]) / one["page"]
        assert page.with_name("audit.json").is_file()
    assert {run["name"] for run in all_runs(places)} == {"church"}
    with pytest.raises(ConfigError, match="has not forgotten 'dog' but church, Van Gogh"):
        ACTIONS["audit"](places, jobs, {"run": "church", "concept": "dog"})


def test_the_newest_drawing_comes_first_whatever_its_seed(places: Places) -> None:
    for at, name in enumerate(("7-b", "0-c", "3-a"), 1_000_000):
        drawing(places.runs, name, at)
    assert [one["name"] for one in shown(places)["drawings"]] == ["3-a", "0-c", "7-b"]


def test_a_prompt_of_one_s_own_for_nudity_is_covered_on_any_run(places: Places) -> None:
    drawing(places.runs, "a nude person", 1)
    drawing(places.runs, "a dog", 2)
    run = shown(places)
    assert run["unsafe"] is False
    assert [one["cells"][0]["unsafe"] for one in run["drawings"]] == [False, True]
    assert not any(cell["unsafe"] for cell in run["cells"])


LINKS: dict[str, tuple[str, dict[str, Any]]] = {  # what is a link -> what would write through it
    "church.evaluation": ("evaluate", {"run": "church"}),
    "church.audit": ("audit", {"run": "church", "concept": "church"}),
    "church.drawings": ("draw", {"run": "church", "prompt": "a dog", "seed": "0"}),
    "church.patch": ("export", {"run": "church", "to": "patch", "dtype": ""}),
    "church-undone": ("undo", {"run": "church"}),
    "several.audits": ("audit", {"run": "several", "concept": "dog"}),
    "several.audits/dog": ("audit", {"run": "several", "concept": "dog"}),
    "next": ("erase", {"model": "demo", "concepts": ["church"], "name": "next"}),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_written_through_a_link_out_of_the_runs(
    places: Places, lines: list[tuple[str, ...]], tmp_path: Path, link: str, there: bool
) -> None:
    church = places.runs / "church"
    (church / "recipe.toml").write_text('model = "demo"\n')
    of_several(copied(church, places.runs / "several"), "church", "dog")
    button, values = LINKS[link]
    ACTIONS[button](places, Jobs(places.runs), values)
    lines.clear()
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.mkdir()
    (places.runs / link).parent.mkdir(exist_ok=True)
    (places.runs / link).symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=f"'{link}' is a link, and the page writes into"):
        ACTIONS[button](places, Jobs(places.runs), values)
    assert lines == []


@pytest.mark.parametrize("base", ["a\\u0000b/c", "~\\u0000/x", "circle/x", f"{'x' * 300}/x"])
def test_a_base_that_no_path_can_be_is_refused_in_a_sentence(places: Places, base: str) -> None:
    circle = places.runs / "circle"
    circle.symlink_to(circle)
    text = base.replace("circle", str(circle))
    (places.runs / "church" / "recipe.toml").write_text(f'model = "{text}"\n')
    with pytest.raises(ConfigError, match=r"names its base; use|is not demo"):
        ACTIONS["undo"](places, Jobs(places.runs), {"run": "church"})


@pytest.mark.parametrize("link", ["church.evaluation", "church.drawings", "church/loss.csv"])
def test_a_link_out_of_the_runs_shows_nothing(places: Places, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    evaluate(places.runs / "church", outside)
    (outside / "1.json").write_text(json.dumps({"cells": [{"prompt": "secret"}]}))
    (outside / "loss.csv").write_text("step,loss\n1,0.123456\n")
    before = shown(places)
    path = places.runs / link
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "loss.csv" if path.suffix == ".csv" else outside)
    after = shown(places)
    assert (after["evaluation"], after["drawings"]) == (before["evaluation"], before["drawings"])
    assert "0.123456" not in json.dumps(after)


@pytest.mark.parametrize(
    "change",
    [{"box": 5}, {"box": [0, 0, 1]}, {"box": [0, 0, 0, 9]}, {"box": [0, 0, 10**9, 9]},
     {"box": [0, 0, True, 9]}, {"box": None}, {"file": 5}],
    ids=str,
)  # fmt: skip
def test_a_picture_that_has_no_place_in_its_file_is_left_out_and_the_rest_stays(
    places: Places, change: dict[str, object]
) -> None:
    path = places.runs / "church" / "erasure.json"
    record = json.loads(path.read_text())
    record["grid"]["cells"][0] |= change
    assert shown(places)["cells"]
    path.write_text(json.dumps(record))
    run = shown(places)
    assert run["cells"] == []
    assert run["moved"] is not None
