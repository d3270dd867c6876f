"""The documentation of a dataclass's fields, which Python itself forgets: read from the source."""

import ast
import inspect
import textwrap
from dataclasses import MISSING, Field, fields
from typing import Any

from pipelines.configs.source_fields import docs_below


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


def _own_docs(kind: type[Any]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError):  # made at run time: nothing to read
        return {}
    body = tree.body[0]
    assert isinstance(body, ast.ClassDef)
    return docs_below(body)
