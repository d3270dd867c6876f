"""Which runs are compared: from folders of runs, evaluations and audits to one row a run."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from erasure.component_names import FIRST_MAIN
from erasure.errors import ErasureError
from eval.errors import EvalError
from pipelines.audit.outcome.results import FILE_NAME as AUDIT_FILE
from pipelines.audit.outcome.results import Audit
from pipelines.audit.outcome.results_file import read_audit
from pipelines.comparison.run_facts import RunFacts, base_of, run_of
from pipelines.evaluation.outcome.results import Results
from pipelines.evaluation.outcome.results_file import FILE_NAME as RESULTS_FILE
from pipelines.evaluation.outcome.results_file import read_results
from pipelines.run.run_folder import RECIPE, RECORD

EVALUATION: Final = "evaluation"
"""Name of an evaluation in the folder of its run; beside it, NAME.evaluation."""
AUDIT: Final = "audit"
AUDITS: Final = "audits"
"""Beside a run of several concepts, NAME.audits holds a folder for the audit of each."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation and where its pictures lie."""

    folder: Path
    results: Results


@dataclass(frozen=True, slots=True)
class Compared:
    """One row: a run, its evaluation and its audit, as far as they are there."""

    name: str
    """Name of the folder, or its whole path where two have one name."""
    path: Path
    """The folder that was given."""
    run: RunFacts | None = None
    evaluation: Evaluation | None = None
    audit: Audit | None = None
    notes: tuple[str, ...] = ()
    """What is missing, or lies there and does not belong to it: a sentence each."""

    @property
    def erased(self) -> tuple[str, ...]:
        """What was to be forgotten."""
        if self.evaluation is not None:
            return self.evaluation.results.erased
        if self.run is not None:
            return self.run.concepts
        return (self.audit.concept,) if self.audit is not None else ()

    @property
    def base(self) -> tuple[str, str] | None:
        """Name and hash of what its figures are held against; None where nothing says so."""
        before = self.evaluation.results.models.before if self.evaluation is not None else None
        if before is not None:
            return before.name, before.hash
        edits = self.run.main_edits if self.run is not None else ()
        return (edits[0].base, edits[0].base_hash) if edits else None


def gather(paths: Sequence[Path]) -> tuple[Compared, ...]:
    """Read what was given, and put what belongs together into one row.

    A path is the folder of a run, of an evaluation (or its `results.json`) or of an audit. What
    lies beside a run or in it is taken along: `evaluation`, `NAME.evaluation`, `audit`,
    `NAME.audit`, the first in `NAME.audits`; an evaluation finds its run likewise, or by its
    recipe. Two folders are of one run where the hashes of the weights are the same.

    Returns:
        At least two rows, in the order in which they were given.

    Raises:
        EvalError: a path is none of these, or there are fewer than two.
        CheckpointError: the record of a run is damaged.
    """
    if len(paths) < 2:
        raise EvalError(
            f"{len(paths)} result given to compare; give two or more folders of runs or evaluations"
        )
    opened = [_opened(path) for path in dict.fromkeys(paths)]
    rows = [row for row in opened if not _is_part_of_another(row, opened)]
    runs = [row.run for row in opened if row.run is not None]
    alone = [row for row in opened if row.run is None and row.evaluation is None]
    audits = [row.audit for row in alone if row.audit is not None]
    complete = [_completed(row, runs, audits) for row in rows]
    if len(complete) < 2:
        raise EvalError(
            "all of what was given is of one run, so there is nothing to compare; give the folders "
            "of two or more runs"
        )
    return tuple(_named(complete))


def _opened(path: Path) -> Compared:
    """What one path is, and what lies where it belongs."""
    folder = path.parent if path.name == RESULTS_FILE else path
    if (folder / RESULTS_FILE).exists() or path.name == RESULTS_FILE:
        row = Compared("", folder, evaluation=Evaluation(folder, read_results(path)))
        return _with_run(row)
    if (folder / AUDIT_FILE).exists():
        return Compared("", folder, audit=read_audit(folder))
    run = run_of(folder)
    if run is None:
        raise EvalError(_unknown(path))
    return _with_evaluation(Compared("", run.folder, run=run))


def _unknown(path: Path) -> str:
    if not path.exists():
        return f"there is no {path}; give the folder of a run, an evaluation or an audit"
    if (path / RECIPE).is_file():
        return f"{path} is not finished; go on with it by --resume, or leave it out"
    return (
        f"{path} holds neither {RESULTS_FILE} nor {AUDIT_FILE} nor {RECORD}; give the folder of a "
        "run, of an evaluation or of an audit"
    )


def _with_run(row: Compared) -> Compared:
    """The same with the run that the evaluation is of, where it is at hand."""
    evaluation = row.evaluation
    assert evaluation is not None
    for place in _runs_of(evaluation.folder):
        try:
            run = run_of(place) if place.is_dir() else None
        except (ErasureError, EvalError):
            words = f"the record of the run {place.name} is damaged; `erasure verify` says how"
            return _noting(row, words)
        if run is not None and run.made(_hashes(evaluation.results)):
            return _with_audit(replace(row, run=run))
    return row


def _runs_of(folder: Path) -> Iterator[Path]:
    yield folder
    if folder.name == EVALUATION:
        yield folder.resolve().parent
    if folder.name.endswith(f".{EVALUATION}"):
        yield folder.with_name(folder.name.removesuffix(f".{EVALUATION}"))
    if model := base_of(folder):  # of an evaluation, the model that it looked at
        yield Path(os.path.expanduser(model))


def _with_evaluation(row: Compared) -> Compared:
    """The same with the evaluation in the run's folder or beside it."""
    run = row.run
    assert run is not None
    for place in _beside(run.folder, EVALUATION):
        if not (place / RESULTS_FILE).is_file():
            continue
        try:
            results = read_results(place)
        except EvalError:
            row = _noting(row, f"the evaluation {place.name} is damaged; evaluate again into it")
            continue
        if run.made(_hashes(results)):
            return _with_audit(replace(row, evaluation=Evaluation(place, results)))
        row = _noting(row, f"the evaluation {place.name} is of other weights")
    return _with_audit(row)


def _with_audit(row: Compared) -> Compared:
    """The same with the first audit in the run's folder or beside it."""
    run = row.run
    assert run is not None
    own: list[Audit] = []
    for place in _audits_beside(run.folder):
        wrong = ""
        try:
            audit = read_audit(place)
        except EvalError:
            wrong = "is damaged; audit again into it"
        else:
            if _is_of(audit, row):
                own.append(audit)
            else:
                wrong = "is of other weights or behind another guard"
        if wrong and not own:
            row = _noting(row, f"the audit {place.name} {wrong}")
    if not own:
        return row
    first, *rest = dict.fromkeys(audit.concept for audit in own)
    if rest or len(row.erased) > 1:
        more = f"; audits of {', '.join(rest)} lie beside it" if rest else ""
        row = _noting(row, f"its attacks are those on {first} alone{more}")
    return replace(row, audit=own[0])


def _audits_beside(run: Path) -> Iterator[Path]:
    each = run.with_name(f"{run.name}.{AUDITS}")
    for place in (*_beside(run, AUDIT), *(sorted(each.iterdir()) if each.is_dir() else ())):
        if (place / AUDIT_FILE).is_file():
            yield place


def _noting(row: Compared, note: str) -> Compared:
    return replace(row, notes=(*row.notes, note))


def _beside(run: Path, kind: str) -> tuple[Path, Path]:
    return run / kind, run.with_name(f"{run.name}.{kind}")


def _is_part_of_another(row: Compared, opened: Sequence[Compared]) -> bool:
    """Whether what was given belongs to a row that was given as well: a run to an evaluation of it,
    which counts for more than the one beside it; an audit to a run or an evaluation."""
    others = [other for other in opened if other is not row]
    run = row.run
    if run is not None and row.path == run.folder:
        named = [o.evaluation for o in others if o.evaluation is not None and _is_named(o)]
        return any(run.made(_hashes(evaluation.results)) for evaluation in named)
    if row.evaluation is not None or row.audit is None:
        return False
    return any(_is_of(row.audit, other) for other in others)


def _is_named(row: Compared) -> bool:
    """Whether the path of a row is that of its evaluation, and not that of a run."""
    return row.run is None or row.path != row.run.folder


def _completed(row: Compared, runs: Sequence[RunFacts], audits: Sequence[Audit]) -> Compared:
    """The same with the run and the audit that were given as folders of their own; such an audit
    counts for more than the one beside the run."""
    evaluation = row.evaluation
    if row.run is None and evaluation is not None:
        hashes = _hashes(evaluation.results)
        row = replace(row, run=next((run for run in runs if run.made(hashes)), None))
    own = next((audit for audit in audits if _is_of(audit, row)), row.audit)
    notes = list(row.notes)
    if evaluation is None:
        notes.append("it has no evaluation, so it has no figures; `erasure evaluate` makes one")
    return replace(row, audit=own, notes=tuple(notes))


def _is_of(audit: Audit, row: Compared) -> bool:
    """Whether an audit attacked the weights of a row, behind the same guard."""
    if row.evaluation is not None:
        results, weights = row.evaluation.results, audit_weights(audit)
        own = _hashes(results)
        both = own.keys() & weights.keys()
        same = bool(both) and all(own[name] == weights[name] for name in both)
        return same and audit_guard(audit) == results.models.after.guard
    return row.run is not None and _attacked(audit, row.run)


def _attacked(audit: Audit, run: RunFacts) -> bool:
    return audit_guard(audit) is None and run.made(audit_weights(audit))


def audit_weights(audit: Audit) -> dict[str, str]:
    """Component -> hash of the weights that were attacked; empty in an audit that does not say."""
    weights = audit.models.get("audited", {}).get("weights")
    return {str(k): str(v) for k, v in weights.items()} if isinstance(weights, Mapping) else {}


def audit_guard(audit: Audit) -> str | None:
    """The guard before the attacked model; None where there was none."""
    guard = audit.models.get("audited", {}).get("guard")
    return guard if isinstance(guard, str) else None


def _hashes(results: Results) -> dict[str, str]:
    model = results.models.after
    return {FIRST_MAIN: model.hash, **model.hashes}


def _named(rows: Sequence[Compared]) -> Iterator[Compared]:
    """Names of folders; a whole path where two would be the same."""
    short = [_short(row) for row in rows]
    for row, name in zip(rows, short, strict=True):
        yield replace(row, name=str(row.path) if short.count(name) > 1 else name)


def _short(row: Compared) -> str:
    path = row.path.resolve()
    in_run = row.run is not None and path.name == EVALUATION
    inner = path.parent.name if in_run else path.name
    return inner.removesuffix(f".{EVALUATION}").removesuffix(f".{AUDIT}")
