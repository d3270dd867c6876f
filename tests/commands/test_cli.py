"""The command line where all is well: each command, its files, its JSON, and runs that were cut."""

import json
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import Said, command, erasure, quick_recipe
from support.forked import forked, run_and_die
from support.leftovers import left_by_the_dead, without_owners
from support.refusals import assert_told

from erasure import load_mask, read_checkpoint, verify
from erasure.errors import ConfigError
from erasure.masks.mask_file import mask_hash
from erasure.storage.tensors.tensor_file import data_hash
from erasure.training.trainer import MaskedTrainer
from erasure.work import Work
from eval.rates.intervals import wilson
from pipelines.cli import _COMMANDS, _GROUPS, _spoken
from pipelines.commands.options import program_as_called
from pipelines.configs.settings import EraseRecipe, read_recipe
from pipelines.evaluation.outcome.results import (
    EvaluationProtocol,
    ModelRecord,
    Models,
    Results,
    SuiteRecord,
    Unusable,
    UnusableImages,
)
from pipelines.evaluation.outcome.summary import Summary
from pipelines.jobs.demo_job import Demo
from pipelines.run.erasing import Erased

UNET = Path("model/unet/diffusion_pytorch_model.safetensors")
RUN_FILES = {
    "model",
    "mask.safetensors",
    "density.png",
    "grid.png",
    "loss.png",
    "loss.csv",
    "recipe.toml",
    "erasure.json",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "erasure.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_demo_checkpoint_is_erased_by_a_recipe_that_flags_override(tmp_path: Path) -> None:
    out = tmp_path / "church"
    flags = ["--steps", 3, "--forget-drawn", 2, "--retain-drawn", 2, "--seeds", 0]
    places = ["--cache", tmp_path / "cache", "--out", out]
    recipe = quick_recipe(tmp_path, concept="dog")
    said = erasure(
        *("erase", "demo", "--concept", "church", "--recipe", recipe, *flags, *places, "--json")
    )
    assert said.code == 0, said.err
    outcome = json.loads(said.out)
    assert outcome["unselected_identical"] is True
    assert 0 < outcome["moved"] <= outcome["selected"] == outcome["total"] // 2
    assert names(out) == RUN_FILES
    assert {Path(outcome[key]) for key in ("model", "grid", "mask", "loss", "record")} == {
        out / name for name in ("model", "grid.png", "mask.safetensors", "loss.png", "erasure.json")
    }
    used = read_recipe(str(out / "recipe.toml"))
    assert used["concept"] == "church"  # the flag's, not the file's
    assert used["method"]["steps"] == 3
    assert used["grid"]["drawing"]["steps"] == 2  # the file's, not the default
    assert used["method"]["learning_rate"] == 2e-4  # the default of the canvas
    assert record(out)["concept"] == "church"
    assert verify(out).passed
    assert read_checkpoint(out / "model").network_hash() == record(out)["result_hash"]
    assert {path.name for path in (tmp_path / "cache").iterdir()} >= {"pictures"}


def test_the_charts_of_a_run_are_drawn(tiny_run: Path) -> None:
    for name in ("loss.png", "density.png"):
        with Image.open(tiny_run / name) as chart:
            assert chart.width == 1200
            assert len(chart.convert("RGB").getcolors(1_000_000) or ()) > 20


def test_the_resolved_recipe_gives_the_same_run_again(tiny_run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    said = erasure("erase", "--recipe", tiny_run / "recipe.toml", "--out", again)
    assert said.code == 0, said.err
    assert record(again)["result_hash"] == record(tiny_run)["result_hash"]
    assert (again / "recipe.toml").read_bytes() == (tiny_run / "recipe.toml").read_bytes()
    same_results(again, tiny_run)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[EraseRecipe, Path]]:
    """The recipes and folders that `erase` was about to begin with; no run begins."""
    seen: list[tuple[EraseRecipe, Path]] = []

    def note(recipe: EraseRecipe, _: object, out: Path, **__: object) -> None:
        seen.append((recipe, out))
        raise ConfigError("enough was seen")

    monkeypatch.setattr("pipelines.jobs.erase_job.run_erasure", note)
    return seen


def test_the_seed_flag_is_the_seed_of_the_whole_run(
    tiny_run: Path, asked: list[tuple[EraseRecipe, Path]]
) -> None:
    assert erasure("erase", "--recipe", tiny_run / "recipe.toml", "--seed", 5).code == 2
    recipe, _ = asked[0]
    assert [recipe.seed, recipe.saliency.seed, recipe.method.seed] == [5, 5, 5]


@pytest.mark.parametrize(
    ("concept", "folder"),
    [("church", "church"), ("Van Gogh / style", "van-gogh-style"), ("../..", "concept")],
)
def test_the_folder_of_a_run_is_named_after_its_concept(
    concept: str, folder: str, tiny_folder: Path, asked: list[tuple[EraseRecipe, Path]]
) -> None:
    assert erasure("erase", tiny_folder, "--concept", concept).code == 2
    assert asked[0][1] == Path("out") / folder


def test_force_replaces_a_run_and_leaves_what_no_run_wrote(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    line = ["erase", "--recipe", tiny_recipe, "--steps", 1, "--mask", "all", "--out", out]
    said = erasure(*line, "--force")
    assert said.code == 0, said.err
    assert "bit-identical" in said.out
    assert str(out / "grid.png") in said.out
    assert "train: 1 in" in said.err  # progress is no result
    assert "train" not in said.out
    assert record(out)["result_hash"] != record(tiny_run)["result_hash"]
    assert names(out) == RUN_FILES | {"notes.txt"}
    assert verify(out).passed


def test_a_mask_is_the_one_that_erase_makes(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "church.safetensors"
    said = erasure("mask", "MODEL", "--recipe", tiny_recipe, "--out", out)
    assert said.code == 2  # the model of the command line comes before the recipe's
    model = read_recipe(str(tiny_recipe))["model"]
    said = erasure("mask", model, "--recipe", tiny_recipe, "--out", out, "--json")
    assert said.code == 0, said.err
    outcome = json.loads(said.out)
    assert mask_hash(load_mask(out)) == mask_hash(load_mask(tiny_run / "mask.safetensors"))
    assert (
        outcome["selected"]
        == load_mask(out).selected
        == sum(b["selected"] for b in outcome["blocks"])
    )
    assert outcome["density"] == pytest.approx(0.5, abs=1e-4)
    with Image.open(outcome["plot"]) as picture:
        assert picture.format == "PNG"


def test_a_mask_file_is_looked_at_and_held_against_another(tiny_run: Path, tmp_path: Path) -> None:
    file = tiny_run / "mask.safetensors"
    look = erasure("mask", file)
    assert look.code == 0
    assert "church" in look.out
    assert "down.0" in look.out
    both = erasure("mask", file, "--against", file, "--plot", tmp_path / "plot.png", "--json")
    report = json.loads(both.out)
    assert report["overlap"] == {
        "both": report["selected"],
        "iou": 1.0,
        "share_of_this_in_other": 1.0,
    }
    assert names(tmp_path) == {"plot.png"}


def test_compare_draws_both_models_from_the_same_noise(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out, pictures = tmp_path / "grid.png", tmp_path / "pictures"
    prompts = ["--prompt", "an image of a church", "--prompt", "an image of a dog"]
    few = ["--seeds", "3,5", "--steps", 2, "--pictures", pictures]
    said = erasure("compare", tiny_folder, tiny_run, *prompts, *few, "--out", out, "--json")
    assert said.code == 0, said.err
    paths = json.loads(said.out)
    assert paths == {"grid": [str(out)], "record": str(out.with_suffix(".json"))}
    drawn = json.loads(Path(paths["record"]).read_text(encoding="utf-8"))
    assert "church" in json.dumps(drawn)
    files = ["000-seed3.png", "000-seed5.png", "001-seed3.png", "001-seed5.png"]
    for side in ("before", "after"):
        assert sorted(names(pictures / side)) == files
    same = erasure(*("compare", tiny_folder, tiny_folder, *prompts, *few, "--out", out, "--force"))
    assert same.code == 0
    for file in files:
        before, after = (pictures / side / file for side in ("before", "after"))
        assert before.read_bytes() == after.read_bytes()


def test_a_comparison_that_was_cut_among_its_pictures_has_no_record(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.run.comparing.Comparison.save_pictures", cut)
    line = ("compare", tiny_folder, tiny_folder, "--prompt", "a church", "--steps", 1)
    few = ("--seeds", "0", "--pictures", tmp_path / "pictures", "--out", tmp_path / "grid.png")
    assert_told(erasure(*line, *few), 1, "interrupted")
    assert not (tmp_path / "grid.png").exists()
    assert not (tmp_path / "grid.json").exists()


@pytest.mark.crossed
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", None])
@pytest.mark.parametrize("layout", ["diffusers", "single-file"])
def test_exports_hold_the_type_asked_for_and_verify(
    tiny_run: Path, tmp_path: Path, layout: str, dtype: str | None
) -> None:
    single = layout == "single-file"
    out = tmp_path / ("church.safetensors" if single else "church")
    kind = ["--dtype", dtype] if dtype else []
    said = erasure("export", tiny_run, "--to", layout, *kind, "--out", out, "--json")
    assert said.code == 0, said.err
    hashes = json.loads(said.out)
    file = out if single else out / "unet" / UNET.name
    wanted = {"fp32": "F32", "fp16": "F16", "bf16": "BF16", None: "F32"}[dtype]
    with safe_open(file, framework="pt") as opened:
        assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {wanted}
        assert opened.metadata()["erasure.concept"] == "church"
    assert read_checkpoint(out).network_hash() == hashes["UNet"]
    checked = erasure("verify", out, "--json")
    assert checked.code == 0, checked.err
    assert json.loads(checked.out)["verified"] is True


def test_an_export_of_another_model_than_ours_is_the_model(
    tiny_folder: Path, tmp_path: Path
) -> None:
    file, folder = tmp_path / "sd.safetensors", tmp_path / "sd"
    assert erasure("export", tiny_folder, "--title", "Tiny", "--out", file).code == 0
    assert erasure("export", file, "--to", "diffusers", "--out", folder).code == 0
    for part in ("unet", "vae", "text_encoder"):
        one, other = (read_checkpoint(path).components[part] for path in (tiny_folder, folder))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_ema_copy_does_not_bring_the_concept_back(
    tiny_run: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    single, with_ema, clean = (tmp_path / f"{name}.safetensors" for name in ("a", "ema", "clean"))
    assert erasure("export", tiny_folder, "--out", single).code == 0
    weights = load_file(single)
    copies = {
        f"model_ema.{name.removeprefix('model.').replace('.', '')}": weight.clone()
        for name, weight in weights.items()
        if name.startswith("model.diffusion_model.")
    }
    with safe_open(single, framework="pt") as file:
        save_file({**weights, **copies}, with_ema, file.metadata())
    mask = ["--mask", tiny_run / "mask.safetensors", "--recipe", tiny_run / "recipe.toml"]
    said = erasure("erase", with_ema, *mask, "--steps", 1, "--out", tmp_path / "run")
    assert said.code == 0, said.err
    assert erasure("export", tmp_path / "run", "--out", clean).code == 0
    with safe_open(clean, framework="pt") as file:
        assert set(file.keys()) == set(weights)


def test_verify_finds_a_weight_that_was_changed(tiny_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "church.safetensors"
    assert erasure("export", tiny_run, "--out", file).code == 0
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    said = erasure("verify", file, "--json")
    assert said.code == 1
    assert json.loads(said.out)["verified"] is False
    assert said.err.startswith(f"erasure: {file} is not what it says: ")


def same_results(one: Path, other: Path) -> None:
    """Weights, mask, losses and picture byte by byte; headers hold dates."""
    assert record(one)["result_hash"] == record(other)["result_hash"]
    for file in (UNET, Path("mask.safetensors")):
        assert data_hash(one / file) == data_hash(other / file), file
    for name in ("loss.csv", "grid.png"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_run_stopped_by_ctrl_c_between_steps_ends_as_the_unbroken_one(
    twice_saved: Path, tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(twice_saved, cut)
    line = ["erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut]
    said = erasure(*line)  # neither --resume nor --force
    assert said.code == 2
    assert "or --force to replace it" in said.err
    said = erasure(*line, "--resume")
    assert said.code == 0, said.err
    assert names(cut) == RUN_FILES
    same_results(tiny_run, cut)


def states(run: Path) -> dict[str, int]:
    """Steps of the states that are there."""
    return {
        without_owners(path.name): len(load_file(path)["history"])
        for path in sorted(run.glob("state*"))
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("state.safetensors.old", {"state.safetensors": 1, "state.safetensors.part": 2}),
        ("state.safetensors", {"state.safetensors.old": 1, "state.safetensors.part": 2}),
    ],
)
def test_a_run_killed_while_it_saves_ends_as_the_unbroken_one(
    name: str, left: dict[str, int], tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    line = ["erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut]
    died = forked(run_and_die, name, 1 if name.endswith(".old") else 2, *line)
    assert died.code == -signal.SIGKILL, died.err
    assert states(cut) == left
    said = erasure(*line, "--resume")
    assert said.code == 0, said.err
    assert names(cut) == RUN_FILES
    same_results(tiny_run, cut)


def interrupted(step: int, *line: object) -> Said:
    """Run a command line that Ctrl-C ends after a step."""
    take = MaskedTrainer._taken

    def take_and_interrupt(self: MaskedTrainer, work: Work) -> None:
        take(self, work)
        if self.done == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MaskedTrainer, "_taken", take_and_interrupt)
        return erasure(*line)


@pytest.fixture(scope="module")
def twice_saved(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that Ctrl-C ended after its second step of three; do not write into it."""
    cut = tmp_path_factory.mktemp("twice-saved") / "cut"
    said = interrupted(2, "erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut)
    assert said.code == 1
    assert said.err.splitlines()[-1] == (
        "erasure: interrupted; what was finished is kept, and the same command with --resume "
        "goes on"
    )
    assert not list(cut.parent.rglob("*.part"))
    assert states(cut) == {"state.safetensors": 2, "state.safetensors.old": 1}
    return cut


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.default("flip_a_bit")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_bit, "is damaged (its checksum differs)"),
        (cut_short, "is not a training state"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_run_whose_last_state_is_damaged_goes_on_from_the_one_before(
    damage: Callable[[Path], None],
    words: str,
    twice_saved: Path,
    tiny_run: Path,
    tiny_recipe: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(twice_saved, cut)
    damage(cut / "state.safetensors")
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut, "--resume")
    assert said.code == 0, said.err
    (warning,) = caplog.messages
    assert warning.startswith(f"{cut / 'state.safetensors'} {words}")
    assert warning.endswith(", so the one before it, of step 1, is used")
    assert names(cut) == RUN_FILES
    same_results(tiny_run, cut)


def test_a_run_whose_states_are_both_damaged_is_told_so(
    twice_saved: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(twice_saved, cut)
    flip_a_bit(cut / "state.safetensors")
    cut_short(cut / "state.safetensors.old")
    line = ["erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut]
    said = erasure(*line, "--resume")
    assert said.code == 1
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith(f"erasure: {cut / 'state.safetensors'} is damaged (its checksum")
    assert "and the one before it, state.safetensors.old, is not a training state" in sentence
    assert sentence.endswith("; delete both to start anew")
    assert "interrupted" in interrupted(1, *line, "--force").err
    assert len(load_file(cut / "state.safetensors")["history"]) == 1  # it began anew


def test_a_run_killed_as_its_model_is_put_in_place_can_be_resumed(
    tiny_run: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(tiny_run, cut)
    (cut / "erasure.json").unlink()  # written last
    part = left_by_the_dead(cut / "model")
    part.unlink()
    (cut / "model").rename(part)
    said = erasure("erase", "--recipe", tiny_recipe, "--steps", 3, "--out", cut, "--resume")
    assert said.code == 0, said.err
    assert names(cut) == RUN_FILES
    same_results(tiny_run, cut)


@pytest.mark.parametrize("as_json", [True, False])
def test_the_demo_tells_what_is_recognised_before_and_after(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"ua": wilson(0, 40), "ira": wilson(39, 40), "cra": wilson(38, 40)}
    after = before | {"ua": wilson(39, 40)}
    summary = Summary(verdict="church is not recognised", after=after, before=before)
    record = ModelRecord(name="demo", hash="0", family="sd1")
    results = Results(
        suite=SuiteRecord(name="csv", source="x", cases=80, prompts_hash="0"),
        erased=("church",),
        models=Models(after=record, before=record),
        protocol=EvaluationProtocol(
            scheduler="ddim",
            steps=25,
            guidance=2.5,
            precision="fp32",
            width=64,
            height=64,
            batch_size=48,
            seeds="0-4",
            judges={},
        ),
        summary=summary,
        unusable=UnusableImages(after=Unusable()),
        images=(),
    )
    erased = Erased(tmp_path, tmp_path / "model", 5, 4, 10, True, {"train": 1.0})
    made = Demo(erased, results, {"grid": tmp_path / "grid.png"})
    monkeypatch.setattr("pipelines.jobs.demo_job.run_demo", lambda *_, **__: made)
    said = erasure("demo", "--out", tmp_path, *(["--json"] if as_json else []))
    assert said.code == 0, said.err
    attack = f"erasure audit {tmp_path} --concept church --against demo --out "
    if as_json:
        outcome = json.loads(said.out)
        assert outcome["church recognised"] == {"before": 1.0, "after": 0.025, "pictures": 40}
        assert outcome["paths"] == {"grid": str(tmp_path / "grid.png")}
        assert shlex.join(outcome["audit"]) == f"{attack}{tmp_path / 'audit'}"
    else:
        assert f"{attack}{tmp_path / 'audit'}" in said.out
        assert re.search(r"church recognised .*100\.0 %.*2\.5 %.*40", said.out)
        assert "bit-identical" in said.out
        assert "grid.png" in said.out


def test_a_command_to_type_names_the_program_as_it_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "erasure"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["bin/erasure"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert program_as_called() == ["bin/erasure"]  # as `make demo` calls it
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_as_called() == ["erasure"]
    monkeypatch.setattr("sys.argv", ["/x/pipelines/cli.py"])
    assert program_as_called() == ["python", "-m", "pipelines.cli"]


@pytest.mark.parametrize(
    "name",
    [None, *_COMMANDS, *(f"{group} {name}" for group, (_, c) in _GROUPS.items() for name in c)],
)
def test_help_fits_the_terminal_and_ends_with_an_example(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = name.split() if name else []
    said = erasure(*words, "--help")
    assert said.code == 0
    assert said.err == ""
    assert max(map(len, said.out.splitlines())) <= 80
    example = said.out.rsplit("Example:\n", 1)[1].replace("\\\n", " ").split()
    assert example[: 1 + max(1, len(words))] == ["erasure", *(words or ["erase"])]
    assert "..." not in said.out.partition("Commands:")[2]


@pytest.mark.parametrize("group", _GROUPS)
def test_the_list_of_a_group_says_each_command_in_a_whole_sentence(
    group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    listed = erasure(group, "--help").out.partition("Commands:")[2]
    assert all(name in listed for name in _GROUPS[group][1])
    assert "..." not in listed


def test_the_list_of_commands_says_what_the_commands_themselves_would() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.cli._outlined", _spoken)
        whole = erasure("--help")
    outline = erasure("--help")
    assert outline.code == 0
    assert outline.out == whole.out


def test_help_builds_no_command_and_waits_for_no_library() -> None:
    # What takes time: `erasure --help` is to be there in half a second.
    slow = ("diffusers", "importlib.metadata", "matplotlib", "numpy", "rich", "torch")
    code = f"""
import sys
from pipelines import cli
from pipelines.process.given_once import GivenOnce
params = []
build = GivenOnce.__init__
GivenOnce.__init__ = lambda self, *a, **k: (params.extend(k["params"]), build(self, *a, **k))[1]
sys.argv = ["erasure", "--help"]
try:
    cli.main()
finally:
    print([name for name in {slow} if name in sys.modules], params, file=sys.stderr)
"""
    said = command("-c", code)
    assert (said.code, said.err.strip()) == (0, "[] []")


def test_the_shell_completes_options() -> None:
    asked = {"_ERASURE_COMPLETE": "complete_bash", "COMP_WORDS": "erasure verify --js"}
    start = "import sys; sys.argv = ['erasure']; from pipelines.cli import main; main()"
    said = command("-c", start, COMP_CWORD=2, **asked)
    assert said.out.split() == ["--json"], said.err
