"""The fields of a recipe's dataclasses, read from their source: to import them would take seconds.

The command line is made from them before torch is there. What is read is this project's own code,
so a field that is not found is a mistake in it, and an assertion.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_PLAIN: Final[dict[str, type[Any]]] = {
    kind.__name__: kind for kind in (bool, int, float, str, Path)
}
_METHOD: Final = "erasure.methods.protocol:Method"
_REGISTRY: Final = "erasure.methods.registry:METHODS"


@dataclass(frozen=True, slots=True)
class SourceField:
    """One field of a dataclass, as its source says it."""

    owner: str
    """The class that declares it, as `module:Class`."""
    doc: str
    """The docstring below it, on one line; empty where there is none."""
    kind: type[Any] | None
    """bool, int, float, str or Path, of a value or of each of several; None for a table."""
    choices: tuple[str, ...] = ()
    """The values that a Literal allows."""
    several: bool = False
    """Whether it holds any number of values."""
    table: str = ""
    """The class of a table, as `module:Class`."""
    default: str = ""
    """What stands where nothing is given, several values with commas; empty where that is none,
    off, or no plain value."""

    @property
    def first_sentence(self) -> str:
        """The first sentence of the docstring."""
        return re.split(r"(?<=[^.]\.)\s", self.doc, maxsplit=1)[0].removesuffix(".")


def source_field(root: str, path: str) -> SourceField:
    """The field at a dotted path below a dataclass.

    Where the path goes through the recipe's method, it is that of the first registered method
    which has such a setting.

    Args:
        root: the dataclass, as `module:Class`.
        path: such as `data.forget.drawn`.
    """
    first, _, rest = path.partition(".")
    candidates = _methods() if root == _METHOD else [root]
    holders = [fields for fields in map(_fields, candidates) if first in fields]
    assert holders, f"{root} has no field {first}"
    field = holders[0][first]
    if not rest:
        return field
    assert field.table, f"{first} of {root} is no table"
    return source_field(field.table, rest)


def is_one_of_several(root: str, path: str) -> bool:
    """Whether the table at a dotted path has a brother of its class beside it."""
    outer, _, name = path.rpartition(".")
    fields = _fields(source_field(root, outer).table if outer else root)
    table = fields[name].table
    return sum(other.table == table for other in fields.values()) > 1


def docs_below(body: ast.ClassDef) -> dict[str, str]:
    """Field -> the docstring below it, on one line, of a class's own fields that have one."""
    docs = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(below.value.value).split())
    return docs


def field_docs(kind: type[Any]) -> dict[str, str]:
    """Field -> the docstring below it, on one line; empty where there is none.

    Args:
        kind: a dataclass whose source, and that of its bases, can be read.
    """
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if "__dataclass_fields__" in vars(base) or base is kind:
            docs |= _own_docs(base)
    return {field.name: docs.get(field.name, "") for field in fields(kind)}


def default_text(field: "Field[Any]") -> str:
    """The default of a field as a recipe would say it, or that there is none."""
    if field.default is not MISSING:
        return "none" if field.default is None else repr(field.default)
    return "set by the class" if field.default_factory is not MISSING else "required"


@cache
def _methods() -> list[str]:
    """The class of every registered method."""
    module, registry = _definition(*_REGISTRY.split(":"))
    assert isinstance(registry, ast.Dict)
    return [_class_of(module, value) for value in registry.values]


@cache
def _fields(place: str) -> dict[str, SourceField]:
    """All fields of a class, those of its bases first."""
    module, body = _definition(*place.split(":"))
    assert isinstance(body, ast.ClassDef)
    fields: dict[str, SourceField] = {}
    for base in body.bases:
        fields |= _fields(_class_of(module, base)) if isinstance(base, ast.Name) else {}
    docs = docs_below(body)
    for statement in body.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name, hint = statement.target.id, statement.annotation
            if not ast.unparse(hint).startswith("ClassVar"):
                known = {"doc": docs.get(name, ""), "default": _plain_default(statement.value)}
                fields[name] = _field(module, hint, owner=place, **known)
    return fields


def _plain_default(value: ast.expr | None) -> str:
    try:
        default = None if value is None else ast.literal_eval(value)
    except ValueError:  # a call or a name
        return ""
    if default is None or isinstance(default, bool):
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _field(module: str, hint: ast.expr, **known: Any) -> SourceField:  # noqa: ANN401
    """The field of an annotation, such as `tuple[str, ...] | None`."""
    if isinstance(hint, ast.BinOp):
        (one,) = (part for part in (hint.left, hint.right) if ast.unparse(part) != "None")
        return _field(module, one, **known)
    if isinstance(hint, ast.Subscript):
        inner = hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]
        if ast.unparse(hint.value) == "Literal":
            return SourceField(kind=str, choices=tuple(map(ast.literal_eval, inner)), **known)
        if ast.unparse(hint.value) == "Mapping":  # a table of a file, which no option sets
            return SourceField(kind=None, **known)
        assert ast.unparse(hint.value) == "tuple", ast.unparse(hint)
        return _field(module, inner[0], **known, several=True)
    assert isinstance(hint, ast.Name), ast.unparse(hint)
    if hint.id in _PLAIN:
        return SourceField(kind=_PLAIN[hint.id], **known)
    place, meaning = _definition(module, hint.id)
    if isinstance(meaning, ast.ClassDef):
        return SourceField(kind=None, table=f"{place}:{meaning.name}", **known)
    return _field(place, meaning, **known)


def _class_of(module: str, name: ast.expr) -> str:
    """`module:Class` of what a name in a module means."""
    assert isinstance(name, ast.Name)
    place, body = _definition(module, name.id)
    assert isinstance(body, ast.ClassDef)
    return f"{place}:{body.name}"


def _definition(module: str, name: str) -> tuple[str, Any]:
    """The class or the value that a name in a module means, and the module that holds it."""
    for names, meaning in _named(_parsed(module)):
        if name not in names:
            continue
        if isinstance(meaning, ast.ImportFrom):
            assert meaning.module is not None
            return _definition(meaning.module, names[name])
        return module, meaning
    raise AssertionError(f"{module} has no {name}")


def _named(tree: ast.Module) -> Iterator[tuple[dict[str, str], ast.AST]]:
    """What the statements of a module give names to: name here -> name there, and the meaning."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield {alias.asname or alias.name: alias.name for alias in node.names}, node
        elif isinstance(node, ast.ClassDef):
            yield {node.name: node.name}, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield {t.id: t.id for t in targets if isinstance(t, ast.Name)}, node.value


@cache
def _parsed(module: str) -> ast.Module:
    """The source of a module, found without importing the packages that it lies in."""
    package, *inner = module.split(".")
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*inner)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _own_docs(kind: type[Any]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # made at run time: nothing to read
        return {}
    body = tree.body[0]
    assert isinstance(body, ast.ClassDef)
    return docs_below(body)
