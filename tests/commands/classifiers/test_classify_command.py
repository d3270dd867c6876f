"""`erasure classify train`, `unlearn`, `evaluate` and `bench`, as they are typed."""

import json
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.console import command

from erasure.classifiers import TrainingRecipe
from erasure.classifiers.exact.trees.forest import ExtraTrees, Forest
from erasure.errors import ConfigError
from pipelines.classifiers import exact_models
from pipelines.classifiers.data.data import SOURCES, DataConfig, DataFacts
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.data.raw_data import RawData, images
from pipelines.classifiers.evaluation import _require_twin
from pipelines.classifiers.exact_folder import open_exact
from pipelines.classifiers.measuring import measure
from pipelines.classifiers.model_file import ClassifierRecord, LoadedClassifier
from pipelines.classifiers.networks.architectures import ModelConfig
from pipelines.cli import _spoken
from pipelines.commands.classifiers.classify import COMMANDS

pytest.importorskip("sklearn")


@dataclass(frozen=True)
class Said:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


def classify(*arguments: object) -> Said:
    """Run one command of the group in this process, with the errors and codes of the real one."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    for name, (function, _) in COMMANDS.items():
        app.command(name)(_spoken(function))
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app(list(map(str, arguments)))
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


QUICK = ("--data", "digits", "--arch", "mlp", "--width", 0.1, "--epochs", 3, "--examples", 300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small original; do not write beside it."""
    path = tmp_path_factory.mktemp("classify") / "digits.safetensors"
    said = classify("train", *QUICK, "--out", path, "--device", "cpu")
    assert said.code == 0, said.err
    return path


@pytest.fixture(scope="module")
def forgotten(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make a copy of the trained classifier by each method, which has forgotten a tenth."""
    folder = tmp_path_factory.mktemp("forgotten")
    paths = {name: folder / f"{name}.safetensors" for name in ("salun", "retrain")}
    for name, path in paths.items():
        said = classify("unlearn", trained, "--method", name, "--out", path)
        assert said.code == 0, said.err
    return paths


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        words: dict[str, str] = file.metadata()
        return words


def test_training_writes_a_file_that_says_how_it_was_made(trained: Path) -> None:
    words = header(trained)
    assert words["format"] == "erasure-classifier 1"
    config = json.loads(words["config"])
    assert config["data"]["name"] == "digits"
    assert config["training"]["epochs"] == 3
    assert config["facts"]["classes"] == list("0123456789")
    assert words["base"] == ""
    assert len(words["hash"]) == 64


def test_training_again_gives_the_same_bytes_and_another_seed_others(
    trained: Path, tmp_path: Path
) -> None:
    hashes = []
    for seed in (0, 1):
        out = tmp_path / f"{seed}.safetensors"
        said = classify("train", *QUICK, "--seed", seed, "--out", out, "--json")
        hashes.append(said.json["hash"])
        assert said.json["examples"] == 300
    assert hashes[0] == header(trained)["hash"]
    assert hashes[1] != hashes[0]


def test_a_recipe_says_what_options_do_not(tmp_path: Path) -> None:
    recipe = tmp_path / "run.toml"
    recipe.write_text(
        'seed = 3\n[data]\nname = "digits"\ntrain = 100\n[model]\narchitecture = "mlp"\n'
        "width = 0.1\n[training]\nepochs = 9\n"
    )
    out = tmp_path / "model.safetensors"
    said = classify("train", "--recipe", recipe, "--epochs", 1, "--out", out, "--json")
    assert said.json["examples"] == 100
    config = json.loads(header(out)["config"])
    assert (config["seed"], config["training"]["epochs"]) == (3, 1)
    assert config["training"]["batch_size"] == 128


def test_forgetting_keeps_the_unselected_weights_and_names_its_base(
    trained: Path, forgotten: dict[str, Path]
) -> None:
    before, after = load_file(trained), load_file(forgotten["salun"])
    moved = sum(int((before[k] != after[k]).sum()) for k in before)
    total = sum(v.numel() for k, v in before.items() if k.startswith("network"))
    config = json.loads(header(forgotten["salun"])["config"])
    assert 0 < moved == config["moved"] <= total // 2
    assert header(forgotten["salun"])["base"] == header(trained)["hash"]
    assert (config["method"], config["forget"], config["forget_seed"]) == ("salun", "10%", 0)
    assert json.loads(config["settings"])["density"] == 0.5


def test_what_was_forgotten_is_told_in_words(trained: Path, tmp_path: Path) -> None:
    for mask, words in ((), "none, as there is no mask"), (("--mask", "random"), "bit-identical"):
        line = ("unlearn", trained, "--method", "ft", "--set", "epochs=1", *mask)
        said = classify(*line, "--out", tmp_path / f"{len(mask)}.safetensors")
        assert said.code == 0, said.err
        rows = dict(line.split(maxsplit=1) for line in said.out.splitlines())
        assert rows["unselected"] == words
        assert "epochs 1" in rows["settings"]
        assert not {"{", "'"} & set(said.out)
        assert "None" not in said.out


def test_settings_masks_and_seeds_reach_the_method(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "forgot.safetensors"
    said = classify(
        *("unlearn", trained, "--out", out, "--method", "ft", "--forget", "class:3", "--json"),
        *("--set", "lr=0.05", "--set", "epochs=1", "--set", "schedule=cosine"),
        *("--mask", "random", "--density", 0.25, "--seed", 4),
    )
    assert said.code == 0, said.err
    settings = said.json["settings"]
    assert (settings["lr"], settings["epochs"], settings["schedule"]) == (0.05, 1, "cosine")
    assert (settings["mask"], settings["density"]) == ("random", 0.25)
    assert said.json["unselected identical"] is True
    assert said.json["forgotten"] + said.json["retained"] == 300


def test_evaluation_gives_four_scores_and_the_gap(
    forgotten: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    said = classify(
        *("evaluate", forgotten["salun"], "--retrained", forgotten["retrain"]),
        *("--out", out, "--json"),
    )
    assert said.code == 0, said.err
    scores = said.json
    gaps = [abs(scores[name] - scores["retrained"][name]) for name in ("UA", "RA", "TA", "MIA")]
    assert scores["Avg Gap"] == pytest.approx(sum(gaps) / 4, abs=1e-3)
    assert {"MIA by entropy", "MIA by correctness", "MIA by modified-entropy"} <= set(scores)
    assert json.loads(out.read_text()) == scores


def test_an_original_is_evaluated_on_the_set_that_is_named(trained: Path) -> None:
    said = classify("evaluate", trained, "--forget", "class:0", "--exact-attack", "--json")
    assert (said.code, said.json["method"], said.json["forget"]) == (0, "none", "class:0")


def test_shadow_models_attack_each_example(forgotten: dict[str, Path]) -> None:
    said = classify("evaluate", forgotten["salun"], "--shadows", 4, "--json")
    assert said.code == 0, said.err
    attack = said.json["likelihood ratio"]
    assert attack["shadow models"] == 4
    assert 0 <= attack["AUC, online"] <= 100
    said = classify("evaluate", forgotten["salun"], "--shadows", 2)
    assert (said.code, "give 4 or more" in said.err) == (2, True)


def test_a_benchmark_prints_its_table(tmp_path: Path) -> None:
    said = classify(
        *("bench", "--data", "digits", "--arch", "mlp", "--width", 0.1, "--epochs", 2),
        *("--forget", "10%", "--methods", "ft,ga", "--seeds", "0", "--out", tmp_path / "bench"),
    )
    assert said.code == 0, said.err
    assert "### digits 1151/mlp 0.1/10%" in said.out
    assert (tmp_path / "bench" / "gap.png").is_file()
    again = classify(
        *("bench", "--recipe", tmp_path / "bench" / "bench.toml", "--json"),
        *("--out", tmp_path / "bench"),
    )
    assert [row["method"] for row in again.json["rows"]] == ["retrain", "ft", "ga"]


@pytest.mark.parametrize("method", ["certified", "extra-trees", "sisa"])
def test_exact_methods_train_forget_and_are_checked(method: str, tmp_path: Path) -> None:
    settings: dict[str, tuple[object, ...]] = {
        "certified": ("--set", "seed=0"),  # drawn noise spends the whole budget now and then
        "extra-trees": ("--set", "trees=3", "--set", "max_depth=4"),
        "sisa": ("--set", "shards=2", "--set", "slices=1"),
    }
    base, out = tmp_path / "base", tmp_path / "out"
    network = () if method == "sisa" else ("--arch", "--width", "--epochs")
    quick = [
        part
        for name, value in zip(QUICK[::2], QUICK[1::2], strict=True)
        for part in (name, value)
        if name not in network
    ]
    said = classify("train", *quick, "--method", method, *settings[method], "--out", base)
    assert said.code == 0, said.err
    noisy = method == "certified"
    assert ("not cryptographically secure" in said.out) == noisy
    record = json.loads((base / "record.json").read_text(encoding="utf-8"))
    assert ("from a seed that was given" in record["noise"]) == noisy
    before = {path.name: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    said = classify("unlearn", base, "--forget", "2%", "--out", out, "--audit", "--json")
    assert said.code == 0, said.err
    assert said.json["forgotten"] == 6
    assert said.json["audit passed"] is True
    assert {path.name: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before
    said = classify("evaluate", out, "--json")
    assert (said.code, said.json["forget"]) == (0, "2%")
    said = classify("evaluate", out, "--forget", "class:0", "--forget-seed", 1)
    assert (said.code, "class:0 is a class and no random share" in said.err) == (2, True)


def test_losses_of_private_batches_are_not_left_beside_the_model(tmp_path: Path) -> None:
    pytest.importorskip("opacus")
    few = ("--data", "digits", "--arch", "mlp", "--width", 0.1, "--epochs", 1, "--examples", 40)
    base, out = tmp_path / "base", tmp_path / "out"
    said = classify("train", *few, "--method", "dp-sgd", "--out", base)
    assert said.code == 0, said.err
    assert {path.name for path in base.iterdir()} == {"ensemble.safetensors", "record.json"}
    (base / "dp-sgd.state").write_bytes(b"of a folder of before")
    said = classify("unlearn", base, "--forget", "10%", "--out", out)
    assert said.code == 0, said.err
    assert {path.name for path in out.iterdir()} == {"ensemble.safetensors", "record.json"}


@pytest.mark.parametrize("kind", ["image", "table"])
def test_nothing_of_a_point_stays_in_how_pictures_are_scaled_and_the_rest_is_said(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dark = torch.arange(60 * 16).view(60, 4, 4).remainder(7).byte()
    pictures = RawData("image", images(dark, [n % 3 for n in range(60)]), None, tuple("abc"), "")
    monkeypatch.setitem(SOURCES, "fashion-mnist", lambda _: pictures)
    name = "fashion-mnist" if kind == "image" else "digits"
    few = ("--data", name, "--arch", "mlp", "--width", 0.1, "--epochs", 1, "--examples", 40)
    base, out = tmp_path / "base", tmp_path / "out"
    one = ("--method", "sisa", "--set", "shards=1", "--set", "slices=1")
    said = classify("train", *few, *one, "--out", base)
    assert said.code == 0, said.err
    weights = load_file(base / "ensemble.safetensors")
    assert bool((weights["shard-000.mean"] == 0.5).all()) == (kind == "image")
    assert bool((weights["shard-000.deviation"] == 0.5).all()) == (kind == "image")
    said = classify("unlearn", base, "--forget", "10%", "--out", out, "--json")
    assert said.code == 0, said.err
    assert ("mean and deviation of each column" in said.json["statement"]) == (kind == "table")


def test_what_left_an_exact_model_before_is_not_scored_as_what_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--data", "digits", "--examples", 100, "--method", "extra-trees", "--set", "trees=2")
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert classify("train", *few, "--out", tmp_path / "base").code == 0
    assert classify("unlearn", tmp_path / "base", "--forget", "20%", "--out", once).code == 0
    said = classify("unlearn", once, "--forget", "class:0", "--out", twice, "--json")
    assert said.code == 0, said.err
    sizes = []

    def looked(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401
        split = arguments[2]
        sizes.append((len(split.forget), len(split.retain)))
        return measure(*arguments, **more)

    monkeypatch.setattr(exact_models, "measure", looked)
    said = classify("evaluate", twice, "--json")
    assert said.code == 0, said.err
    model, _, _ = open_exact(twice)
    assert sizes == [(10, len(model.ids))]
    assert len(model.ids) < 80


def test_training_by_an_exact_method_needs_no_machine_of_an_attack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)  # as where scikit-learn is not installed
    few = ("--data", "digits", "--examples", 100, "--method", "extra-trees", "--set", "trees=2")
    said = classify("train", *few, "--out", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    assert said.json["train accuracy"] > said.json["test accuracy"] > 10
    assert (tmp_path / "out" / "record.json").is_file()


def test_an_exact_method_that_is_cut_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    few = ("--data", "digits", "--examples", 200, "--method", "extra-trees", "--set", "trees=2")
    assert classify("train", *few, "--out", base).code == 0

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(Forest, "forget", cut)
    monkeypatch.setattr(ExtraTrees, "fit", cut)
    for line in (
        # A copy of the model that has forgotten nothing would be taken for one that has.
        ("unlearn", base, "--forget", "2%", "--out", out),
        ("train", *few, "--force", "--out", base),
    ):
        said = classify(*line)
        assert (said.code, "nothing was half-written" in said.err) == (1, True)
        left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert left == before
    assert not out.exists()


def test_help_needs_no_torch() -> None:
    module = "pipelines.commands.classifiers.classify"
    script = f"import sys; import {module}; assert 'torch' not in sys.modules"
    assert command("-c", script).code == 0


# Bad input


def test_what_is_there_is_kept_without_force(trained: Path) -> None:
    for arguments in (("train", *QUICK), ("unlearn", trained)):
        said = classify(*arguments, "--out", trained)
        assert (said.code, "--force" in said.err) == (2, True)
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "digit", "--out", "x.safetensors"], "the nearest is digits"),
        (["train", "--data", "digits", "--out", "x.safetensors"], "take mlp"),
        (["train", *QUICK, "--lr", "0", "--out", "x.safetensors"], "lr is 0"),
        (["train", *QUICK, "--out", "x.pt"], "ends in .safetensors"),
        (["train", *QUICK, "--set", "a=1", "--out", "x.safetensors"], "give --method"),
        (["train", *QUICK, "--method", "sissa", "--out", "x"], "the nearest is sisa"),
        (["train", *QUICK, "--method", "sisa", "--set", "shard=1", "--out", "x"], "shards"),
        (["unlearn", "none.safetensors", "--out", "x.safetensors"], "there is no file"),
        (["evaluate", "none.safetensors"], "there is no file"),
        (["evaluate", "none.safetensors", "--shadows", "-1"], "-1 shadow models are too few"),
        (
            [
                *("train", "--method", "dp-sgd", "--out", "x"),
                *("--set", "noise=1", "--set", "epsilon=2"),
            ],
            "--set epsilon=2 would not be read, as noise is given",
        ),
        (["bench", "--recipe", "large", "--out", "x"], "there is no recipe 'large'"),
        (["bench", "--methods", "salum", "--out", "x"], "the nearest"),
        (["bench", "--seeds", "one", "--out", "x"], "seeds is 'one'"),
        (["bench", "--width", "0.5", "--out", "x"], "--width is given without --arch"),
        (["bench", "--data-path", "y", "--out", "x"], "--data-path is given without --data"),
        (["bench", "--tune-seeds", "2", "--out", "x"], "--tune-seeds is given without --tune"),
    ],
)
def test_wrong_input_is_one_clear_sentence(
    arguments: list[object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = classify(*arguments)
    assert said.code == 2
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "salum"], "did you mean 'salun'"),
        (["--set", "lr"], "write it as lr=0.01"),
        (["--set", "rate=1"], "no setting 'rate'"),
        (["--set", "lr=-1"], "lr is -1"),
        (["--forget", "100%"], "between 0% and 100%"),
        (["--forget", "class:cat"], "no class 'cat'"),
        (["--mask", "some"], "give salient, random"),
        (["--audit"], "--audit is of the exact methods"),
        (["--data-path", "somewhere"], "comes with scikit-learn"),
    ],
)
def test_forgetting_that_makes_no_sense_is_refused(
    arguments: list[object], message: str, trained: Path, tmp_path: Path
) -> None:
    said = classify("unlearn", trained, *arguments, "--out", tmp_path / "x.safetensors")
    assert (said.code, message in said.err) == (2, True), said.err
    assert len(said.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_has_forgotten_is_not_made_to_again(
    forgotten: dict[str, Path], tmp_path: Path
) -> None:
    said = classify("unlearn", forgotten["salun"], "--out", tmp_path / "x.safetensors")
    assert (said.code, "give the original" in said.err) == (2, True)


def test_gaps_to_a_model_of_another_network_or_training_are_refused(
    forgotten: dict[str, Path], tmp_path: Path
) -> None:
    original, retrained = tmp_path / "other.safetensors", tmp_path / "retrained.safetensors"
    for change in (("--epochs", 1), ("--width", 0.05)):
        said = classify("train", *QUICK, *change, "--force", "--out", original)
        assert said.code == 0, said.err
        said = classify("unlearn", original, "--method", "retrain", "--force", "--out", retrained)
        assert said.code == 0, said.err
        said = classify("evaluate", forgotten["salun"], "--retrained", retrained)
        assert (said.code, "of another network or training" in said.err) == (2, True)


def test_gaps_to_the_wrong_model_are_refused(trained: Path, forgotten: dict[str, Path]) -> None:
    said = classify("evaluate", forgotten["salun"], "--retrained", trained)
    assert (said.code, "give one of retrain" in said.err) == (2, True)
    said = classify(
        *("evaluate", forgotten["salun"], "--forget", "class:1"),
        *("--retrained", forgotten["retrain"]),
    )
    assert (said.code, "seed 0; give one of retrain, class:1" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("made", "asked", "fits"),
    [
        (("class:1", 5), ("class:1", 0), True),  # no seed chooses a class
        (("class:1", 0), ("class:bag", 0), False),
        (("class:1", 0), ("class:dress", 0), True),
        (("10%", 0), (" 10.0 %", 0), True),
        (("10%", 1), ("10%", 0), False),
        (("10%", 1), ("class:1", 0), False),
    ],
)
def test_a_retrained_model_is_known_by_the_examples_that_it_never_saw(
    made: tuple[str, int], asked: tuple[str, int], fits: bool
) -> None:
    facts = DataFacts("image", (1, 4, 4), ("bag", "dress"), (0.5,), (1.0,))
    plain = ClassifierRecord(
        data=DataConfig(),
        model=ModelConfig(),
        facts=facts,
        training=TrainingRecipe(),
        fingerprint="0",
        seed=0,
    )
    model = LoadedClassifier(torch.nn.Linear(1, 1), plain, "")
    twin = replace(plain, method="retrain", forget=made[0], forget_seed=made[1])
    retrained = replace(model, record=twin)
    refused = nullcontext() if fits else pytest.raises(ConfigError, match="give one of retrain")
    with refused:
        _require_twin(retrained, model, ForgetSetting.parse(asked[0]), asked[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "has the format 'other'"),
        ({"hash": "0" * 64}, "not those its header names"),
        ({"config": "{"}, "cannot be read"),
        ({"config": "{}"}, "cannot be read"),
    ],
)
def test_damaged_files_are_refused(
    change: dict[str, str], message: str, trained: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.safetensors"
    save_file(load_file(trained), path, header(trained) | change)
    said = classify("evaluate", path)
    assert (said.code, message in said.err) == (2, True), said.err


def test_a_function_that_a_file_names_is_run_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\n"
        "def make(facts, width):\n"
        "    return nn.Linear(facts.shape[0], len(facts.classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "own.safetensors"
    said = classify(
        *("train", "--data", "digits", "--arch", "own_network:make", "--epochs", 1, "--out", path)
    )
    assert said.code == 0, said.err
    said = classify("evaluate", path)
    assert (said.code, "if you trust the file" in said.err) == (2, True)
    assert classify("evaluate", path, "--allow-code").code == 0


class Scaled(torch.nn.Module):
    """A layer with a parameter of its own, which cannot reset itself."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((64,), 3.0))
        self.head = torch.nn.Linear(64, classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(rows.flatten(1) * self.scale)
        return answer


def scaled(facts: DataFacts, width: float) -> torch.nn.Module:
    return Scaled(len(facts.classes))


@pytest.mark.parametrize("method", ["retrain", "bad-teacher"])
def test_a_users_own_network_is_made_anew_by_its_function(method: str, tmp_path: Path) -> None:
    base, out = tmp_path / "base.safetensors", tmp_path / "out.safetensors"
    quick = ("--data", "digits", "--examples", 100, "--epochs", 1, "--lr", 1e-6)
    said = classify("train", *quick, "--arch", f"{__name__}:scaled", "--out", base)
    assert said.code == 0, said.err
    said = classify("unlearn", base, "--allow-code", "--method", method, "--out", out)
    assert said.code == 0, said.err
    assert load_file(out)["network.scale"].mean() == pytest.approx(3.0, abs=0.01)


def test_a_cut_file_is_refused(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(trained.read_bytes()[:1000])
    said = classify("evaluate", path)
    assert (said.code, "damaged or no safetensors file" in said.err) == (2, True)


def test_other_data_than_the_model_was_trained_on_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    config = json.loads(header(trained)["config"])
    config["data"]["seed"] = 7
    path = tmp_path / "other.safetensors"
    save_file(load_file(trained), path, header(trained) | {"config": json.dumps(config)})
    said = classify("evaluate", path)
    assert (said.code, "not those the model was trained on" in said.err) == (2, True)


def test_a_run_that_breaks_is_a_failure_and_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    said = classify(
        *("unlearn", trained, "--method", "ga", "--set", "lr=1e30", "--set", "epochs=50"),
        *("--out", tmp_path / "x.safetensors"),
    )
    assert (said.code, len(said.err.strip().splitlines())) == (1, 1), said.err
    assert list(tmp_path.iterdir()) == []


def test_files_of_weights_are_read_on_any_machine(trained: Path) -> None:
    assert {v.dtype for v in load_file(trained).values()} == {torch.float32}
