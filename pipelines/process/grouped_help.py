"""A command whose help shows many options in groups."""

from collections.abc import Sequence
from typing import Any, Final

from typer.core import TyperCommand

from pipelines.configs.option_groups import GROUPS, RUN

MANY: Final = 12
"""Options beside `--help` that one still reads as a single list."""
_WIDEST: Final = 30
"""Columns for the names of options; a longer one has a line of its own."""


class GroupedHelp(TyperCommand):
    """Like any command, but the options of one that has many stand in the groups that they name.

    Each option names its group as `rich_help_panel`. The page is plain text, as rich would take
    longer to import than all else that it needs.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the arguments and the options of a help page."""
        groups = grouped(self.get_params(ctx))
        if len(groups) <= 1:
            super().format_options(ctx, formatter)
            return
        arguments = [p for p in self.params if p.param_type_name == "argument"]
        pages = {
            title: [row for p in params if (row := p.get_help_record(ctx)) is not None]
            for title, params in {"Arguments": arguments, **groups}.items()
        }
        width = min(_WIDEST, max(len(name) for rows in pages.values() for name, _ in rows))
        for title, rows in pages.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl([(f"{name:<{width}}", about) for name, about in rows])


def grouped(params: Sequence[Any]) -> dict[str, list[Any]]:
    """The options of a command by the title of their group, in the order of a help page.

    A command with few options has a single group, "Options". In others `--help` stands with what is
    said of the run, and so does an option that names no group.
    """
    options = [p for p in params if p.param_type_name == "option"]
    if len([p for p in options if p.name != "help"]) <= MANY:
        return {"Options": options}
    groups: dict[str, list[Any]] = {title: [] for title in GROUPS}
    for option in options:
        groups[option.rich_help_panel or RUN].append(option)
    return {title: members for title, members in groups.items() if members}
