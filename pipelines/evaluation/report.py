"""The page of an evaluation: one file that holds its pictures, styles and script, no network."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from erasure.files import atomic
from pipelines.evaluation import report_format as shown
from pipelines.evaluation.report_charts import loss_curve
from pipelines.evaluation.report_facts import provenance
from pipelines.evaluation.report_figures import class_groups, figures, heat_tables
from pipelines.evaluation.report_pairs import gallery
from pipelines.evaluation.report_rows import prompt_rows
from pipelines.evaluation.results import Results

FILE_NAME: Final = "report.html"
_HERE: Final = Path(__file__).parent


def write_report(
    results: Results,
    folder: Path,
    *,
    density: Mapping[str, float] | None = None,
    losses: Sequence[tuple[int, float]] | None = None,
) -> Path:
    """Write `report.html` into the folder of an evaluation.

    Pictures are read from the folder, made small and inlined, at most `report_pairs.MAX_PAIRS`
    cases and some `MAX_BYTES`; the page says how many of how many it shows and names those that
    are missing. Unsafe ones are blurred until clicked. The page stays below some 20 MB.

    Args:
        results: what to show.
        folder: where the pictures lie, and where the page goes.
        density: block of the UNet -> share of its weights in the mask, in the order to draw.
        losses: (step, loss) of the training; losses that are not finite leave gaps.

    Returns:
        The path of the page.

    Raises:
        DiskError: the disk refuses.
    """
    style, script = (_asset(name) for name in ("report.css", "report.js"))
    headline, lead = shown.split_verdict(results.summary.verdict)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            results=results,
            headline=headline,
            lead=lead,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(script),
            gallery=gallery(results, folder),
            figures=list(figures(results)),
            table=prompt_rows(results),
            groups=class_groups(results.classes),
            heat=heat_tables(results),
            density=dict(density or {}),
            curve=loss_curve(losses or ()),
            facts=provenance(results),
        )
    )
    path = folder / FILE_NAME
    with atomic(path) as part:
        # Half a surrogate pair, which JSONL may bring in, has no place in UTF-8.
        part.write_text(page, encoding="utf-8", errors="replace")
    return path


def _policy(script: str) -> str:
    """What the browser lets the page do: run this script, show pictures it holds, nothing else."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )


def _asset(name: str) -> str:
    return (_HERE / "report_assets" / name).read_text(encoding="utf-8").strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (shown.percent, shown.signed, shown.number, shown.seconds, _place)
    environment.filters |= {function.__name__.lstrip("_"): function for function in filters}
    environment.globals |= {"interval": shown.interval, "measure": shown.measure}
    return environment


def _place(share: float | None) -> str:
    """A share as a coordinate of an SVG as wide as its room."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%" if share and isfinite(share) else "0%"
