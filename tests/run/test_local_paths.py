"""Paths of this machine stay on it: what is published names last parts only."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from support.console import erasure

from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.errors import ConfigError
from erasure.local_paths import is_local, last_part, shown_path, without_folders
from pipelines.configs.recipe import dump_published
from pipelines.configs.recipe_files import read_recipe
from pipelines.configs.settings import EraseRecipe, PicturesConfig
from pipelines.data.own_pictures import own_pictures
from pipelines.run.preparing import cache_of
from prompts.concepts.concepts import plan_concept

FEW = ("--steps", 1, "--device", "cpu")
SUITE = ("--suite", "csv", "--judge", "canvas", "--prompts")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/acme corp/church", "church"),
        ("/home/ann/church/", "church"),
        ("~/models/sd15.safetensors", "sd15.safetensors"),
        ("~ann", "."),
        ("/", "."),
        ("C:\\Users\\Ann\\sd15.safetensors", "sd15.safetensors"),
        ("C:/Users/Ann/data", "data"),
        ("c:\\", "."),
        ("\\\\server\\share\\acme", "acme"),
        ("file:///home/ann/my%20masks/a.safetensors", "a.safetensors"),
        ("../acme/pictures", "pictures"),
        ("./pictures", "pictures"),
        ("..", "."),
        ("owner/name", "owner/name"),
        ("demo", "demo"),
        ("salient", "salient"),
        ("RandomLabel(alpha=1.0)", "RandomLabel(alpha=1.0)"),
        ("text_encoder_2=/home/ann/clip.safetensors", "text_encoder_2=clip.safetensors"),
    ],
)
def test_a_path_is_shown_by_its_last_part_and_a_hub_id_whole(text: str, shown: str) -> None:
    assert shown_path(text) == shown


def test_a_relative_path_is_one_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_local("acme/church")
    (tmp_path / "acme" / "church").mkdir(parents=True)
    assert is_local("acme/church")
    assert last_part("acme/church") == "church"


def test_settings_lose_folders_at_any_depth_and_keep_words() -> None:
    recipe = 'model = "/home/ann/sd"\nconcept = "/dev/null"\nprompt = "~ a ~"\nmask = "salient"\n'
    settings = {"recipe": recipe, "list": [{"a": "/x/y"}], "prompts": ["/imagine a/b"], "n": 1}
    assert without_folders(settings) == {
        "recipe": 'model = "sd"\nconcept = "/dev/null"\nprompt = "~ a ~"\nmask = "salient"\n',
        "list": [{"a": "y"}],
        "prompts": ["/imagine a/b"],
        "n": 1,
    }


def test_a_published_recipe_has_neither_cache_nor_device() -> None:
    recipe = EraseRecipe(concept="church", cache="/home/ann/cache", device="cpu", mask="/m/k.st")
    text = dump_published(recipe)
    assert "cache" not in text
    assert "device" not in text
    assert 'mask = "k.st"' in text


def test_nothing_that_is_published_names_a_folder(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """The model's path, its cache and the folders of all outputs lie below one folder."""
    made = [tiny_run / "erasure.json", *(tiny_run / "model").rglob("*")]
    file, patch = tmp_path / "church.safetensors", tmp_path / "church.patch"
    copy, sheet, scores = tmp_path / "copy", tmp_path / "grid.png", tmp_path / "scores"
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("prompt,object\na church,church\na dog,dog\n", encoding="utf-8")
    for line in (
        ("export", tiny_run, "--out", file),
        ("export", tiny_run, "--to", "diffusers", "--out", copy),
        ("export", tiny_run, "--to", "patch", "--base", tiny_folder, "--out", patch),
        ("patch", "apply", tiny_folder, patch, "--out", tmp_path / "applied"),
        ("compare", tiny_folder, tiny_run, *FEW, "--prompt", "x", "--seeds", 0, "--out", sheet),
        ("evaluate", tiny_run, *FEW, *SUITE, prompts, "--against", tiny_folder, "--out", scores),
    ):
        said = erasure(*line)
        assert said.code == 0, said.err
    made += [file, patch, sheet.with_suffix(".json"), *copy.rglob("*")]
    made += [*(tmp_path / "applied").rglob("*"), *(f for f in scores.rglob("*") if f.is_file())]
    local = (str(tiny_folder.parents[1]), str(tiny_run.parents[1]), str(tmp_path))
    for path in (path for path in made if path.is_file() and path.name != "recipe.toml"):
        content = path.read_bytes()
        assert not [folder for folder in local if folder.encode() in content], path
    results = json.loads((scores / "results.json").read_text(encoding="utf-8"))
    assert results["models"]["after"]["name"] == tiny_run.name
    assert results["models"]["before"]["name"] == tiny_folder.name
    assert results["suite"]["source"] == "prompts.csv"
    with safe_open(file, "pt") as opened:
        assert 'model = "model"' in "".join(opened.metadata().values()).replace("\\", "")


def test_the_recipe_of_a_run_keeps_its_paths_for_resume_and_says_so(
    tiny_run: Path, tiny_folder: Path
) -> None:
    text = (tiny_run / "recipe.toml").read_text(encoding="utf-8")
    assert str(tiny_folder) in text
    assert "leave this file out of what you publish" in text.splitlines()[1]


def test_configs_that_say_where_a_part_lay_are_written_without(
    tiny_folder: Path, tmp_path: Path
) -> None:
    """diffusers notes the folder it loaded a part from, and so does a tokenizer."""
    source = tmp_path / "source"
    shutil.copytree(tiny_folder, source)
    where = "/home/ann/acme/sd15"
    for name in ("unet/config.json", "tokenizer/tokenizer_config.json", "model_index.json"):
        config = json.loads((source / name).read_text(encoding="utf-8"))
        (source / name).write_text(json.dumps(config | {"_name_or_path": where}))
    checkpoint = read_checkpoint(source)
    write_folder(checkpoint, tmp_path / "folder")
    write_single_file(checkpoint, tmp_path / "one.safetensors")
    for path in (tmp_path / "folder").rglob("*.json"):
        assert b"acme" not in path.read_bytes(), path
    index = json.loads((tmp_path / "folder" / "model_index.json").read_text())
    assert index["_name_or_path"] == "sd15"
    again = read_checkpoint(tmp_path / "one.safetensors")
    assert again.description.components["unet"]["_name_or_path"] == "sd15"
    assert all(
        b"acme" not in content for content in again.description.vocabularies["tokenizer"].values()
    )


def named(path: Path, tiny_checkpoint: Checkpoint) -> str:
    from dataclasses import replace

    return replace(tiny_checkpoint, path=path).name


def test_a_model_is_called_by_its_hub_id_its_run_or_its_last_part(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    hub = tmp_path / "hub" / "models--owner--sd-v1.5" / "snapshots" / ("ab" * 20)
    run = tmp_path / "church"
    run.mkdir()
    (run / "mask.safetensors").touch()
    assert named(hub, tiny_checkpoint) == "owner/sd-v1.5"
    assert named(run / "model", tiny_checkpoint) == "church"
    assert named(tmp_path / "x" / "model", tiny_checkpoint) == "model"
    assert named(tmp_path / "sd-v1.5", tiny_checkpoint) == "sd-v1.5"


def test_a_classifier_names_its_data_without_their_folder_and_asks_for_it(tmp_path: Path) -> None:
    from PIL import Image

    data = tmp_path / "acme" / "shoes"
    for n, name in enumerate(("boot", "clog")):
        (data / "train" / name).mkdir(parents=True)
        for k in range(12):
            Image.new("RGB", (32, 32), (120 * n, 20 * k, 0)).save(
                data / "train" / name / f"{k}.png"
            )
    out, forgot = tmp_path / "model.safetensors", tmp_path / "forgot.safetensors"
    quick = ("--arch", "mlp", "--epochs", 1, "--device", "cpu", "--data", "folder")
    said = erasure("classify", "train", *quick, "--data-path", data, "--out", out)
    assert said.code == 0, said.err
    assert b"acme" not in out.read_bytes()
    said = erasure("classify", "unlearn", out, "--method", "ft", "--out", forgot)
    assert said.code == 2
    assert "in a place called 'shoes'" in said.err
    assert "--data-path" in said.err
    line = ("classify", "unlearn", out, "--method", "ft", "--data-path", data, "--out", forgot)
    assert erasure(*line).code == 0


def test_a_tilde_that_no_shell_expands_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "prompts.csv").write_text("prompt\na church\n", encoding="utf-8")
    (tmp_path / "run.toml").write_text('concept = "church"\n', encoding="utf-8")
    said = erasure("prompts", "csv", "--prompts", "~/prompts.csv", "--json")
    assert said.code == 0, said.err
    assert read_recipe("~/run.toml") == {"concept": "church"}
    assert cache_of("~/cache").folder == tmp_path / "cache"
    source = PicturesConfig(folder="~/none")
    with pytest.raises(ConfigError, match=f"the picture folder {tmp_path}/none is not there"):
        list(own_pictures("forget", source, plan_concept("x", family="general"), size=8, seed=0))
