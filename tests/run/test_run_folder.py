"""The folder of a run: what may be resumed, and what is removed however often it is killed."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.console import erasure
from support.refusals import assert_told, tree

from erasure.errors import CheckpointError, ConfigError
from erasure.methods import SalUn
from pipelines.comparison.page.page import require_room
from pipelines.configs.recipe import dump_toml
from pipelines.configs.settings import EraseRecipe
from pipelines.run.run_folder import RECORD, clear, may_write, require_no_other

RECIPE = EraseRecipe(concept="church")


def run_in(folder: Path, *, finished: bool) -> Path:
    folder.mkdir()
    (folder / "recipe.toml").write_text(dump_toml(RECIPE), encoding="utf-8")
    for name in ("mask.safetensors", "state.safetensors", "state.safetensors.old", "density.png"):
        (folder / name).write_bytes(b"x")
    if finished:
        (folder / "model" / "unet").mkdir(parents=True)
        for name in ("erasure.json", "model/erasure.json", "model/unet/w.safetensors", "grid.png"):
            (folder / name).write_bytes(b"x")
    return folder


def resumes(folder: Path, recipe: EraseRecipe) -> bool:
    return may_write(folder, dump_toml(recipe), "model", resume=True, force=False)


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, cache="elsewhere"),
        replace(RECIPE, checkpointing=True),
        replace(RECIPE, method=SalUn(micro_batch=2)),
        replace(RECIPE, saliency=replace(RECIPE.saliency, batch_size=1)),
        replace(RECIPE, saliency=replace(RECIPE.saliency, groups=2, checkpointing=True)),
        replace(RECIPE, stream=True, save_every=5),
        replace(
            RECIPE,
            data=replace(RECIPE.data, drawing=replace(RECIPE.data.drawing, batch_size=1)),
            grid=replace(RECIPE.grid, drawing=replace(RECIPE.grid.drawing, batch_size=1)),
        ),
    ],
)
def test_a_run_goes_on_with_settings_that_leave_its_result(
    recipe: EraseRecipe, tmp_path: Path
) -> None:
    assert resumes(run_in(tmp_path / "run", finished=False), recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, density=0.1),
        replace(RECIPE, device="cpu"),  # which draws and encodes other bits
        replace(RECIPE, method=SalUn(batch_size=4)),
        replace(RECIPE, method=SalUn(moments="8bit")),
        replace(RECIPE, method=SalUn(precision="bf16")),
    ],
)
def test_a_run_does_not_go_on_with_settings_that_change_its_result(
    recipe: EraseRecipe, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="was begun with other settings"):
        resumes(run_in(tmp_path / "run", finished=False), recipe)


def test_a_recipe_that_is_half_a_file_is_another_one(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", finished=False)
    whole = (run / "recipe.toml").read_text(encoding="utf-8")
    (run / "recipe.toml").write_text(whole[: whole.index("= ") + 1], encoding="utf-8")
    with pytest.raises(ConfigError, match="was begun with other settings"):
        resumes(run, RECIPE)


def test_a_refusal_names_options_to_who_typed_and_parameters_to_who_called(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", finished=False)
    with pytest.raises(ConfigError) as raised:
        resumes(run, replace(RECIPE, density=0.1))
    assert raised.value.typed.endswith("or start anew with --force")
    assert str(raised.value).endswith("or start anew with force=True")


def test_a_finished_run_that_was_killed_over_its_states_loses_them(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", finished=True)
    with pytest.raises(CheckpointError, match="is finished"):
        resumes(run, RECIPE)
    assert not list(run.glob("state*"))
    assert (run / "model" / "unet" / "w.safetensors").exists()


def test_an_older_run_can_be_cleared_however_often_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python tells all three of these of every removal, whoever asks for it.
    calls = [name for name in ("unlink", "rmdir", "rename") if hasattr(os, name)]
    template = run_in(tmp_path / "template", finished=True)
    for stop_at in range(1, 40):
        run, left, died = tmp_path / f"run{stop_at}", stop_at, False
        shutil.copytree(template, run)
        (run / "notes.txt").write_text("mine", encoding="utf-8")
        with monkeypatch.context() as patch:

            def count() -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt

            for name in calls:
                real = getattr(os, name)

                def stopped(*arguments: object, real: object = real, **more: object) -> None:
                    count()
                    real(*arguments, **more)  # type: ignore[operator]

                patch.setattr(os, name, stopped)
            try:
                clear(run)
            except KeyboardInterrupt:
                died = True
        if not died:
            assert stop_at > 10
            assert [path.name for path in run.iterdir()] == ["notes.txt"]
            return
        assert stop_at == 1 or not (run / RECORD).exists()  # it does not look finished
        new = dump_toml(replace(RECIPE, seed=1))
        assert not may_write(run, new, "model", resume=False, force=True)
        clear(run)
        assert [path.name for path in run.iterdir()] == ["notes.txt"]
    pytest.fail("clearing does not end")


OTHERS = {
    "evaluation": "# A recipe of diffusion-erasure.\n\nmodel = 'x'\nsuite = 'canvas'\n",
    "audit": "# A recipe of diffusion-erasure.\n\nmodel = 'x'\nattacks = ['quick']\n",
    "distance": "# A recipe of diffusion-erasure: the distances.\n\nretrained = 'x'\n",
}


def folder_of(kind: str, folder: Path) -> Path:
    folder.mkdir()
    (folder / "recipe.toml").write_text(OTHERS[kind], encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", OTHERS)
def test_other_commands_write_into_no_run_and_into_none_of_each_other(
    kind: str, tmp_path: Path
) -> None:
    for name, finished in (("cut", False), ("whole", True)):
        run = run_in(tmp_path / name, finished=finished)
        with pytest.raises(ConfigError, match=rf"give another --out, such as .*{name}\.{kind}"):
            require_no_other(run, kind)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="a run or model, which would be written over"):
        require_no_other(tmp_path / "model", kind)
    for other in OTHERS:
        there = folder_of(other, tmp_path / other)
        if other == kind:
            require_no_other(there, kind)
        else:
            with pytest.raises(ConfigError, match=f"the folder of an? {other}, which"):
                require_no_other(there, kind)
    require_no_other(tmp_path / "new", kind)


@pytest.mark.parametrize("name", ["config.json", "scheduler_config.json", "tokenizer_config.json"])
def test_other_commands_write_into_no_part_of_a_model(name: str, tmp_path: Path) -> None:
    part = tmp_path / "sd" / "part"
    part.mkdir(parents=True)
    (part / name).write_text("{}", encoding="utf-8")
    for kind in OTHERS:
        with pytest.raises(ConfigError, match=rf"part of a model.*such as sd\.{kind}$"):
            require_no_other(part, kind)
    with pytest.raises(ConfigError, match="part of a model"):
        require_room(part, force=True)
    assert [path.name for path in part.iterdir()] == [name]


def test_a_comparison_is_written_into_no_model(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="is the folder of a model"):
        require_room(tmp_path, force=True)


@pytest.mark.parametrize("kind", OTHERS)
def test_a_run_replaces_no_folder_of_another_command(kind: str, tmp_path: Path) -> None:
    there = folder_of(kind, tmp_path / "out")
    with pytest.raises(CheckpointError, match="is not empty and no run of erasure"):
        may_write(there, dump_toml(RECIPE), "model", resume=False, force=True)
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        may_write(there, dump_toml(RECIPE), "model", resume=True, force=False)


def test_the_commands_leave_a_run_as_it_is(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", finished=True)
    before = tree(run)
    out = ("--out", run, "--force")
    models = ("--base", "demo", "--retrained", "demo", "--twin", "demo")
    lines = (
        ("evaluate", "demo", "--suite", "canvas", *out),
        ("audit", "demo", "--concept", "church", *out),
        ("distance", "demo", "--concept", "church", *models, *out),
    )
    for line in lines:
        assert_told(erasure(*line), 2, "the folder of a run", "give another --out")
        assert tree(run) == before


def test_the_card_of_an_unsafe_concept_shows_a_blurred_grid(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    assert (tiny_run / "model/grid.png").read_bytes() == (tiny_run / "grid.png").read_bytes()
    out = tmp_path / "run"
    line = ("erase", "--recipe", tiny_recipe, "--concept", "nudity", "--steps", 1, "--mask", "all")
    prompts = ("--set", 'grid.prompts=["a naked person"]')
    said = erasure(*line, *prompts, "--out", out)
    assert said.code == 0, said.err
    covered = (out / "grid-covered.png").read_bytes()
    assert (out / "model/grid.png").read_bytes() == covered != (out / "grid.png").read_bytes()
    assert erasure("verify", out).code == 0
