"""A benchmark in a folder: fill the missing cells one by one, and write the table after each.

In the folder: `protocol.json`, `cells/CONCEPT/ROW-HASH/`, and what is made of the cells,
`table.json`, `table.csv`, `table.md` and `bench.html`. Several processes with the same command
share the cells: each takes those that no other has in work.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from erasure.errors import ConfigError, InUseError
from erasure.storage.claims import claimed
from erasure.storage.files import atomic
from pipelines.bench.cell import ERASE, EVALUATED, FILE_NAME, Cell, Place, read_cell
from pipelines.bench.extras import require_told
from pipelines.bench.making import NEIGHBOURS, Maker
from pipelines.bench.page.page import write_page
from pipelines.bench.protocol import begin, protocol_of
from pipelines.bench.rows import MODELS, Row, models_of, rows_of
from pipelines.bench.search import TRIALS, Fill, Search, Trial, concepts_like, write_trials
from pipelines.bench.settings import MASKS, BenchRecipe
from pipelines.bench.sources import Sources
from pipelines.bench.tables.forms import to_csv, to_json, to_markdown
from pipelines.bench.tables.table import Table, table_of
from pipelines.bench.world import World, require_models
from pipelines.configs.resolving import refuse_unread_by_all
from pipelines.configs.settings import EraseRecipe
from pipelines.evaluation.run import require_judged
from pipelines.process.progress import Reporter

CELLS: Final = "cells"
_WHOLE: Final = (ERASE, EVALUATED, NEIGHBOURS)
"""Parts of a cell that are made together."""


@dataclass(frozen=True)
class Bench:
    """A benchmark that is checked and can begin."""

    world: World
    rows: tuple[Row, ...]
    protocol: Mapping[str, Any]
    out: Path
    tuned: dict[str, Mapping[str, Row]] = field(default_factory=dict)
    """Concept -> label -> the row as a search has set it."""
    notes: tuple[str, ...] = ()
    """What was taken for granted of the models beside the base, a sentence each."""

    def places(self) -> list[Place]:
        """All cells, concept by concept, row by row, seed by seed."""
        return list(self._places())

    def table(self, places: Sequence[Place], cells: Mapping[str, Cell]) -> Table:
        """The table of these cells, which names those that it passes over."""
        return replace(table_of(places, cells), unnamed=self.unnamed(places))

    def unnamed(self, places: Sequence[Place]) -> tuple[str, ...]:
        """The folders of finished cells that are none of these places."""
        root, named = self.out / CELLS, {place.folder for place in places}
        done = (file.parent for file in sorted(root.glob(f"*/*/{FILE_NAME}")))
        return tuple(cell.relative_to(root).as_posix() for cell in done if cell not in named)

    def _places(self) -> Iterator[Place]:
        recipe, root = self.world.recipe, self.out / CELLS
        for concept in recipe.concepts:
            tuned = self.tuned.get(concept, {})
            for row in self.rows:
                if row.kind in MODELS[1:] and row.kind not in models_of(recipe, concept):
                    continue
                seeds = recipe.seed_list if row.kind == "method" else recipe.seed_list[:1]
                for seed in seeds:
                    yield self.world.place(tuned.get(row.label, row), concept, seed, root)


def prepare(recipe: BenchRecipe, out: Path) -> Bench:
    """Open the base and check all that can be wrong with the recipe; nothing is written.

    Raises:
        ErasureError: the model, a row, a setting or a method of the user's own.
        PromptError: the base does not know a concept, or the suite has none of its prompts.
        EvalError: as opening the judges.
    """
    world = World(recipe)
    rows = tuple(rows_of(recipe))
    for concept in (*recipe.concepts, *(recipe.tune_on if recipe.trials else ())):
        world.plan(concept)
        require_judged(world.evaluation(recipe.model, concept), world.base, world.device)
    notes = [
        f"{concept}: {note}"
        for concept in recipe.concepts
        for note in require_models(world, concept)
    ]
    _require_read(world)
    for concept in recipe.concepts:
        require_told(world, concept)
    return Bench(world, rows, protocol_of(world), out, notes=tuple(notes))


def _require_read(world: World) -> None:
    """Refuse a key of the recipe's [erase] that no row reads, whichever rows are asked for."""
    recipe = world.recipe
    if not recipe.erase:
        return
    read: list[EraseRecipe] = []
    for row in rows_of(replace(recipe, only=(), masks=MASKS)):
        if row.kind == "method":
            with suppress(ConfigError):  # the row's own cell says what is wrong with it
                read.append(world.erasure(row, recipe.concepts[0], recipe.seed_list[0]))
    if read:
        refuse_unread_by_all(recipe.erase, read)


def run_bench(bench: Bench, *, reporter: Reporter, retry: bool = False) -> Table:
    """Make every cell that is not there, and write the table.

    Args:
        retry: make cells that failed again too.

    Raises:
        CheckpointError: the folder holds something else, or another protocol.
        DiskError: the disk refuses; the cells that are done stay.
    """
    begin(bench.out, bench.protocol)
    reporter.tell([f"note: {note}" for note in bench.notes])
    maker = Maker(bench.world, reporter)
    if bench.world.recipe.trials:
        _tune(bench, maker, retry=retry)
    places = bench.places()

    def after_each() -> None:
        write_tables(bench, bench.table(places, _done(places)))

    cells = _filled(maker, places, retry=retry, after_each=after_each)
    table = bench.table(places, cells)
    write_tables(bench, table)
    return table


def table_now(bench: Bench) -> Table:
    """The table of the cells that are done; nothing is made or written."""
    places = bench.places()
    return bench.table(places, _done(places))


def write_now(bench: Bench) -> Table:
    """Write the table of the cells that are done, where a search has been made with its settings.

    Raises:
        CheckpointError: the folder holds something else, or another protocol.
        ConfigError: settings are to be searched, and not all trials are done.
        DiskError: the disk refuses.
    """
    begin(bench.out, bench.protocol)
    if bench.world.recipe.trials:
        _tune_from(bench, _only_done)
    table = table_now(bench)
    write_tables(bench, table)
    return table


def _only_done(places: Sequence[Place]) -> Mapping[str, Cell]:
    """The cells of places, all of which must be done."""
    cells = _done(places)
    left = [place.said for place in places if place.key not in cells]
    if left:
        raise ConfigError(
            f"{len(left)} trials of the search are not done, such as {left[0]}; give the same "
            "command without --tables"
        )
    return cells


def settle(bench: Bench) -> None:
    """Set the rows by the search where all its trials are done; nothing is made or written."""
    with suppress(ConfigError):
        for _ in _tuned(bench, _only_done):
            pass
        return
    bench.tuned.clear()


def _tune(bench: Bench, maker: Maker, *, retry: bool) -> None:
    """Search the settings of all rows."""

    shown: set[str] = set()

    def fill(places: Sequence[Place]) -> Mapping[str, Cell]:
        # A search asks for trials again, and while it waits for another process again and again.
        keys = {place.key for place in places}
        fresh = not keys <= shown
        shown.update(keys)
        return _filled(maker, places, retry=retry, progress=fresh)

    _tune_from(bench, fill)


def _tune_from(bench: Bench, fill: Fill) -> None:
    """Set the rows of every concept by the trials that `fill` makes or reads, and write these."""
    for trials in _tuned(bench, fill):
        write_trials(trials, bench.out)


def _tuned(bench: Bench, fill: Fill) -> Iterator[list[Trial]]:
    """Set the rows concept by concept; yields all trials so far."""
    search = Search(bench.world, bench.rows, bench.out / TRIALS, fill)
    trials: dict[tuple[str, ...], list[Trial]] = {}
    for concept in bench.world.recipe.concepts:
        bench.tuned[concept], tried = search.tuned(concept)
        trials[concepts_like(bench.world, concept)] = tried
        yield [one for group in trials.values() for one in group]


def _filled(
    maker: Maker,
    places: Sequence[Place],
    *,
    retry: bool = False,
    progress: bool = True,
    after_each: Callable[[], None] = lambda: None,
) -> dict[str, Cell]:
    """Make the cells that are not done; returns all that are, those of other processes too.

    Args:
        progress: whether it is shown how many there are; each that was made is told anyway.
    """
    cells = _done(places)
    reporter = maker.reporter
    counted = reporter if progress else Reporter(quiet=True)
    with counted.stage("cells", len(places)) as tick:
        for place in places:
            cell = cells.get(place.key)
            again = retry and maker.may_retry(place)
            if cell is None or _is_due(maker, place, cell, retry=again):
                made = _made(maker, place, retry=again)
                if made is not None:
                    reporter.tell([f"{place.said}: {_said(made)}"])
                after_each()
            tick(1, place.said)
    return _done(places)


def _is_due(maker: Maker, place: Place, cell: Cell, *, retry: bool) -> bool:
    """Whether a finished cell has something to be made, or made again."""
    again = retry and bool(cell.errors)
    return again or bool(maker.missing(place, cell) or Sources(cell, place.folder).damage)


def _made(maker: Maker, place: Place, *, retry: bool) -> Cell | None:
    """The cell, made here; None where another process has it in work."""
    try:
        with claimed(place.folder):
            there = read_cell(place)  # another process may have ended it meanwhile
            damaged = {} if there is None else Sources(there, place.folder).damage
            failed = there.errors.keys() if retry and there is not None else frozenset[str]()
            if there is None or not {*damaged, *failed}.isdisjoint(_WHOLE):
                return maker.make(place)
            again = {*damaged, *failed, *maker.missing(place, there)}
            return maker.extend(place, there, again) if again else there
    except InUseError as err:
        maker.leave(place, err)
        return None


def _done(places: Sequence[Place]) -> dict[str, Cell]:
    read = {place.key: read_cell(place) for place in places}
    return {key: cell for key, cell in read.items() if cell is not None}


def _said(cell: Cell) -> str:
    why = "; ".join(f"{part} failed: {text}" for part, text in cell.errors.items())
    return f"done in {cell.whole_seconds:.0f} s" + (f", {why}" if why else "")


def write_tables(bench: Bench, table: Table) -> None:
    """Write the table in its three forms and the page; DiskError where the disk refuses."""
    texts = {
        "table.json": to_json(table, bench.protocol),
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
    }
    for name, text in texts.items():
        with atomic(bench.out / name) as part:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    write_page(table, bench.protocol, bench.out)
