"""Pages of the site that are made from the code: the command line and the methods' settings."""

import html
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from erasure.methods import METHODS
from pipelines.cli import app
from pipelines.commands.methods import described
from pipelines.process.grouped_help import grouped


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the two pages to those that lie in the folder."""
    pages = {
        "reference/command-line.md": _command_line(),
        "reference/method-settings.md": _method_settings(),
    }
    for path, lines in pages.items():
        files.append(File.generated(config, path, content="\n".join(lines)))
    return files


def _command_line() -> Iterator[str]:
    yield "# Command line"
    yield ""
    yield "Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed,"
    yield "2 wrong input. `--json` prints one object on stdout."
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        yield from _of_command(f"erasure {name}", command)


def _of_command(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    inner = getattr(command, "commands", None)
    if inner is not None:
        for under, part in inner.items():
            yield from _of_command(f"{name} {under}", part)
        return
    yield from ("", f"## {name}", "", *_prose(command.help))
    if command.epilog:
        example = command.epilog.split("Example:\n", 1)[-1]
        yield from ("", "```bash", *(line[2:] for line in example.splitlines()), "```")
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    groups = grouped([one for one in command.params if one.name != "help"])
    for title, parameters in {"Arguments": arguments, **groups}.items():
        if parameters:
            yield from (
                "",
                f"**{title}**",
                "",
                "| | type | default | |",
                "| --- | --- | --- | --- |",
            )
            yield from map(_row, parameters)


def _row(parameter: Any) -> str:  # noqa: ANN401
    is_option = parameter.param_type_name == "option"
    spelled = parameter.opts[0] if is_option else parameter.name.upper()
    named = parameter.default is not None and parameter.default is not False  # 0 is one
    default = f"`{parameter.default}`" if named else ""
    return (
        f"| `{spelled}` | {_cell(_kind(parameter))} "
        f"| {'required' if parameter.required else default} | {_cell(parameter.help or '')} |"
    )


def _kind(parameter: Any) -> str:  # noqa: ANN401
    """What a parameter takes, as one says it."""
    kind = parameter.type_descriptor.annotation
    if kind is bool:
        return ""
    if get_origin(kind) is list:
        return f"{_name(get_args(kind)[0])}, again for more"
    return _name(kind)


def _name(kind: Any) -> str:  # noqa: ANN401
    if get_origin(kind) is Literal:
        return ", ".join(map(str, get_args(kind)))
    return {"str": "text", "int": "number", "float": "number"}.get(kind.__name__, "path")


def _method_settings() -> Iterator[str]:
    yield "# Settings of the methods"
    yield ""
    yield "Give one as `--set name=value`, or in the table `[method]` of a recipe. What the methods"
    yield "do and need stands side by side in [methods](../methods.md). `erasure methods NAME`"
    yield "prints the same."
    for kind in METHODS.values():
        about = described(kind)
        yield from ("", f"## {about['name']}", "", f"{about['title'].capitalize()}.", "")
        for paragraph in about["about"]:
            yield from (html.escape(paragraph, quote=False), "")
        yield f"Mask where none is named: {about['mask']}, of the weights in scope"
        yield f"`{about['scope']}`."
        if about["recipes"]:
            yield f"Ready recipes: {', '.join(f'`{name}`' for name in about['recipes'])}."
        yield from ("", "```bash", about["example"], "```", "")
        yield from ("| setting | type | default | |", "| --- | --- | --- | --- |")
        for name, setting in about["settings"].items():
            yield (
                f"| `{name}` | {_cell(setting['values'])} | `{setting['default']}` "
                f"| {_cell(setting['about'] or '')} |"
            )


def _prose(text: str | None) -> list[str]:
    return [html.escape(line.strip(), quote=False) for line in (text or "").splitlines()]


def _cell(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
