"""What the buttons of the page do: each is one job of one or two commands."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.methods import METHODS
from pipelines.commands.methods import described
from pipelines.early import EMBEDDED
from pipelines.ui.beside import BESIDE, DRAWINGS, EVALUATION, audit_folder
from pipelines.ui.forms import INTENTS, EraseForm, recipe_of
from pipelines.ui.jobs import Job, Jobs
from pipelines.ui.places import Places
from pipelines.ui.runs import concepts_of, known_base

_FORMATS: Final = {
    "file": ("single-file", ".safetensors"),
    "folder": ("diffusers", "-diffusers"),
    "patch": ("patch", ".patch"),
    "lora": ("lora", "-lora.safetensors"),
}
"""What may be exported -> its `--to`, and how its name ends beside the run."""
_TYPES: Final = ("", "fp32", "fp16", "bf16")
_PATIENCE: Final = 300
"""Seconds that a price may take: the model is opened for it."""


def erase(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Start the erasure of a form."""
    form = EraseForm.of(values)
    line = form.line(places)
    if form.name.endswith(BESIDE):
        raise ConfigError(
            f"the name {form.name!r} ends as what is written beside a run does; leave out its "
            f"{form.name[form.name.rindex('.') :]}"
        )
    if places.new_run(form.name).exists():
        raise ConfigError(f"there is a run {form.name!r} already; choose another name")
    return jobs.start(f"erase {form.name}: {', '.join(form.concepts)}", [line], form.name)


def price(places: Places, values: Mapping[str, Any]) -> dict[str, Any]:
    """The command of a form, and what it would take: memory, minutes and disk.

    Raises:
        ConfigError: the form or the command refuses.
    """
    line = EraseForm.of(values).line(places)
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *line, "--dry-run", "--json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired as err:
        raise ConfigError(
            f"the price was not counted within {_PATIENCE} seconds; start the run without it, or "
            "give the command with --dry-run in a terminal"
        ) from err
    if asked.returncode:
        said = asked.stderr.strip().splitlines()
        last = said[-1].removeprefix("erasure: ") if said else f"it ended with {asked.returncode}"
        raise ConfigError(last)
    bill = json.loads(asked.stdout)
    stages = bill["stages"]
    return {
        "line": ["erasure", *line],
        "minutes": sum(stage["minutes"] for stage in stages),
        "main": max(stage["main"] for stage in stages),
        "device": max((stage["device"] or 0 for stage in stages), default=0),
        "free": bill["free_main"],
        "disk": sum(bill["disk"].values()),
        "stages": [{key: stage[key] for key in ("name", "minutes", "main")} for stage in stages],
        "notes": [*bill["notes"], *bill["warnings"]],
    }


def line_of(places: Places, values: Mapping[str, Any]) -> dict[str, Any]:
    """The command of a form, without opening the model."""
    return {"line": ["erasure", *EraseForm.of(values).line(places)]}


def draw(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Draw a prompt of the user's own by both models, from one seed."""
    run, prompt, seed = (_text(values, key) for key in ("run", "prompt", "seed"))
    if not prompt.strip() or not re.fullmatch("[0-9]{1,9}", seed):
        raise ConfigError("a drawing wants a prompt, and a seed of up to nine digits")
    folder = places.written(places.beside(run, DRAWINGS))
    line = ["compare", known_base(places, run), str(places.run(run)), f"--prompt={prompt}"]
    name = f"{seed}-{secrets.token_hex(3)}"
    line += [f"--seeds={seed}", "--out", str(folder / f"{name}.png")]
    return jobs.start(f"draw {run}: {prompt}", [line], run)


def evaluate(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Judge pictures of plain prompts; the canvas has its suite, others want the command line."""
    run = _text(values, "run")
    base = known_base(places, run)
    if base != "demo":
        raise ConfigError(
            "the suite for this model is yours to choose: erasure evaluate "
            f"{places.run(run)} --against {base} --suite NAME --out DIR"
        )
    out = places.written(places.beside(run, EVALUATION))
    line = ["evaluate", str(places.run(run)), "--against", base, "--suite", "canvas"]
    return jobs.start(f"evaluate {run}", [[*line, "--limit", "60", "--out", str(out)]], run)


def audit(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Attack one concept that the run has forgotten by the quick attacks."""
    run = _text(values, "run")
    concept = _text(values, "concept")
    out = places.written(audit_folder(places, run, concept, concepts_of(places, run)))
    line = ["audit", str(places.run(run)), f"--concept={concept}"]
    line += ["--against", known_base(places, run), "--attacks", "quick", "--out", str(out)]
    return jobs.start(f"audit {run}: {concept}", [line], run)


def export(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Write the run's model as a file, a folder, a patch or a LoRA, beside the run."""
    run, kind, dtype = (_text(values, key) for key in ("run", "to", "dtype"))
    if kind not in _FORMATS or dtype not in _TYPES:
        raise ConfigError(f"an export is one of {', '.join(_FORMATS)}; reload the page")
    form, ending = _FORMATS[kind]
    out = places.written(places.beside(run, ending))
    line = _writing(jobs, out, "export", str(places.run(run)), "--to", form)
    if kind in ("patch", "lora"):
        line += ["--base", known_base(places, run)]
    elif dtype:
        line += ["--dtype", dtype]
    return jobs.start(f"export {out.name}", [line], run)


def undo(places: Places, jobs: Jobs, values: Mapping[str, Any]) -> Job:
    """Take the edit out again, to the bit: the patch of the run, removed from its model."""
    run = _text(values, "run")
    patch, out = (places.written(places.beside(run, end)) for end in (".patch", "-undone"))
    model = str(places.run(run))
    base = known_base(places, run)
    return jobs.start(
        f"undo {run}",
        [
            [*_writing(jobs, patch, "export", model, "--to", "patch"), "--base", base],
            _writing(jobs, out, "patch", "remove", model, str(patch)),
        ],
        run,
    )


def _writing(jobs: Jobs, out: Path, *command: str) -> list[str]:
    """A command and where it writes to; what is there already is replaced where a job of the page
    made it by the same command: neither a run that was given such a name, nor what was made of
    another run, whose name and ending come to the same.

    Raises:
        ConfigError: what is there is of somebody else's making.
    """
    place = ("--out", str(out))
    same = (line for line in jobs.lines() if line[: len(command)] == command)
    if any(place == line[n : n + 2] for line in same for n in range(len(line))):
        return [*command, *place, "--force"]  # a job that waits may have written it by then
    if not out.exists():
        return [*command, *place]
    raise ConfigError(
        f"there is {out.name!r} already, which this button did not write for this run; move it "
        "away or give it another name, then press the button again"
    )


ACTIONS: Final[Mapping[str, Callable[[Places, Jobs, Mapping[str, Any]], Job]]] = {
    "erase": erase,
    "draw": draw,
    "evaluate": evaluate,
    "audit": audit,
    "export": export,
    "undo": undo,
}


def setup(places: Places) -> dict[str, Any]:
    """What the form offers."""
    return {
        "models": list(places.known_models()),
        "embedded": list(EMBEDDED),
        "intents": dict(INTENTS),
        "methods": [
            {
                "name": kind.name,
                "title": kind.title,
                "settings": described(kind)["settings"],
                "recipes": {intent: recipe_of(kind.name, intent) for intent in INTENTS},
            }
            for kind in METHODS.values()
        ],
    }


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise ConfigError(f"{key} must be a line of at most 200 letters")
    return value
