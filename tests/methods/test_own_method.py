"""A user's own method, as docs/extending.md shows it, from the command line."""

import json
import re
import shutil
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from support.console import erasure
from support.tiny import toy_data

from erasure import verify
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.editing.own_code import imported_hash
from erasure.editing.run_key import code_of, run_key
from erasure.masks.masks import all_mask
from erasure.methods import SalUn
from pipelines.configs.method_table import load_method
from pipelines.configs.recipe_files import load_toml

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> str:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    file = tmp_path_factory.mktemp("own") / "halfway.py"
    file.write_text(code[1], encoding="utf-8")
    return f"{file}:Halfway"


def erased(model: Path, method: str, out: Path, *more: object) -> dict[str, Any]:
    said = erasure(
        *("erase", model, "--concept", "church", "--method", method, "--out", out, "--seeds", 0),
        *("--steps", 2, "--batch-size", 2, "--lr", 1e-3, "--device", "cpu", "--json", *more),
    )
    assert said.code == 0, said.err
    return json.loads(said.out)


@pytest.mark.slow
def test_the_page_s_method_erases_and_its_recipe_runs_again(
    tiny_folder: Path, halfway: str, tmp_path: Path
) -> None:
    one = tmp_path / "one"
    report = erased(tiny_folder, halfway, one, "--set", "share=0.7")
    assert report["unselected_identical"] is True
    assert 0 < report["moved"] <= report["selected"]
    assert verify(one).passed
    recipe = load_toml(one / "recipe.toml")
    assert recipe["code"] == halfway
    assert recipe["method"] | {"name": "halfway", "share": 0.7, "steps": 2} == recipe["method"]
    assert (recipe["mask"], recipe["scope"]) == ("all", "xattn")  # the method's own
    again = ("erase", "--recipe", one / "recipe.toml", "--out", tmp_path / "two")
    refused = erasure(*again)
    assert (refused.code, "--allow-code" in refused.err) == (2, True)
    assert not (tmp_path / "two").exists()
    assert erasure(*again, "--allow-code").code == 0
    results = [read_checkpoint(tmp_path / run / "model").network_hash() for run in ("one", "two")]
    assert results[0] == results[1]


def test_the_page_s_method_is_shown_like_any_other(halfway: str) -> None:
    said = erasure("methods", halfway)
    assert said.code == 0, said.err
    assert "share (float, default 0.5)\n      s, the share of the replacement" in said.out
    assert "learning_rate" in said.out
    about = json.loads(erasure("methods", halfway, "--json").out)
    assert about["needs"] == ["frozen", "prompts"]
    assert about["settings"]["share"]["about"].startswith("s, the share")


def test_a_run_of_a_method_that_was_changed_is_another(
    halfway: str, tmp_path: Path, tiny_checkpoint: Checkpoint
) -> None:
    data, mask = toy_data(), all_mask(tiny_checkpoint.network)
    file = tmp_path / "own.py"

    def key() -> str:
        method = load_method(f"{file}:Halfway")()
        return run_key(tiny_checkpoint, data, mask, method)

    code = Path(halfway.rpartition(":")[0]).read_text(encoding="utf-8")
    file.write_text(code, encoding="utf-8")
    first, again = key(), key()
    file.write_text(f"{code}\nMORE = 1\n", encoding="utf-8")
    assert first == again != key()
    assert code_of(SalUn()) == ""


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("nosuch.py:Mine", "there is no file nosuch.py"),
        ("nosuchmodule:Mine", "nosuchmodule cannot be imported"),
        ("json:JSONDecoder", "no frozen dataclass"),
        (":Mine", "write it as FILE.py:Class"),
        ("salum", "did you mean 'salun'"),
    ],
)
def test_what_is_no_method_is_refused(
    tiny_folder: Path, method: str, words: str, tmp_path: Path
) -> None:
    said = erasure(
        *("erase", tiny_folder, "--concept", "church", "--method", method, "--out", tmp_path / "o")
    )
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "o").exists()


IMPORTS = {  # what the file of a method says -> what decides beside it
    "import torch, numpy": [],
    "from erasure.seeds import derived_seed": [],
    "import json": [],
    "import near": ["near.py", "far.py"],
    "from near import f": ["near.py", "far.py"],
    "from pack import inner": ["pack/__init__.py", "pack/inner.py", "pack/other.py"],
    "import pack.other": ["pack/__init__.py", "pack/other.py"],
    "def f():\n    import far": ["far.py", "near.py"],
    "import missing_by_all": [],
}


@pytest.mark.parametrize("text", IMPORTS)
def test_modules_beside_a_method_decide_as_far_as_they_are_imported(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "pack").mkdir()
    modules = {
        "near.py": "import far\nimport mine",
        "far.py": "import near",
        "pack/__init__.py": "",
        "pack/inner.py": "from .other import x",
        "pack/other.py": "x = 1",
        "mine.py": text,
        "json.py": "",
        "torch.py": "",
        "erasure.py": "",
    }
    for name, content in modules.items():
        (tmp_path / name).write_text(content)
    before = imported_hash(tmp_path / "mine.py")
    assert bool(before) is bool(IMPORTS[text])
    for name in modules.keys() - {"mine.py"}:
        (tmp_path / name).write_text(f"{modules[name]}\n# another\n")
        assert (imported_hash(tmp_path / "mine.py") != before) is (name in IMPORTS[text]), name
        (tmp_path / name).write_text(modules[name])
    assert imported_hash(tmp_path / "mine.py") == before


def test_modules_of_one_name_that_change_places_make_another_hash(tmp_path: Path) -> None:
    for name, text in (("one_of_mine", "x = 1"), ("two_of_mine", "x = 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "loss.py").write_text(text)
    (tmp_path / "mine.py").write_text("import one_of_mine.loss, two_of_mine.loss\n")
    before = imported_hash(tmp_path / "mine.py")
    (tmp_path / "one_of_mine" / "loss.py").write_text("x = 2")
    assert imported_hash(tmp_path / "mine.py") != before
    (tmp_path / "two_of_mine" / "loss.py").write_text("x = 1")
    assert imported_hash(tmp_path / "mine.py") != before
    copy = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert imported_hash(copy / "mine.py") == imported_hash(tmp_path / "mine.py")


@pytest.mark.parametrize("suffix", EXTENSION_SUFFIXES + BYTECODE_SUFFIXES)
def test_a_compiled_module_beside_a_method_decides_by_its_bytes(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "mine.py").write_text("import fast_of_mine\n")
    compiled = tmp_path / f"fast_of_mine{suffix}"
    compiled.write_bytes(b"\x7fELF\0 1")
    before = imported_hash(tmp_path / "mine.py")
    assert before
    compiled.write_bytes(b"\x7fELF\0 2")
    assert imported_hash(tmp_path / "mine.py") != before


@pytest.mark.parametrize(
    "text",
    [
        f"try:\n    from {'.' * 99}far import x\nexcept ImportError:\n    pass\n",
        "import strange_of_mine\n",
        "import deep_of_mine\n",
    ],
)
def test_a_module_that_cannot_be_followed_is_neither_an_error_nor_a_warning(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    (tmp_path / "strange_of_mine.py").write_text('x = "\\d"\nimport near_of_mine\n')
    (tmp_path / "near_of_mine.py").write_text("x = 1")
    (tmp_path / "deep_of_mine.py").write_text(f"x = {'-' * 200_000}1\n")
    before = imported_hash(tmp_path / "mine.py")
    (tmp_path / "near_of_mine.py").write_text("x = 2")
    assert (imported_hash(tmp_path / "mine.py") != before) is ("strange" in text)


def test_what_was_installed_into_a_folder_of_any_name_does_not_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = tmp_path / "libraries"
    (libraries / "large_of_others").mkdir(parents=True)
    (libraries / "large_of_others" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(libraries)
    (tmp_path / "mine.py").write_text("import large_of_others\n")
    assert imported_hash(tmp_path / "mine.py")
    (libraries / "large_of_others-1.0.dist-info").mkdir()
    assert imported_hash(tmp_path / "mine.py") == ""


def test_a_run_of_a_changed_module_beside_its_method_is_another(
    tmp_path: Path, halfway: str
) -> None:
    file = tmp_path / "with_helper.py"
    text = Path(halfway.rpartition(":")[0]).read_text(encoding="utf-8")
    path = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport helper_of_halfway\n"
    (tmp_path / "helper_of_halfway.py").write_text("x = 1\n")
    file.write_text(path + text, encoding="utf-8")
    method = load_method(f"{file}:Halfway")()
    before = code_of(method)
    (tmp_path / "helper_of_halfway.py").write_text("x = 2\n")
    assert code_of(method) != before
