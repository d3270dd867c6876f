"""Holds the layers: which package may import which, wherever in a file the import stands."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ALLOWED: dict[str, set[str]] = {
    "erasure": set(),
    "prompts": set(),
    "eval": {"prompts"},
    "pipelines": {"erasure", "eval", "prompts"},
}
# Tensors in, tensors out: no pictures, no command line, no data sets.
NOT_IN_ERASURE = {"PIL", "datasets", "matplotlib", "rich", "typer"}
DYNAMIC = {"__import__", "import_module", "importorskip", "find_spec"}
SOURCES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]
MOST_MODULES = 13
"""In one folder: where a newcomer still finds what he looks for."""
TESTS = sorted((ROOT / "tests").rglob("*.py"))


@cache
def parsed(source: str) -> ast.Module:
    """The tree of a source, which is parsed once; do not change it."""
    return ast.parse(source)


def imports(tree: ast.Module, module: str) -> Iterator[tuple[str, int]]:
    """Each module named by an import in a file, absolute, with its line.

    Walks the whole tree, so imports in functions, under `TYPE_CHECKING` and by
    `import_module("name")` count too. `module` is the dotted name of the file, with
    `.__init__` for a package, against which relative imports are resolved.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name or "a package above the top", node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = function.id if isinstance(function, ast.Name) else function
            if called in DYNAMIC and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


def breaches(source: str, module: str) -> list[str]:
    """What `source`, as the file of `module`, imports against the table; empty if nothing."""
    package = module.split(".")[0]
    forbidden = set(ALLOWED) - ALLOWED[package] - {package} | {"tests", "torchvision"}
    if package == "erasure":
        forbidden |= NOT_IN_ERASURE
    return [
        f"{module}:{line} imports {name}"
        for name, line in imports(parsed(source), module)
        if name.split(".")[0] in forbidden or name == "a package above the top"
    ]


def hides_builtin_eval(source: str) -> bool:
    """Whether an import binds the package `eval` over the builtin of that name."""
    return "eval" in source and any(
        isinstance(node, ast.Import) and any(a.name.split(".")[0] == "eval" for a in node.names)
        for node in ast.walk(parsed(source))
    )


def dotted(path: Path) -> str:
    """`erasure/a/b.py` -> `erasure.a.b`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_imports_point_one_way() -> None:
    assert [b for path in SOURCES for b in breaches(text_of(path), dotted(path))] == []


def test_nothing_hides_the_builtin_eval() -> None:
    assert [path for path in (*SOURCES, *TESTS) if hides_builtin_eval(text_of(path))] == []


def test_each_package_is_there_and_typed() -> None:
    for package in ALLOWED:
        assert (ROOT / package / "__init__.py").is_file()
        assert (ROOT / package / "py.typed").is_file()


def eager(source: str, module: str) -> set[str]:
    """What a file imports when it is itself imported: not within functions, not for types alone."""
    body = [
        node
        for node in parsed(source).body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    return {name for name, _ in imports(ast.Module(body, []), module)}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, by Tarjan's strongly connected components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == order[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(group)

    for module in graph:
        if module not in order:
            visit(module)
    return groups


def test_no_import_goes_round() -> None:
    names = {dotted(path) for path in SOURCES if path.name != "__init__.py"}
    graph = {
        dotted(path): eager(text_of(path), dotted(path)) & names
        for path in SOURCES
        if path.name != "__init__.py"
    }
    assert sum(map(len, graph.values())) > 500  # the graph is there
    assert circles(graph) == []


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [{"b", "c"}]


def test_no_room_is_crowded() -> None:
    scripts = (ROOT / "benchmarks").rglob("*.py")
    modules = (path for path in (*SOURCES, *scripts, *TESTS) if path.name != "__init__.py")
    rooms = Counter(path.parent for path in modules)
    assert {str(room): count for room, count in rooms.items() if count > MOST_MODULES} == {}


def closure(needs: list[str]) -> set[str]:
    """The distributions that these requirements ask for here, and theirs in turn."""
    todo = [(Requirement(line), frozenset({""})) for line in needs]
    seen = set()
    while todo:
        need, asked = todo.pop()
        if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in asked):
            continue
        node = (canonicalize_name(need.name), frozenset({"", *need.extras}))
        if node in seen:
            continue
        seen.add(node)
        try:
            lines = metadata.requires(node[0]) or []
        except metadata.PackageNotFoundError:  # an extra that is not installed here
            continue
        todo += [(Requirement(line), node[1]) for line in lines]
    return {name for name, _ in seen}


def test_no_two_test_files_share_a_name() -> None:
    # pytest takes them for one module and runs neither beside the other.
    names = Counter(path.name for path in TESTS if path.name.startswith("test_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_required_brings_torchvision() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = closure(sum(project["optional-dependencies"].values(), project["dependencies"]))
    assert {"torch", "diffusers", "hypothesis", "tqdm"} <= packages  # direct, by extra, indirect
    assert "torchvision" not in packages


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("erasure.mask", "from eval.metrics import accuracy"),
        ("erasure.mask", "def late():\n    import prompts.canvas"),
        ("erasure.mask", "import torch, pipelines as p"),
        ("erasure.mask", "from PIL import Image"),
        ("erasure.mask", "from importlib import import_module\nimport_module('pipelines.cli')"),
        ("erasure.deep.mask", "from ... import prompts"),
        ("prompts.canvas", "from erasure import errors"),
        ("eval.metrics", "if TYPE_CHECKING:\n    from erasure.mask import Mask"),
        ("pipelines.cli", "from tests.tiny import model"),
        ("pipelines.cli", "try:\n    import torchvision.transforms\nexcept ImportError: ..."),
    ],
)
def test_a_breach_is_seen(module: str, source: str) -> None:
    assert len(breaches(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("erasure.deep.mask", "from ..errors import ConfigError\nfrom . import other"),
        ("erasure.deep.__init__", "from .mask import Mask"),
        ("eval.metrics", "from prompts.canvas import OBJECTS"),
        ("pipelines.cli", "from erasure import x\nfrom eval.y import y\nfrom prompts import z"),
        ("pipelines.cli", "import evaluate"),
    ],
)
def test_what_the_table_allows_passes(module: str, source: str) -> None:
    assert breaches(source, module) == []
    assert not hides_builtin_eval(source)


@pytest.mark.parametrize("source", ["import eval", "import eval.metrics", "import eval as e"])
def test_importing_eval_bare_is_seen(source: str) -> None:
    assert hides_builtin_eval(source)
