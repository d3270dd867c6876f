"""A command that refuses an option with an empty value, which would pass for one not given."""

from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from pipelines.configs.recipe_files import MAY_BE_EMPTY


class EmptyValues(TyperCommand):
    """Like any command, but `--vae "$VAE"` is no `--vae` left out where the variable is not set.

    An empty path would even be the folder that one is in.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the line; exit code 2 and a sentence where a value is empty."""
        for parameter in self._empty(ctx, args):
            name = parameter.opts[-1] if _is_option(parameter) else parameter.name.upper()
            remedy = "give it a value" + ("" if parameter.required else ", or leave it out")
            typer.echo(f"erasure: {name} is empty; {remedy}", err=True)
            raise typer.Exit(2)
        left: list[str] = super().parse_args(ctx, args)
        return left

    def _empty(self, ctx: Any, args: Sequence[str]) -> Iterator[Any]:  # noqa: ANN401
        """The parameters with an empty value, but for those whose texts may be."""
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.params:
            value = values.get(parameter.name)
            texts = value if isinstance(value, list | tuple) else (value,)
            if "" in texts and parameter.name not in MAY_BE_EMPTY:
                yield parameter


def _is_option(parameter: Any) -> bool:  # noqa: ANN401
    return bool(parameter.param_type_name == "option")
