"""Pack the nodes, with the modules of `erasure` that they need and no other, for `custom_nodes`.

    python comfyui/pack.py [FOLDER]

writes FOLDER/concept-erasure and FOLDER/concept-erasure.zip; FOLDER is `dist` by default. Imports
of `erasure` become relative ones, so that the nodes get along with any other version of the package
that may be installed. It needs the standard library alone.
"""

import argparse
import ast
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
NAME: Final = "concept-erasure"
PACKAGE: Final = "erasure"
NOT_PACKED: Final = ("pack.py", "__pycache__")
_IMPORT: Final = re.compile(rf"^(\s*)from {PACKAGE}((?:\.\w+)*) import", re.MULTILINE)
_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the zip, so that the same sources give the same bytes."""


def main() -> None:
    """Pack into the folder that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT / "dist", help="where to write; dist if none"
    )
    print(pack(parser.parse_args().folder))


def pack(out: Path) -> Path:
    """Write the folder and the zip below `out`; what is there of an earlier call is replaced.

    Returns:
        Path of the zip.

    Raises:
        ValueError: a module imports from a package what is no module of it.
    """
    folder = out / NAME
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns(*NOT_PACKED))
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    for path in sorted(folder.glob("*.py")):
        _write(path, path.read_text(encoding="utf-8"), 0)
    starts = [path for path in HERE.glob("*.py") if path.name not in NOT_PACKED]
    for path in sorted(closure(starts)):
        place = path.relative_to(ROOT)
        for package in place.parents[:-1]:
            _describe(folder / package / "__init__.py", ROOT / package / "__init__.py")
        _write(folder / place, path.read_text(encoding="utf-8"), len(place.parents) - 1)
    return _zip(folder, out / f"{NAME}.zip")


def closure(starts: list[Path]) -> set[Path]:
    """The modules of `erasure` that these files need, and those that they need in turn."""
    todo, seen = list(starts), set()
    while todo:
        for path in needed(todo.pop()):
            if path not in seen:
                seen.add(path)
                todo.append(path)
    return seen


def needed(path: Path) -> Iterator[Path]:
    """The modules of `erasure` that a file imports, but for its type checker alone."""
    for node in _running(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
            continue
        if node.module.partition(".")[0] != PACKAGE:
            continue
        place = ROOT.joinpath(*node.module.split("."))
        if place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
            continue
        for alias in node.names:
            module = place / f"{alias.name}.py"
            if not module.is_file():
                raise ValueError(
                    f"{path} imports {alias.name} from {node.module}, which is no module of it; "
                    "import it from the module that it is written in"
                )
            yield module


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _running(child)


def _write(path: Path, source: str, depth: int) -> None:
    """A module that lies `depth` packages deep, 0 beside the nodes, with relative imports."""
    start = "." * depth if depth else f".{PACKAGE}."

    def relative(match: re.Match[str]) -> str:
        module = match[2].removeprefix(".")
        return f"{match[1]}from {start}{module} import".replace(". import", " import", not module)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_IMPORT.sub(relative, source), encoding="utf-8")


def _describe(path: Path, original: Path) -> None:
    """A package that holds its docstring alone: what it lists is not packed with it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        said = ast.get_docstring(ast.parse(original.read_text(encoding="utf-8"))) or ""
        path.write_text(f'"""{said}"""\n', encoding="utf-8")


def _zip(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder.parent).as_posix(), _TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())
    return path


if __name__ == "__main__":
    main()
