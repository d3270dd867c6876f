"""What `make comfyui` packs: complete, light, its own version of everything, and the same again."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from support.console import command

ROOT = Path(__file__).parents[2]
HEAVY = ("accelerate", "diffusers", "erasure", "huggingface_hub", "transformers", "typer")
LOADED = f"""
import asyncio, sys
from pathlib import Path
sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path({str(ROOT)!r})]
sys.path.append({str(ROOT / "tests")!r})
for name in {HEAVY!r}:
    sys.modules[name] = None
from support.comfy_stub import comfy
models = Path(sys.argv[2])
for kind in ("checkpoints", "diffusion_models", "erasure_patches"):
    (models / kind).mkdir(parents=True)
with comfy(models) as load:
    extension = asyncio.run(load(Path(sys.argv[1])).comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    print(*(node.define_schema().display_name for node in nodes), sep=", ")
"""


@pytest.fixture(scope="module")
def packer() -> ModuleType:
    spec = spec_from_file_location("pack", ROOT / "comfyui" / "pack.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def packed(packer: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = packer.pack(tmp_path_factory.mktemp("dist"))
    return path


@pytest.mark.slow
def test_the_packed_nodes_load_without_our_package_and_without_diffusers(
    packed: Path, tmp_path: Path
) -> None:
    folder = packed.parent / "concept-erasure"
    said = command("-c", LOADED, folder, tmp_path / "models", PYTHONPATH="")
    assert said.code == 0, said.err
    assert said.out.strip() == "Load Model with Erasure, Apply Erasure, Erasure Info"


def test_without_comfyui_the_folder_is_an_empty_package() -> None:
    said = command("-c", "import sys, comfyui; print(comfyui.__all__, 'torch' in sys.modules)")
    assert (said.code, said.out.strip()) == (0, "[] False")


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--out", 2)])
def test_an_option_packs_nothing(option: str, code: int, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, ROOT / "comfyui" / "pack.py", option],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == code
    assert "usage: pack.py [-h] [folder]" in said.stdout + said.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_zip_holds_what_a_registry_wants_and_no_tool(packed: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        names = set(opened.namelist())
    wanted = ("__init__.py", "pyproject.toml", "LICENSE", "README.md", ".comfyignore")
    assert {f"concept-erasure/{name}" for name in wanted} <= names
    assert len([n for n in names if n.startswith("concept-erasure/example_workflows/")]) == 4
    assert not [n for n in names if n.endswith("pack.py") or "__pycache__" in n]


def test_no_absolute_import_of_our_package_is_left(packed: Path) -> None:
    for path in (packed.parent / "concept-erasure").rglob("*.py"):
        lines = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(from|import) erasure\b", lines, re.MULTILINE), path


def test_what_a_registry_forbids_is_nowhere_in_the_nodes(packed: Path) -> None:
    # Code from texts, other programs, and the older table of nodes, which would go before these.
    calls: set[str] = set()
    modules: set[str] = set()
    names: set[str] = set()
    for path in (packed.parent / "concept-erasure").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                calls.add(node.func.id)
            elif isinstance(node, ast.Import):
                modules.update(one.name.partition(".")[0] for one in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Name):
                names.add(node.id)
    assert not calls & {"eval", "exec", "compile", "__import__"}
    assert not modules & {"subprocess", "pip", "ctypes"}
    assert not names & {"NODE_CLASS_MAPPINGS", "WEB_DIRECTORY"}


def test_the_same_sources_give_the_same_zip(
    packer: ModuleType, packed: Path, tmp_path: Path
) -> None:
    assert packer.pack(tmp_path).read_bytes() == packed.read_bytes()


def test_the_registry_gets_the_version_of_the_package() -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    theirs = tomllib.loads((ROOT / "comfyui" / "pyproject.toml").read_text(encoding="utf-8"))
    assert theirs["project"]["version"] == ours["version"]
    assert theirs["project"]["dependencies"] == []
    assert "comfyui" not in theirs["project"]["name"].lower()  # the registry's own rule


def test_a_name_that_is_no_module_is_refused(packer: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("from erasure.methods import METHODS\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"METHODS from erasure\.methods"):
        packer.closure([path])
