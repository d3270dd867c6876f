"""What a run leaves behind: losses, grid, model with its card, record."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.writing.card import model_card
from erasure.checkpoints.writing.folder import write_folder
from erasure.checkpoints.writing.inventory import FILES, files_of, sealed_record
from erasure.editing.proving import Edit
from erasure.solving.factor_file import save_factors
from erasure.storage.files import atomic, write_json
from pipelines.configs.settings import EraseRecipe, parse_seeds
from pipelines.drawing.layout.grid import Cell
from pipelines.early import EMBEDDED
from pipelines.process.progress import Reporter
from pipelines.run.comparing import Comparison, compare
from pipelines.run.exporting_lora import save_lora
from pipelines.run.judging.cell_judge import CellJudge
from pipelines.run.judging.cell_verdict import CellVerdict, judge_cells
from pipelines.run.model_facts import facts_of
from pipelines.run.models import pick_device
from pipelines.run.run_folder import FACTORS, LORA, MODEL, RECORD
from pipelines.words.unsafe import is_unsafe
from prompts.concepts.plan import ConceptPlan

T = TypeVar("T")
_GRID_ROWS: Final = (3, 5)
"""Forgotten and kept prompts in the grid; a prompt of each concept, where there are more."""
_MOST_CONCEPTS: Final = 12
"""Concepts that the grid shows; of more, so many at about equal distances."""


def write_history(edit: Edit, path: Path) -> None:
    """The loss of every step as CSV; a part that the loss has not is left empty."""
    lines = ["step,loss,forget,retain"]
    for step in edit.history:
        forget, retain = ("" if part is None else repr(part) for part in (step.forget, step.retain))
        lines.append(f"{step.index},{step.loss!r},{forget},{retain}")
    with atomic(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_result(
    recipe: EraseRecipe,
    checkpoint: Checkpoint,
    plan: ConceptPlan,
    edit: Edit,
    out: Path,
    report: Reporter,
    judge: CellJudge | None,
) -> CellVerdict:
    """Draw the grid with the edited weights, then write the model with its card.

    Returns:
        What a judge recognises in the grid.
    """
    edited = checkpoint.having(edit.component, edit.network)
    comparison = compare(
        checkpoint,
        edited,
        recipe.grid.prompts or grid_prompts(plan),
        parse_seeds(recipe.grid.seeds),
        erased=(*plan.forget, *plan.erased),
        drawing=recipe.grid.drawing,
        device=pick_device(recipe.device),
        reporter=report,
        size=recipe.data.size,
        title=f"{checkpoint.name} before and after erasing {plan.concept}",
    )
    comparison.grid.save(out / "grid.png")
    verdict = judge_cells(comparison, plan, judge)
    first = edit.provenance.edits[0].base
    base = f"the {first} checkpoint" if first in EMBEDDED else first
    card = model_card(edit.provenance, base=base, grid="grid.png")
    carried = {**edited.carried, "grid.png": _published(comparison, plan, out)}
    written = write_folder(
        replace(edited, carried=carried),
        out / MODEL,
        provenance=edit.provenance,
        card=card,
        force=True,
    )
    made = written.provenance
    assert made is not None
    if edit.factors:
        last = made.last
        save_factors(out / FACTORS, edit.factors, base=last.base_hash, result=last.result_hash)
    save_lora(recipe, checkpoint, edit, out)
    record = (
        made.last.to_dict()
        | made.to_dict()
        | {
            "unselected_identical": edit.unselected_identical,
            "base_read_as": facts_of(checkpoint),
            "seconds": {name: round(spent, 3) for name, spent in report.seconds.items()},
            "verdict": verdict.to_dict(),
            "grid": comparison.grid.described(out / "grid.png"),
            FILES: files_of(out, [path.name for path in _figures(out)]),
        }
    )
    write_json(out / RECORD, sealed_record(record))
    read_checkpoint(out / MODEL)  # what cannot be read again must not pass for a result
    return verdict


def _published(comparison: Comparison, plan: ConceptPlan, out: Path) -> Path:
    """The first page of the grid for the model's card, which others see: with the pictures of an
    unsafe concept blurred."""
    all_erased = is_unsafe([plan.concept])

    def unsafe(cell: Cell) -> bool:
        return (all_erased and cell.erased) or is_unsafe([cell.prompt])

    first = replace(comparison.grid, pages=comparison.grid.pages[:1])
    if not any(map(unsafe, first.pages[0].cells)):
        return out / "grid.png"
    (path,) = first.covered(unsafe).save(out / "grid-covered.png")
    return path


def _figures(out: Path) -> list[Path]:
    """Files of a run that are there before its record, but for the mask, which has a hash of its
    own."""
    kinds = (".png", ".csv", ".toml")
    return [
        path
        for path in out.iterdir()
        if path.is_file() and (path.suffix in kinds or path.name in (FACTORS, LORA))
    ]


def grid_prompts(plan: ConceptPlan) -> tuple[str, ...]:
    """Forgotten prompts first, of each concept about equally many, then kept ones, spread over
    their lists."""
    rows: list[str] = []
    rows_forgotten, rows_retained = _GRID_ROWS
    shown = _spread(plan.each, _MOST_CONCEPTS)
    least, more = divmod(max(rows_forgotten, len(shown)), len(shown))
    for number, part in enumerate(shown):
        rows += _spread(part.forget, least + (number < more))
    return (*rows, *_spread(plan.retain, rows_retained))


def _spread(prompts: Sequence[T], count: int) -> Sequence[T]:
    """Take at most `count` prompts, at about equal distances from the first one on.

    A list that is shorter than twice the count has no whole step above 1, and its last prompts
    would never be seen: of nine classes the first five would stand for all.
    """
    if len(prompts) >= 2 * count:
        return prompts[:: len(prompts) // count][:count]
    shown = min(count, len(prompts))
    return [prompts[row * len(prompts) // shown] for row in range(shown)]
