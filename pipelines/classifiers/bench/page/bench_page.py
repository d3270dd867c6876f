"""The page of a benchmark: one file that holds its tables, charts, styles and script, no network.

Looks and works like the page of an evaluation, whose styles and parts it takes.
"""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pipelines.classifiers.bench.bench import model_name
from pipelines.classifiers.bench.bench_config import BenchConfig
from pipelines.classifiers.bench.bench_table import OWN_NOTE, OWN_TRAINING, Row
from pipelines.classifiers.bench.cells import Cell
from pipelines.classifiers.bench.page import bench_view as view
from pipelines.classifiers.data.data import ClassifierData
from pipelines.configs.recipe import dump_published
from pipelines.evaluation.report.report_facts import Fact, Facts
from pipelines.evaluation.report.report_page import FILE_NAME, asset, rendered, write_html
from pipelines.words.durations import to_the_second

_HERE: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("diffusion-erasure", "torch", "numpy", "scikit-learn", "opacus")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A benchmark, as far as it is done."""

    config: BenchConfig
    data: Sequence[ClassifierData]
    rows: Sequence[Row]
    cells: Sequence[Cell]
    total: int
    """Cells that there will be."""
    weights: Mapping[str, int]
    """Setting -> parameters of its model."""
    trials: Sequence[Cell] = ()
    """The cells of the search."""
    device: str = "cpu"


def write_page(bench: Bench, folder: Path) -> Path:
    """Write `report.html` into the folder of a benchmark.

    Returns:
        The path of the page.

    Raises:
        DiskError: the disk refuses.
    """
    style = "\n".join((asset("report.css"), asset("bench.css", _HERE / "report_assets")))
    script = asset("bench.js", _HERE / "report_assets")
    settings = view.settings(bench.rows, bench.weights)
    page = rendered(
        "bench.html.j2",
        _HERE / "templates",
        style=style,
        script=script,
        bench=bench,
        settings=settings,
        headline=view.headline(settings),
        methods=len({row.method for row in bench.rows if row.ranked}),
        failures=view.failures(bench.rows),
        charted=view.with_all,
        described=view.described,
        tried=_tried(bench.trials),
        own_training=OWN_TRAINING,
        own_note=OWN_NOTE,
        facts=list(_facts(bench)),
    )
    return write_html(page, folder / FILE_NAME)


def _facts(bench: Bench) -> Iterator[Facts]:
    """Where the numbers come from."""
    config = bench.config
    for data in bench.data:
        sizes = {name: len(getattr(data, name)) for name in ("train", "held_out", "test")}
        counted = [Fact(name.replace("_", " "), f"{n:,} examples") for name, n in sizes.items()]
        prints = [Fact("fingerprint", data.fingerprint, code=True), Fact("origin", data.origin)]
        drawn = Fact("drawn by seed", str(data.config.seed))
        yield Facts(f"Data: {data.config.name}", (*counted, drawn, *prints))
    for model in config.models:
        counts = {
            f"{count:,}"
            for setting, count in bench.weights.items()
            if f"/{model_name(model)}/" in setting
        }
        shown = {"width": f"{model.width:g}", "weights": " or ".join(sorted(counts)) or "unknown"}
        yield Facts(f"Model: {model.architecture}", tuple(_named(shown)))
    yield Facts("Training and retraining", tuple(_named(asdict(config.training))))
    cap = "as the presets say" if config.unlearn_epochs is None else f"{config.unlearn_epochs}"
    yield Facts(
        "Protocol",
        (
            Fact("forget sets", ", ".join(config.forget)),
            Fact("seeds", ", ".join(map(str, config.seeds))),
            Fact("most epochs of a method", cap),
            Fact("attack", "on every point" if config.exact_attack else "on a grid of 1/4096"),
            Fact("bench.toml", dump_published(config).strip(), long=True),
        ),
    )
    yield Facts("Versions", tuple(_named(_versions() | {"device": bench.device})))
    yield Facts("Wall time", tuple(_times(bench)))


def _tried(trials: Sequence[Cell]) -> dict[tuple[str, str], str]:
    """Setting and row -> how many trials it had, and of how many seeds each."""
    runs = Counter((cell.setting, cell.row) for cell in trials)
    seeds = Counter(
        (setting, row) for setting, row, _ in {(c.setting, c.row, c.seed) for c in trials}
    )
    return {
        key: f"best of {count // seeds[key]}" + (f", {seeds[key]} seeds each" * (seeds[key] > 1))
        for key, count in runs.items()
    }


def _named(values: Mapping[str, object]) -> Iterator[Fact]:
    for name, value in values.items():
        yield Fact(name.replace("_", " "), str(value))


def _versions() -> dict[str, str]:
    """Versions of the packages that are installed when the page is written."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _times(bench: Bench) -> Iterator[Fact]:
    scored = [cell for cell in bench.cells if cell.scores is not None]
    forgetting = sum(cell.scores.seconds for cell in scored if cell.scores is not None)
    yield Fact("forgetting and retraining", to_the_second(forgetting))
    yield Fact("attacks of membership", to_the_second(sum(cell.attack_seconds for cell in scored)))
    if bench.trials:
        spent = sum(cell.scores.seconds for cell in bench.trials if cell.scores is not None)
        yield Fact("search", f"{to_the_second(spent)} in {len(bench.trials):,} runs")
