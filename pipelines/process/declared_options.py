"""A command's own options, declared as the fields of a dataclass."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, get_type_hints

Command = Callable[..., None]


def declared_options(command: Command) -> Command:
    """Give a command an option for each field of the dataclasses among its parameters.

    A field is declared as a parameter of a command would be, with `Annotated[kind,
    typer.Option(...)]` and a default. The command is called with the dataclass, made from what was
    given, in place of its fields.
    """
    signature = inspect.signature(command, eval_str=True)
    declared = {
        name: one.annotation
        for name, one in signature.parameters.items()
        if isinstance(one.annotation, type) and is_dataclass(one.annotation)
    }
    parameters = [
        spread.replace(kind=Parameter.KEYWORD_ONLY)
        for one in signature.parameters.values()
        for spread in (_options(declared[one.name]) if one.name in declared else (one,))
    ]

    @wraps(command)
    def run(*tables: Any, **values: Any) -> None:  # noqa: ANN401
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in declared.items()
        }
        command(*tables, **values, **made)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _options(kind: type) -> Iterator[Parameter]:
    """A parameter for each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        yield Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=hints[field.name],
        )


def _default(field: Field[Any]) -> Any:  # noqa: ANN401
    """The default of a field; the mark for none, where it must be given."""
    return Parameter.empty if field.default is MISSING else field.default
