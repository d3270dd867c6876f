"""The page of an evaluation: one file that holds its pictures, styles and script, no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.report import report_format as shown
from pipelines.evaluation.report.report_charts import loss_curve
from pipelines.evaluation.report.report_facts import provenance
from pipelines.evaluation.report.report_figures import class_groups, figures, heat_tables
from pipelines.evaluation.report.report_page import FILE_NAME, asset, rendered, write_html
from pipelines.evaluation.report.report_pairs import gallery
from pipelines.evaluation.report.report_rows import prompt_rows


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
        density: block of the network -> share of its weights in the mask, in the order to draw.
        losses: (step, loss) of the training; losses that are not finite leave gaps.

    Returns:
        The path of the page.

    Raises:
        DiskError: the disk refuses.
    """
    style, script = (asset(name) for name in ("report.css", "report.js"))
    headline, lead = shown.split_verdict(results.summary.verdict)
    page = rendered(
        "report.html.j2",
        style=style,
        script=script,
        results=results,
        headline=headline,
        lead=lead,
        gallery=gallery(results, folder),
        figures=list(figures(results)),
        table=prompt_rows(results),
        groups=class_groups(results.classes),
        heat=heat_tables(results),
        density=dict(density or {}),
        curve=loss_curve(losses or ()),
        facts=provenance(results),
    )
    return write_html(page, folder / FILE_NAME)
