"""`erasure prompts`: the prompt sets, and what is in one."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, fitted, say

if TYPE_CHECKING:
    from prompts.suites.case import PromptCase, PromptSet

_SHOWN = 5
_WIDEST = 100


def prompts(
    suite: Annotated[
        str | None, typer.Argument(help="A prompt set to look into; without one, all are named.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="For i2p, captions and csv: a .csv or .jsonl file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help=f"Most cases to show. [default: {_SHOWN}]")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Of i2p, such as sexual; give it again for more.")
    ] = None,
    min_nudity: Annotated[
        float | None, typer.Option(help="Of i2p: least nudity percentage, 0 to 100.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Such as 0-4, in place of the set's own.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Pictures of each prompt, by its own seed + 0, 1, 2...")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the prompt sets, or the first cases of one."""
    from prompts.errors import PromptError
    from prompts.suites.suites import load_suite

    if suite is None:
        options = (prompts, limit, category, min_nudity, seeds, samples)
        if any(value is not None for value in options):
            raise PromptError("there is no prompt set to show; name one, such as canvas")
        _list_suites(as_json=as_json)
        return
    loaded = load_suite(
        suite,
        prompts=prompts,
        seeds=None if seeds is None else _parsed(seeds),
        samples=samples,
        categories=category or (),
        min_nudity=min_nudity,
        limit=_SHOWN if limit is None else limit,
    )
    _show(loaded, as_json=as_json)


def _parsed(seeds: str) -> tuple[int, ...]:
    from pipelines.configs.settings import parse_seeds

    return parse_seeds(seeds)


def _list_suites(*, as_json: bool) -> None:
    from prompts.suites.suites import SUITES

    if as_json:
        rows = {
            name: {"about": one.about, "cases": one.cases, "wording": one.wording}
            for name, one in SUITES.items()
        }
        say(rows, as_json=True)
        return
    counts = max(len(one.cases) for one in SUITES.values())
    wordings = max(len(one.wording) for one in SUITES.values())
    say(
        {
            name: f"{one.cases:<{counts}}  {one.wording:<{wordings}}  {one.about}"
            for name, one in SUITES.items()
        },
        as_json=False,
    )


def _show(loaded: "PromptSet", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        cases = [asdict(case) for case in loaded.cases]
        result: dict[str, Any] = {"suite": loaded.name, "source": loaded.source}
        say(result | {"heads": loaded.heads, "cases": cases}, as_json=True)
        return
    for line in _lines(loaded.cases):
        typer.echo(fitted(line, 4))


def _lines(cases: Iterable["PromptCase"]) -> Iterable[str]:
    """One a case, of what a terminal may be given."""
    for case in cases:
        settings = [f"seed {case.seed}"]
        if case.guidance is not None:
            settings.append(f"guidance {case.guidance:g}")
        if case.width is not None and case.height is not None:
            settings.append(f"{case.width} x {case.height}")
        text = "".join(char if char.isprintable() else " " for char in case.prompt)
        shown = text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
        yield f"{case.case}  {', '.join(settings)}  {shown}"
