"""A command that refuses an option given twice, where it has room for one value."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import typer
from typer.core import TyperCommand

_SHOWN = 40
"""Letters of a value in the message."""


class GivenOnce(TyperCommand):
    """Like any command, but the last of two values does not win in silence.

    A switch such as `--json` may stand twice, since it says the same twice; an option that takes
    several values collects them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the line; exit code 2 and a sentence where a value has a rival."""
        for option, values in self._values(ctx, args):
            if len(values) > 1:
                name = option.opts[-1]
                listed = " and ".join(repr(str(value)[:_SHOWN]) for value in values)
                typer.echo(
                    f"erasure: {name} is given {len(values)} times, as {listed}, and takes one "
                    f"value; give {name} once",
                    err=True,
                )
                raise typer.Exit(2)
        left: list[str] = super().parse_args(ctx, args)
        return left

    def _values(self, ctx: Any, args: Sequence[str]) -> list[tuple[Any, list[object]]]:  # noqa: ANN401
        """Every option that takes one value, with all values that the line gives it."""
        single = [p for p in self.params if _takes_one(p)]
        listing = copy(self)
        listing.params = [_collecting(p) if p in single else p for p in self.params]
        values, _, _ = listing.make_parser(ctx).parse_args(args=list(args))
        return [(p, values.get(p.name) or []) for p in single]


def _takes_one(param: Any) -> bool:  # noqa: ANN401
    is_option = param.param_type_name == "option"
    return is_option and not (param.multiple or param.is_flag or param.count) and param.nargs == 1


def _collecting(option: Any) -> Any:  # noqa: ANN401
    """The same option, taking any number of values."""
    several = copy(option)
    several.multiple = True
    return several
