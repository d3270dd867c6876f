"""What pages of results share: styles, scripts, parts of the markup, a policy for the browser."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from erasure.storage.files import atomic
from pipelines.evaluation.report import report_format as shown
from pipelines.words.durations import to_the_second

FILE_NAME: Final = "report.html"
HERE: Final = Path(__file__).parents[1]


def rendered(
    template: str,
    *folders: Path,
    style: str,
    script: str = "",
    **values: Any,  # noqa: ANN401
) -> str:
    """A page of a template, with its styles and its script in it.

    Args:
        folders: where the template lies, beside those that all pages share.
        values: what the template names.
    """
    page: str = (
        environment(*folders)
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=policy(script), **values)
    )
    return page


def write_html(page: str, path: Path) -> Path:
    """Write a page, whole or not at all; DiskError where the disk refuses."""
    with atomic(path) as part:
        # Half a surrogate pair, which JSON may bring in, has no place in UTF-8.
        part.write_text(page, encoding="utf-8", errors="replace")
    return path


def policy(script: str) -> str:
    """What the browser lets the page do: run this script, show pictures it holds, nothing else."""
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"form-action 'none'; script-src 'sha256-{digest}'"
    )


def asset(name: str, folder: Path = HERE / "report_assets") -> str:
    """A style or a script, to be put into the page."""
    return (folder / name).read_text(encoding="utf-8").strip()


@cache
def environment(*folders: Path) -> Environment:
    """Templates of these folders, and those that all pages share."""
    made = Environment(
        loader=FileSystemLoader([*folders, HERE / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (shown.percent, shown.signed, shown.number, _place)
    made.filters |= {function.__name__.lstrip("_"): function for function in filters}
    made.filters["seconds"] = to_the_second
    made.globals |= {"interval": shown.interval, "measure": shown.measure}
    return made


def _place(share: float | None) -> str:
    """A share as a coordinate of an SVG as wide as its room."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%" if share and isfinite(share) else "0%"
