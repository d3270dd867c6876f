"""A command's everyday options, made from the dataclass of its recipe."""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, Final

import typer

from pipelines.configs.everyday import Options, fields_of, flag_of, group_of
from pipelines.configs.source_fields import is_one_of_several, source_field
from pipelines.process.named_options import named_options

Command = Callable[..., None]
BY_SUITE: Final = ("steps", "guidance", "scheduler", "batch_size", "judge")
"""Options whose default hangs on what the model or the suite is drawn with."""


def recipe_options(
    recipe: str,
    options: Options,
    *,
    own_after: str | None = None,
    defaults_but: Collection[str] | None = None,
) -> Callable[[Command], Command]:
    """Give a command options that set fields of its recipe.

    Type, help and choices of each are those of the field, and its help is the first sentence of the
    field's docstring. The command is called with the tables of what was given as its first
    argument, and with its own parameters by name. The help shows these after the option
    `own_after`, or first, and its switches last.

    Args:
        recipe: the dataclass, as `module:Class`.
        options: of `pipelines.configs.everyday`; `model` is an argument.
        own_after: the option after which the command's own stand; None for before all.
        defaults_but: options whose default hangs on the model or the suite; the help shows the
            recipe's own default of all others. None to show none.
    """

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        named = fields_of(options)
        everyday = [
            _parameter(
                name,
                recipe,
                paths[0],
                group_of(options, name),
                shows_default=defaults_but is not None and name not in defaults_but,
            )
            for name, paths in named.items()
        ]
        place = 0 if own_after is None else list(named).index(own_after) + 1
        switches = [p for p in own if p.default is False]
        others = [p for p in own if p.default is not False]
        every = [*everyday[:place], *others, *everyday[place:], *switches]
        parameters = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in every]

        @wraps(command)
        def run(**values: Any) -> None:  # noqa: ANN401
            rest = {p.name: values[p.name] for p in own if p.name in values}
            tables = tables_of(options, values)
            with named_options(options, tables):
                command(tables, **rest)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def tables_of(options: Options, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as tables of a recipe."""
    tables: dict[str, Any] = {}
    for name, paths in fields_of(options).items():
        value = values.get(name)
        if value is None or value is False:
            continue
        for path in paths:
            *outer, key = path.split(".")
            inner = tables
            for part in outer:
                inner = inner.setdefault(part, {})
            inner[key] = value
    return tables


def _parameter(name: str, recipe: str, path: str, group: str, *, shows_default: bool) -> Parameter:
    field, about = source_field(recipe, path), help_of(recipe, path)
    if shows_default and field.default:  # the option itself has none: it would count as given
        about = f"{about} [default: {field.default}]"
    assert field.kind is not None, f"--{name} leads to a table"
    if name == "model":
        info: Any = typer.Argument(help=about)
    else:
        flag, metavar = flag_of(name), "|".join(field.choices)
        info = typer.Option(flag, help=about, metavar=metavar or None, rich_help_panel=group)
    kind: Any = field.kind
    if field.several:
        kind = list[kind]
    if kind is not bool:
        kind = kind | None
    default = False if kind is bool else None
    annotation = Annotated[kind, info]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def help_of(recipe: str, path: str) -> str:
    """The first sentence of a field's docstring, after that of its table if this has a brother.

    Args:
        recipe: a dataclass, as `module:Class`.
        path: dotted name of one of its fields, or of a field in one of its tables.
    """
    field = source_field(recipe, path)
    about = field.first_sentence
    table = path.rpartition(".")[0]
    if table and is_one_of_several(recipe, table):
        about = f"{source_field(recipe, table).first_sentence}: {about[0].lower()}{about[1:]}"
    return f"{about}{'; again for more' if field.several else ''}."
