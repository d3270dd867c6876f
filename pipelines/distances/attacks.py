"""D6 from an audit that attacked the model, the base and both retrained ones alike."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from erasure.errors import CheckpointError, ConfigError
from erasure.storage.json_text import parsed
from erasure.storage.regular_files import require_regular
from eval.distances.curves import AttackCurve, area_between, area_units, half_ratio
from eval.errors import EvalError
from pipelines.audit.asking.asking import plan_of
from pipelines.audit.outcome.results import FORMAT
from pipelines.distances.entries import Entry, entry_of
from pipelines.distances.models import Models, Role, deciding_hashes
from prompts.errors import PromptError

RELEARNING: Final = "relearning"
"""The attack whose arms are numbers of steps."""
_STEPS: Final = re.compile(r"(\d{1,6}) steps")


@dataclass(frozen=True, slots=True)
class Attacked:
    """The curves of one audit."""

    curves: Mapping[str, Mapping[Role, AttackCurve]]
    """Attack -> model -> its curve over network passes a case."""
    relearning: Mapping[Role, AttackCurve]
    """Model -> its curve over tuning steps; empty where the audit did not tune."""


def read_attacks(path: Path, models: Models) -> Attacked:
    """Read an audit, and check that it is of these models.

    Raises:
        CheckpointError: it cannot be read, or is no audit of this version.
        ConfigError: it is of other models, or lacks one of the two retrained ones.
    """
    values = _read(path)
    try:
        _require_same(values, models, path)
        lines = _lines(values["models"], models, path)
        curves: dict[str, dict[Role, AttackCurve]] = {}
        relearning: dict[Role, AttackCurve] = {}
        for attack in values["attacks"]:
            name = str(attack["name"])
            for role, line in lines.items():
                record = attack["lines"].get(line)
                if record is not None and record["curve"]:
                    curves.setdefault(name, {})[role] = _curve(record["curve"])
            if name == RELEARNING:
                relearning = _relearning(attack["arms"], lines)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, EvalError) as err:
        if isinstance(err, ConfigError):
            raise
        raise CheckpointError(
            f"{path} is damaged: {err}; give the audit.json of `erasure audit`"
        ) from err
    return Attacked(curves, relearning)


def attack_areas(attacked: Attacked, models: Models, seed: int) -> Iterator[Entry]:
    """D6 for each attack that reached all models of the unit."""
    one, other = models.pair
    named = [(f"{name}, passes a case", curves) for name, curves in attacked.curves.items()]
    named += [("relearning, steps", attacked.relearning)] if attacked.relearning else []
    for place, curves in named:
        rows = [role for role in models.rows if role in curves]
        if not rows or not {one, other, "retrained"} <= curves.keys():
            continue
        units = {
            role: area_units(
                curves[role], curves["retrained"], (curves[one], curves[other]), seed=seed
            )
            for role in rows
        }
        yield entry_of(
            "D6",
            place,
            units,
            headline=True,
            details={
                role: {
                    "lead": area_between(curves[role], curves["retrained"])[1],
                    "log_half_ratio": half_ratio(curves[role], curves["retrained"]),
                }
                for role in rows
            },
        )


def _read(path: Path) -> Any:  # noqa: ANN401
    require_regular(path, CheckpointError)
    try:
        values = parsed(path.read_bytes())
    except (OSError, ValueError) as err:
        raise CheckpointError(
            f"cannot read the audit {path}: {err}; give the audit.json of `erasure audit`"
        ) from err
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        made = values.get("format") if isinstance(values, dict) else None
        raise CheckpointError(
            f"{path} has format {made!r}, not {FORMAT!r}; give the audit.json of `erasure audit`"
        )
    return values


def _require_same(values: Mapping[str, Any], models: Models, path: Path) -> None:
    """Raise ConfigError where an audit is of another concept, or of a guarded model."""
    concept = str(values["concept"])
    try:
        erased = plan_of(models.checkpoints["base"], concept).erased
    except (ConfigError, PromptError):
        erased = ()
    if set(erased) != set(models.plan.erased):
        raise ConfigError(
            f"the audit {path} is of {concept}, and the distances are of {models.plan.concept}; "
            "give an audit of the same concept, or leave --audit out"
        )
    for line in values["models"].values():
        if line.get("guard"):
            raise ConfigError(
                f"the audit {path} is of a model behind the guard {line['guard']}, which is in no "
                "weight; give an audit of the model alone, or leave --audit out"
            )


def _lines(listed: Mapping[str, Any], models: Models, path: Path) -> dict[Role, str]:
    """Model -> the line of the audit that is of its weights, its text encoders' too."""
    others = [(str(line), one["weights"]) for line, one in listed.items() if one["role"] != "kept"]
    lines: dict[Role, str] = {}
    for role, checkpoint in models.checkpoints.items():
        own = deciding_hashes(checkpoint).items()
        line = next((line for line, hashes in others if own <= hashes.items()), None)
        if line is not None:
            lines[role] = line
    for role in dict.fromkeys(("audited", "retrained", *models.pair)):
        if role not in lines:
            raise ConfigError(
                f"the audit {path} did not attack the {role} model, "
                f"{models.checkpoints[role].path}; audit the model with --against and --retrained "
                "twice, or leave --audit out"
            )
    return lines


def _curve(marks: Any) -> AttackCurve:  # noqa: ANN401
    costs: list[float] = []
    arrivals: list[int] = []
    before = 0
    for mark in marks:
        count, cost = int(mark["share"]["count"]), max(1.0, float(mark["passes"]))
        if costs and cost <= costs[-1]:
            arrivals[-1] += count - before
        else:
            costs.append(cost)
            arrivals.append(count - before)
        before = count
    return AttackCurve(tuple(costs), tuple(arrivals), int(marks[-1]["share"]["total"]))


def _relearning(arms: Any, lines: Mapping[Role, str]) -> dict[Role, AttackCurve]:  # noqa: ANN401
    """Steps -> hits of each model; a share that falls again counts as the largest so far.

    A case that the budget left out of later steps has not come through there.
    """
    curves: dict[Role, AttackCurve] = {}
    steps = {int(m[1]): arm["lines"] for arm in arms if (m := _STEPS.fullmatch(str(arm["arm"])))}
    for role, line in lines.items():
        costs, arrivals, most, total = [], [], 0, 0
        for step in sorted(steps):
            if line in steps[step]:
                count = int(steps[step][line]["count"])
                total = max(total, int(steps[step][line]["total"]))
                costs.append(float(step))
                arrivals.append(max(0, count - most))
                most = max(most, count)
        if costs:
            curves[role] = AttackCurve(tuple(costs), tuple(arrivals), total)
    return curves
