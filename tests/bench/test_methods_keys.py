"""What decides the key of a cell: as it was for cells that are done, and what lies behind paths."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.bench.contents import hash_of_code
from pipelines.bench.rows import Row
from pipelines.bench.settings import bench_recipe
from pipelines.bench.world import World

UCE = Row(kind="method", name="uce", mask="all")


@pytest.fixture
def opened(tiny_folder: Path) -> Callable[..., World]:
    """The world of the tiny model with other settings."""
    return lambda **tables: World(bench_recipe({"model": str(tiny_folder), **tables}))


def test_cells_that_are_done_keep_their_keys() -> None:
    """Another key lets the cells of every folder be made again, which takes days."""
    tables = {"model": "demo", "limit": 96, "neighbours": 32, "concepts": ["sketch"]}
    world = World(bench_recipe(tables))
    base = Row(kind="base", name="base")
    assert world.key(base, "sketch", 0) == "59cc809e814f431eebbf60c6f140e9d6"
    assert world.key(UCE, "sketch", 0) == "d3f1a310153ccd06d469f636a933553e"


@pytest.mark.parametrize(
    "named",
    [
        {"judges": ["class={}"]},
        {"erase": {"judge": "{}"}},
        {"attack": {"judge": "{}"}},
        {"distance": {"judge": "{}"}},
    ],
    ids=str,
)
def test_the_files_of_a_judge_that_is_a_folder_decide_the_key(
    opened: Callable[..., World], tmp_path: Path, named: dict[str, object]
) -> None:
    folder = tmp_path / "judge"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"one")
    text = {key: _filled(value, folder) for key, value in named.items()}

    def key() -> str:
        return opened(**text).key(UCE, "church", 0)

    one = key()
    assert key() == one
    (folder / ".cache").mkdir()
    (folder / ".cache" / "note").write_bytes(b"hidden")
    assert key() == one
    weights.write_bytes(b"two")  # of the same size
    assert key() != one


def _filled(value: object, folder: Path) -> object:
    if isinstance(value, dict):
        return {key: _filled(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, folder) for one in value]
    return str(value).format(folder)


def test_what_a_method_of_one_s_own_imports_decides_its_key(
    opened: Callable[..., World], tmp_path: Path
) -> None:
    file, helper = tmp_path / "mine.py", tmp_path / "helper_of_mine.py"
    file.write_text("import torch\nfrom helper_of_mine import f\n\nclass Mine: ...\n")
    row = replace(UCE, name="mine", code=f"{file}:Mine")
    alone = hash_of_code(f"{file}:Mine")
    helper.write_text("def f(): return 1\n")
    world = opened()
    one = world.key(row, "church", 0)
    assert hash_of_code(f"{file}:Mine").startswith(f"{alone}:")
    helper.write_text("def f(): return 2\n")
    assert world.key(row, "church", 0) != one


def test_a_method_in_a_module_is_known_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_mine.py").write_text("class Mine: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    one = hash_of_code("module_of_mine:Mine")
    assert one.endswith(":Mine")
    (tmp_path / "module_of_mine.py").write_text("class Mine: x = 1\n")
    assert hash_of_code("module_of_mine:Mine") != one
    assert hash_of_code("no.such_module:Mine") == "no.such_module:Mine"
