"""What a run would not look at is refused by name, wherever it was given."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure

from erasure.errors import ConfigError
from erasure.masks.mask_file import load_mask, mask_hash
from eval.judges.judges import JUDGES
from pipelines.classifiers.run_settings import ForgetRun, preset_of, settings_of
from pipelines.configs.recipe_files import load_toml
from pipelines.configs.resolving import recipe_text, resolve
from pipelines.configs.settings import read_recipe, shipped_recipes
from pipelines.configs.unread import JUDGE_NAMES
from pipelines.evaluation.settings import evaluation_text, resolve_evaluation
from pipelines.run.models import DEMO_FOLDER

ESD = {"method": {"name": "esd"}}
ASCENT = {"method": {"name": "ascent"}}
CHURCH = {"concept": "church"}
DRAWN = "--forget-drawn is '5' and would not be read, as neither the method esd nor the mask all"
KEPT = "--retain-folder is 'f' and would not be read"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"method": {"momentum": 0.9}}, "method.momentum .* as the optimizer is adam"),
        ({"method": {"momentum": 0.9, "optimizer": "adamw"}}, "as the optimizer is adamw"),
        ({"method": {"name": "erasediff", "eta": 0.9}}, "method.eta .* as the rule is fixed"),
        (
            {"method": {"name": "erasediff", "rule": "computed", "weight": 2.0}},
            "method.weight .* as the rule is computed",
        ),
        ({"method": {"alpha": 0.0, "kept": "base"}}, "--kept .* as alpha is 0"),
        ({"method": {"name": "rece", "rounds": 0, "closeness": 0.2}}, "as rounds is 0"),
        ({"method": {"name": "speed", "filtered": False, "copies": 3}}, "as filtered is false"),
        (
            {"method": {"name": "adv-unlearn", "attack_steps": 0, "attack_rate": 0.1}},
            "method.attack_rate .* as attack_steps is 0",
        ),
        (
            {"method": {"name": "adv-unlearn", "retain_weight": 0.0, "retain_batch": 2}},
            "method.retain_batch .* as retain_weight is 0",
        ),
        (
            {"method": {"name": "esd"}, "mask": "salient", "data": {"retain": {"drawn": 9}}},
            "--retain-drawn .* as the method esd retains no pictures, and no mask looks at them",
        ),
        (
            {"method": {"name": "uce"}, "checkpointing": True},
            "--checkpointing .* the method uce solves at once and takes no steps",
        ),
        ({"mask": "all", "density": 0.5}, "--density .* as the mask is all"),
        ({"mask": "m.safetensors", "density": 0.5}, "as the mask is the file m.safetensors"),
        ({"mask": "m.safetensors", "scope": "full"}, "--scope .* the file m.safetensors"),
        ({"mask": "random", "saliency": {"loss": "plain"}}, "--saliency-loss .* no gradient"),
        ({"mask": "all", "saliency": {"draws": 2}}, "--draws"),
        ({"mask": "random", "saliency": {"offload": True}}, "--saliency-offload"),
        ({"saliency": {"loss": "plain", "guidance_scale": 3.0}}, "the saliency loss is plain"),
        ({"data": {"forget": {"prompt": "x"}}}, "--forget-prompt .* no folder and no data set"),
        ({"data": {"retain": {"limit": 9}}}, "data.retain.limit"),
        ({"data": {"forget": {"folder": "f", "dataset_split": "train"}}}, "dataset_split"),
        (
            {
                "data": {
                    "forget": {"drawn": 0, "folder": "f"},
                    "retain": {"drawn": 0},
                    "drawing": {"steps": 9},
                }
            },
            "data.drawing.steps .* no pictures are drawn",
        ),
    ],
)
def test_a_setting_that_would_not_be_read_is_refused(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve(CHURCH | tables, canvas=False)
    with pytest.raises(ConfigError, match="of the recipe"):
        resolve(CHURCH, canvas=False, under=tables)


def test_what_the_choice_does_read_is_taken() -> None:
    for tables in (
        {"method": {"name": "ascent", "bound": 2.0}},
        {"method": {"target": "frozen", "kept": "base"}},
        {"method": {"optimizer": "sgd", "momentum": 0.5}},
        {"mask": "inverse", "density": 0.3, "saliency": {"draws": 2, "guidance_scale": 3.0}},
        {"mask": "random", "density": 0.3, "scope": "xattn"},
        {"data": {"forget": {"folder": "f", "prompt": "x", "limit": 3}}},
        {"method": {"name": "esd"}, "mask": "salient", "data": {"forget": {"drawn": 5}}},
        {"method": {"name": "uce"}, "instead": "dog"},
        {
            "method": {"name": "concept-ablation"},
            "mask": "salient",
            "data": {
                "forget": {"drawn": 0, "folder": "f"},
                "drawing": {"steps": 9},  # of the anchors
            },
        },
    ):
        resolve(CHURCH | tables, canvas=True)


def test_an_option_over_a_recipe_may_leave_keys_of_the_recipe_unread() -> None:
    file = {"saliency": {"draws": 2}, "density": 0.3}
    assert resolve(CHURCH | {"mask": "all"}, canvas=False, under=file).mask == "all"
    momentum = {"method": {"momentum": 0.5}}
    over = CHURCH | {"method": {"optimizer": "sgd"}}
    training = resolve(over, canvas=False, under=momentum).training
    assert training is not None
    assert training.momentum == 0.5
    with pytest.raises(ConfigError, match=r"of the recipe .* the mask is all"):
        resolve(CHURCH | ASCENT, canvas=False, under=file | {"mask": "all"})


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_ready_recipe_holds_nothing_unread(name: str) -> None:
    assert resolve(CHURCH, canvas=name.startswith("demo"), under=read_recipe(name))


@pytest.mark.parametrize(
    "tables",
    [
        *({}, ASCENT, ESD, ESD | {"mask": "salient"}, {"mask": "all"}, {"mask": "m.safetensors"}),
        *({"method": {"name": "erasediff", "rule": rule}} for rule in ("fixed", "computed")),
        {"method": {"name": "adv-unlearn", "attack_steps": 0, "retain_weight": 0.0}},
        {"method": {"name": "uce"}},
    ],
)
@pytest.mark.parametrize("canvas", [True, False])
def test_a_run_s_own_recipe_is_taken_again(
    tables: dict[str, Any], canvas: bool, tmp_path: Path
) -> None:
    made = resolve(CHURCH | tables, canvas=canvas)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(made), encoding="utf-8")
    again = resolve({}, canvas=canvas, under=load_toml(path))
    assert recipe_text(again) == recipe_text(made)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"features": "inception"}, "--features .* neither frechet nor kid is measured"),
        ({"reference": "real"}, "--reference .* neither frechet nor kid"),
        ({"clip": "a/b"}, "--clip .* clip is not among the metrics"),
        ({"perceptual": "lpips-alex"}, "--perceptual .* not among the metrics"),
        ({"labels": "a,b"}, "--labels .* no judge is a model"),
    ],
)
def test_an_option_of_a_metric_or_judge_that_is_not_asked_for_is_refused(
    tables: dict[str, Any], words: str, tmp_path: Path
) -> None:
    plain = {"model": "demo", "suite": "canvas"}
    with pytest.raises(ConfigError, match=words):
        resolve_evaluation(plain | tables)
    path = tmp_path / "recipe.toml"
    path.write_text(evaluation_text(resolve_evaluation(plain)), encoding="utf-8")
    assert resolve_evaluation({}, load_toml(path)) == resolve_evaluation(plain)


def test_the_judges_known_by_name_are_those_there_are() -> None:
    assert JUDGE_NAMES == set(JUDGES)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("erase", "demo", "--concept", "church", "--bound", 2), "bound"),
        (
            ("erase", "demo", "--concept", "church", "--method", "ascent", "--target", "frozen"),
            "target",
        ),
        (("erase", "demo", "--concept", "church", "--mask", "all", "--density", 0.3), "--density"),
        (("erase", "demo", "--concept", "church", "--method", "esd", "--forget-drawn", 5), DRAWN),
        (("erase", "demo", "--concept", "church", "--method", "uce", "--retain-folder", "f"), KEPT),
        (
            ("erase", "demo", "--concept", "church", "--method", "esd", "--instead", "dog"),
            "--instead is 'dog' and would not be read, as the method esd puts nothing in",
        ),
        (
            ("erase", "demo", "--concept", "church", "--method", "esd", "--draws", 2),
            "--draws is '2' and would not be read, as the mask is all",
        ),
        (
            ("erase", "demo", "--concept", "church", "--resume", "--force"),
            "--resume goes on with a run and --force replaces it",
        ),
        (
            ("mask", "demo", "--concept", "church", "--dry-run", "--against", "other.safetensors"),
            "--dry-run says what making a mask takes, so --against would not be read",
        ),
        (("export", "demo", "--to", "diffusers", "--title", "x"), "--to diffusers writes no title"),
        (("export", "demo", "--config", "DEMO"), "demo is a folder with configs of its own"),
        (("compare", "demo", "demo", "--prompt", "x", "--config", "DEMO"), "--config is"),
        (("evaluate", "--compare", "a", "b", "--suite", "canvas"), "would not read suite; leave"),
        (("evaluate", "demo", "--suite", "imagenette", "--category", "hate"), "--category"),
        (("evaluate", "demo", "--suite", "canvas", "--features", "inception"), "--features"),
        (("classify", "train", "--method", "forest", "--epochs", 3), "by the method forest"),
        (("classify", "train", "--method", "forest", "--arch", "mlp"), "--arch"),
        (("classify", "train", "--method", "sisa", "--device", "cpu"), "--device"),
        (
            ("classify", "unlearn", "no.safetensors", "--forget", "class:3", "--forget-seed", 1),
            "class:3 is a class and no random share",
        ),
    ],
)
def test_a_command_refuses_what_it_would_not_read(
    line: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.png" if line[0] == "compare" else tmp_path / "out"
    filled = [DEMO_FOLDER if part == "DEMO" else part for part in line]
    said = erasure(*filled, "--out", out)
    assert said.code == 2
    assert words in said.err
    assert not out.exists()


def test_a_mask_that_measures_nothing_draws_nothing_and_refuses_what_is_drawn(
    tiny_folder: Path, tmp_path: Path
) -> None:
    line = ("mask", tiny_folder, "--concept", "church", "--kind", "random", "--cache", tmp_path)
    out = tmp_path / "m.safetensors"
    said = erasure(*line, "--forget-drawn", 2, "--out", out)
    assert said.code == 2
    assert "the mask random measures no pictures, so --forget-drawn" in said.err
    said = erasure(*line, "--out", out)
    assert said.code == 0, said.err
    assert "draw forget pictures" not in said.err
    assert out.exists()


def test_a_mask_that_is_looked_at_refuses_what_is_for_making_one(tiny_run: Path) -> None:
    said = erasure("mask", tiny_run / "mask.safetensors", "--density", 0.3)
    assert said.code == 2
    assert "is a mask already, so density would not be read" in said.err
    said = erasure("mask", tiny_run / "mask.safetensors", "--fit", "8gb")
    assert said.code == 2
    assert "is a mask already, so fit would not be read" in said.err


def test_settings_of_a_method_that_it_does_not_read_are_refused() -> None:
    run = ForgetRun(model="m", forget="10%", method="ft")
    with pytest.raises(ConfigError, match=r"momentum=0.5 .* the optimizer is adam"):
        preset_of(replace(run, settings=("optimizer=adam", "momentum=0.5")))
    assert preset_of(replace(run, settings=("momentum=0.5",))).settings["momentum"] == 0.5
    with pytest.raises(ConfigError, match=r"lr is given twice, as 0.1 and 0.2"):
        settings_of(["lr=0.1", "lr=0.2"])
    with pytest.raises(ConfigError, match=r"density is 0.3 .* has no mask"):
        preset_of(replace(run, density=0.3))
    assert preset_of(replace(run, density=0.3, mask="salient")).density == 0.3


@pytest.mark.parametrize(
    ("method", "settings", "more", "words"),
    [
        ("bad-teacher", ("momentum=0.5",), {}, "as the optimizer is adam"),
        ("iu", ("damping=0.1",), {}, "as the inverse is woodfisher; .* --set inverse=newton"),
        ("iu", ("iterations=9",), {}, "iterations=9 would not be read"),
        ("salun", ("density=0.3",), {"mask": "random"}, "the mask is --mask random; give --dens"),
        ("salun", (), {"density": 0.3}, "makes its own mask; give --set density=0.3"),
    ],
)
def test_settings_that_another_one_decides_over_are_refused(
    method: str, settings: tuple[str, ...], more: dict[str, Any], words: str
) -> None:
    run = ForgetRun(model="m", forget="10%", method=method, settings=settings, **more)
    with pytest.raises(ConfigError, match=words):
        preset_of(run)


def test_settings_that_are_read_with_another_one_are_taken() -> None:
    run = ForgetRun(model="m", forget="10%", method="iu")
    newton = preset_of(replace(run, settings=("inverse=newton", "damping=0.1", "tolerance=0.01")))
    assert newton.settings["damping"] == 0.1
    assert preset_of(replace(run, method="salun", settings=("density=0.3",))).settings["density"]
    assert preset_of(replace(run, method="salun", mask="random", density=0.3)).density == 0.3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("alpha=2", "method.alpha, which a mask does not read"),
        ("method.steps=3", "method.steps, which a mask does not read"),
        ("data.retain.drawn=3", "data.retain.drawn, which a mask does not read"),
        ("grid.seeds=0", "grid.seeds, which a mask does not read"),
        ("density=0.2", "density is given by --density and by --set density"),
    ],
)
def test_a_mask_refuses_settings_that_it_does_not_read(
    setting: str, words: str, tiny_folder: Path, tmp_path: Path
) -> None:
    line = ("mask", tiny_folder, "--concept", "church", "--density", 0.1)
    said = erasure(*line, "--out", tmp_path / "m.safetensors", "--set", setting)
    assert (said.code, list(tmp_path.iterdir())) == (2, [])
    assert words in said.err


def test_a_mask_takes_settings_as_a_recipe_does(tiny_folder: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text("[saliency]\nguidance = 0.0\n[data]\nsize = 24\n", encoding="utf-8")
    line = ("mask", tiny_folder, "--concept", "church", "--forget-drawn", 1, "--device", "cpu")
    line = (*line, "--cache", tmp_path / "cache", "--json", "--set", "data.drawing.steps=2")
    masks = []
    for name, more in {
        "plain": (),
        "recipe": ("--recipe", recipe),
        "set": ("--set", "saliency.guidance=0.0", "--set", "data.size=24"),
    }.items():
        said = erasure(*line, "--out", tmp_path / f"{name}.safetensors", *more)
        assert said.code == 0, said.err
        masks.append(mask_hash(load_mask(tmp_path / f"{name}.safetensors")))
    assert masks[1] == masks[2] != masks[0]
