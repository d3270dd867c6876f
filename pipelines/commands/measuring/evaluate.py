"""`erasure evaluate`: is it still recognised, is the rest intact, how sure are we?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.options import AsJson, Folder, Force, RecipeFile, say
from pipelines.configs import option_groups as group
from pipelines.configs.everyday import EVALUATE, EVALUATE_RECIPE
from pipelines.process.one_voice import one_voice
from pipelines.process.recipe_options import BY_SUITE, recipe_options
from pipelines.run.claims import claim

if TYPE_CHECKING:
    from pipelines.evaluation.outcome.results import Results


@one_voice()
@recipe_options(EVALUATE_RECIPE, EVALUATE, own_after="erased", defaults_but=BY_SUITE)
def evaluate(
    options: dict[str, Any],
    more: Annotated[
        list[str] | None, typer.Argument(help="Further runs, with --compare.", show_default=False)
    ] = None,
    out: Folder = None,
    recipe: RecipeFile = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Put runs, evaluations or audits side by side: --compare RUN RUN ...; with --out "
            "a page too.",
            rich_help_panel=group.RUN,
        ),
    ] = None,
    card: Annotated[
        bool,
        typer.Option(
            "--card",
            help="Also write the figures into the model's card.",
            rich_help_panel=group.RUN,
        ),
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw a suite of prompts, judge and count what they show.

    Writes results.json, its tables as CSV and report.html. Finished pictures are kept: the same
    command goes on where it was cut. `accelerate launch -m pipelines.cli evaluate ...`, on a CPU
    `torchrun --nproc_per_node 2 -m pipelines.cli evaluate ...`, shares the drawing among processes.
    """
    from erasure.errors import ConfigError
    from erasure.local_paths import typed_path
    from pipelines.configs.recipe_files import merge, stated_recipe
    from pipelines.early import require_model_name

    if out is None and not compare:
        raise ConfigError("there is no --out; give the folder to write the evaluation to")
    claim(out)
    if compare:
        runs = [*compare, *filter(None, (options.pop("model", None), *(more or ())))]
        unread = [*options, *(n for n, v in (("recipe", recipe), ("card", card)) if v)]
        if unread:
            raise ConfigError(
                "--compare reads results that are there, and would not read "
                f"{', '.join(unread)}; leave all but --compare, --out, --force and --json out"
            )
        _compare([typed_path(run) for run in runs], out, force=force, as_json=as_json)
        return
    if more:
        raise ConfigError(
            f"one model is evaluated at a time, and there is {more[0]!r} too; leave it out, or "
            "give --compare before the runs to put them side by side"
        )
    assert out is not None
    under = stated_recipe(recipe) if recipe else {}
    for name in (merge(under, options).get(role) for role in ("model", "against")):
        if isinstance(name, str):
            require_model_name(name)
    from erasure.errors import Way
    from pipelines.configs.unread import brought_by_suite, refuse_unread
    from pipelines.evaluation.run import run_evaluation
    from pipelines.evaluation.settings import resolve_evaluation
    from pipelines.process.progress import Reporter
    from pipelines.run.memory import Less, enough_memory, halved
    from pipelines.run.models import pick_device

    resolved = resolve_evaluation(options, under)
    refuse_unread(options, {}, brought_by_suite(resolved.suite), {})
    coarser = Way("--precision bf16", 'precision = "bf16"', " (now fp32)")
    other = (coarser,) if resolved.precision == "fp32" else ()
    less = Less(halved("batch_size", resolved.batch_size), other).forced()
    with enough_memory("evaluating", less, pick_device(resolved.device)):
        results = run_evaluation(resolved, out, force=force, reporter=Reporter())
    if results is not None:
        _tell(results, out, resolved.model, card=card, as_json=as_json)


def _compare(folders: list[Path], out: Path | None, *, force: bool, as_json: bool) -> None:
    import json

    from rich.console import Console

    from pipelines.comparison.comparing import compare_runs
    from pipelines.comparison.page.page import require_room, write_comparison

    if out is not None:
        require_room(out, force=force)
    compared = compare_runs(folders)
    page = None if out is None else write_comparison(compared, out)
    if as_json:
        values = compared.table.to_dict() | ({"page": str(page)} if page else {})
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    Console().print(compared.table.to_table())
    if page is not None:
        typer.echo(f"page  {page}")


def _tell(results: "Results", out: Path, model: str, *, card: bool, as_json: bool) -> None:
    from pipelines.evaluation.outcome.card import write_card
    from pipelines.run.models import find_model

    rows: dict[str, Any] = {"verdict": results.summary.verdict}
    rows |= _each_erased(results)
    rows |= _figures(results)
    rows |= {"results": out / "results.json", "report": out / "report.html"}
    if card:
        ours = results.models.after.provenance is not None and Path(model).exists()
        path = write_card(results, find_model(model)) if ours else None
        rows["card"] = path or "only a folder that `erasure erase` wrote has a card to write into"
    if as_json:
        rows["summary"] = results.summary.to_dict()
    say(rows, as_json=as_json)


def _each_erased(results: "Results") -> dict[str, str]:
    """Where several things were erased, how often each is still recognised; and what of it the
    suite does not draw, so that nothing is said of that."""
    from pipelines.evaluation.report.report_format import interval, percent

    rows = {}
    if len(results.erased) + len(results.not_drawn) > 1:
        for row in (row for row in results.classes if row.erased):
            was = f", before {percent(row.before.share)}" if row.before is not None else ""
            rows[f"{row.label} recognised"] = (
                f"{percent(row.after.share)} ({interval(row.after.low, row.after.high)}), "
                f"{row.after.total} pictures{was}"
            )
    for concept in results.not_drawn:
        rows[f"{concept} recognised"] = "not looked at: no prompt of this suite asks for it"
    return rows


def _figures(results: "Results") -> dict[str, str]:
    """Rate -> share with its interval, and what it was before; then what the judge rejects."""
    from pipelines.evaluation.report.report_format import interval, percent

    before = results.summary.before or {}
    rows = {}
    for name, rate in results.summary.after.items():
        was = f", before {percent(before[name].share)}" if name in before else ""
        rows[name.upper()] = (
            f"{percent(rate.share)} ({interval(rate.low, rate.high)}), {rate.total} pictures{was}"
        )
    for name, refused in (results.summary.rejected or {}).items():
        was = f", before {percent(refused.before.share)}" if refused.before is not None else ""
        rows[f"{name.upper()} rejected"] = (
            f"{percent(refused.after.share)} "
            f"({interval(refused.after.low, refused.after.high)}), "
            f"{refused.after.total} pictures{was}"
        )
    lost = results.unusable.after.nan + results.unusable.after.black
    if lost:
        rows["left out"] = f"{lost} pictures that are black or not finite"
    return rows
