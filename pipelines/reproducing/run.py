"""One reproduction from start to end: each cell is erased, drawn and judged as by the commands."""

import logging
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from erasure.errors import CheckpointError, Way
from erasure.storage.disk import disk_errors, require_space
from erasure.storage.files import atomic
from erasure.storage.links import remove_folder
from eval.errors import EvalError
from eval.judges.judge import Judge
from pipelines.configs.recipe import dump_toml
from pipelines.configs.recipe_files import load_toml
from pipelines.evaluation.opening import open_judges
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_file import FILE_NAME as RESULTS
from pipelines.evaluation.outcome.results_file import read_results
from pipelines.evaluation.run import require_shown, run_evaluation
from pipelines.evaluation.settings import EvaluateRecipe, evaluation_text
from pipelines.process.progress import Reporter
from pipelines.reproducing.cells import ERASED, JUDGED, Cell, Setup, set_up
from pipelines.reproducing.changed import changes, settings_of
from pipelines.reproducing.cost import Cost, estimate, lines_of
from pipelines.reproducing.figures import figures_of
from pipelines.reproducing.materials import (
    require_pictures,
    require_same_prompts,
    write_pictures,
    write_prompts,
)
from pipelines.reproducing.result import Reproduction, write_result
from pipelines.reproducing.settings import ReproduceRecipe
from pipelines.run.erasing import run_erasure
from pipelines.run.memory import Less, NeedsLessError, enough_memory
from pipelines.run.model_facts import tell_model
from pipelines.run.models import open_model, pick_device
from pipelines.run.run_folder import MODEL, RECORD

_log = logging.getLogger(__name__)
RECIPE: Final = "reproduction.toml"
_HEADER: Final = (
    "A reproduction by diffusion-erasure.\n"
    "Paths stand here as they were given; leave this file out of what you publish."
)
_FREE: Final = ("micro_batch", "drop_models", "cache")
"""Settings that may be other ones when a reproduction goes on, as they may when a run does."""
_PACKAGES: Final = ("torch", "diffusers", "transformers", "diffusion-erasure")


def reproduce(
    recipe: ReproduceRecipe, out: Path, *, reporter: Reporter, dry: bool = False
) -> Reproduction | Cost:
    """Run an experiment; what is in `out` already, of the same recipe and model, is not made again.

    Args:
        dry: say what it would take, and stop; nothing is written.

    Raises:
        ErasureError: a model, a setting, the pictures or the disk.
        EvalError: a judge that cannot be had.
        PromptError: the prompts cannot be read.
    """
    checkpoint = open_model(
        recipe.model,
        config=recipe.config,
        vae=recipe.vae,
        text_encoders=recipe.text_encoders,
        allow_pickle=recipe.allow_pickle,
        prediction=recipe.prediction,
    )
    setup = set_up(recipe, checkpoint, out)
    require_pictures(setup)
    cells = tuple(setup.cells())
    for cell in cells:
        if cell.evaluate.erased and cell.evaluate.limit is not None:
            require_shown(cell.evaluate, checkpoint)
    if dry:
        return estimate(setup, cells)
    tell_model(checkpoint)
    _require_same(setup)
    require_same_prompts(setup)
    judges = _judges(cells[0].evaluate, setup)
    left = [cell for cell in cells if _finished(setup, cell, judges) is None]
    if left:
        cost = estimate(setup, left)
        reporter.tell(lines_of(cost))
        require_space(out / "cells", cost.disk)
    _begin(setup)
    results = {}
    for number, cell in enumerate(cells):
        reporter.tell([f"{cell.name}: {number + 1} of {len(cells)} models"])
        results[cell.name] = _cell(setup, cell, judges, reporter)
    result = Reproduction(
        experiment=setup.protocol.name,
        title=setup.protocol.title,
        model={
            "name": checkpoint.name,
            "kind": checkpoint.architecture.key,
            "hash": checkpoint.network_hash(),
            "wanted": setup.protocol.model.value,
        },
        stands_in=setup.stands_in,
        figures=figures_of(setup, results),
        changed=changes(setup, tuple(judges)),
        not_made=tuple(one.sentence for one in setup.protocol.not_made),
        differs=setup.protocol.differs,
        settings=settings_of(setup, cells[1]),
        judges={name: dict(judge.protocol) for name, judge in judges.items()},
        seed=recipe.seed,
        cells=tuple(cell.name for cell in cells),
        versions={name: version(name) for name in _PACKAGES},
    )
    write_result(result, out)
    return result


def _judges(recipe: EvaluateRecipe, setup: Setup) -> Mapping[str, Judge]:
    """Open them before anything is computed; EvalError names what may stand in."""
    try:
        return open_judges(recipe, torch.device("cpu"))
    except EvalError as err:
        judging = setup.protocol.judging
        others = " or ".join(f"--judge {name}" for name in judging.substitutes)
        if setup.recipe.judges or not others:
            raise
        raise EvalError(
            f"{setup.protocol.name} wants {judging.wanted}, and it cannot be had ({err}); give "
            f"{others} to let another stand in, which the result then says"
        ) from err


def _cell(setup: Setup, cell: Cell, judges: Mapping[str, Judge], reporter: Reporter) -> Results:
    """The results of a cell, made or read."""
    folder = setup.folder / cell.name
    results = _finished(setup, cell, judges)
    if results is None:
        if cell.erase is not None and cell.task is not None:
            erased = folder / ERASED
            made, there = (erased / RECORD).exists(), (erased / MODEL).exists()
            if not (made and there):  # dropped after an evaluation whose results are damaged
                write_pictures(setup, cell.task)
                with _own_ways(setup):
                    run_erasure(
                        cell.erase,
                        setup.checkpoint,
                        erased,
                        resume=not made,
                        force=made,
                        reporter=reporter,
                    )
        less = Less(other=_smaller_batch(cell.evaluate.batch_size))
        with enough_memory("drawing", less, pick_device(cell.evaluate.device)):
            results = run_evaluation(cell.evaluate, folder / JUDGED, force=False, reporter=reporter)
        assert results is not None  # a single process
    model = folder / ERASED / MODEL
    if setup.recipe.drop_models:
        with disk_errors(model):
            remove_folder(model)
    return results


@contextmanager
def _own_ways(setup: Setup) -> Iterator[None]:
    """Where an erasure runs out of memory, name what this command has for it."""
    try:
        yield
    except NeedsLessError as err:
        happened, less = err.args
        same = tuple(
            replace(way, option=f"--micro-batch {way.option.split()[1]}")
            for way in less.same
            if way.option.startswith(("--micro-batch", "--saliency-batch"))
        )
        draws = any(way.option.startswith("--drawing-batch") for way in less.same)
        other = _smaller_batch(setup.recipe.batch_size) if draws else ()
        raise NeedsLessError(happened, Less(same, other)) from err


def _smaller_batch(now: int) -> tuple[Way, ...]:
    """Fewer pictures at a time, which have other bits, so that a reproduction begins anew."""
    if now <= 1:
        return ()
    half = now // 2
    typed, written = f"--batch-size {half}", f"batch_size={half}"
    return (Way(f"{typed} with another --out", f"{written} with another out", f" (now {now})"),)


def _finished(setup: Setup, cell: Cell, judges: Mapping[str, Judge]) -> Results | None:
    """The results that are there already by the cell's own recipe and these judges; None where
    there are none, or damaged ones, which are made again."""
    folder = setup.folder / cell.name / JUDGED
    recipe = folder / "recipe.toml"
    if not ((folder / RESULTS).is_file() and recipe.is_file()):
        return None
    if load_toml(recipe) != tomllib.loads(evaluation_text(cell.evaluate)):
        return None
    try:
        results = read_results(folder)
    except EvalError as err:
        _log.warning("%s: %s", cell.name, err)
        return None
    now = {name: _deciding(judge.protocol) for name, judge in judges.items()}
    there = {name: _deciding(said) for name, said in results.protocol.judges.items()}
    return results if there == now else None


def _deciding(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge says of itself, without the version of its package."""
    return {key: value for key, value in protocol.items() if key != "package"}


def _fixed(setup: Setup) -> dict[str, Any]:
    """What must be equal for a reproduction to go on."""
    return {
        **tomllib.loads(dump_toml(setup.recipe, _HEADER, without=_FREE)),
        "model_hash": setup.checkpoint.digest(),
    }


def _require_same(setup: Setup) -> None:
    """Raise CheckpointError where `out` holds anything but this reproduction."""
    out, file = setup.out, setup.out / RECIPE
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out} is a file; give the path of a folder for --out")
    if not out.exists() or all(path.suffix == ".part" for path in out.iterdir()):
        return
    if not file.is_file():
        raise CheckpointError(f"{out} is not empty and holds no reproduction; give another --out")
    there, ours = load_toml(file), _fixed(setup)
    if there.get("experiment") != ours["experiment"]:
        raise CheckpointError(
            f"{out} holds a reproduction of {str(there.get('experiment'))[:80]!r} and not of "
            f"{ours['experiment']!r}; give another --out"
        )
    other = [key for key in sorted({*there, *ours}) if there.get(key) != ours.get(key)]
    if other:
        raise CheckpointError(
            f"{out} was begun with another {_listed(other)}; give what {file} names, or another "
            "--out"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _begin(setup: Setup) -> None:
    """Write what says whose folder it is, and the prompts."""
    if not (setup.out / RECIPE).is_file():
        text = dump_toml(setup.recipe, _HEADER, without=_FREE)
        with atomic(setup.out / RECIPE) as part:
            line = f'model_hash = "{setup.checkpoint.digest()}"\n'
            part.write_text(text + line, encoding="utf-8")
    write_prompts(setup)
