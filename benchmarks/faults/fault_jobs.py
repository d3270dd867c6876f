"""The commands that are broken on purpose, what is there before them, what should be after them."""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from command_processes import Workplace

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """save_every = 1
device = "cpu"
cache = "cache"
[saliency]
draws = 2
[train]
steps = 6
batch_size = 2
warmup = 0
[data.forget]
drawn = 2
[data.retain]
drawn = 2
[data.drawing]
steps = 2
[grid]
seeds = "0"
[grid.drawing]
steps = 2
"""
PROMPTS = """prompt,object,style,seed
a church in sketch style,church,sketch,1
a church in flat style,church,flat,2
a dog in sketch style,dog,sketch,3
a dog in flat style,dog,flat,4
"""
TIMES = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?|\d{4}-\d\d-\d\d \d\d:\d\d")
SPENT = re.compile(rb"<div><dt>[^<]*</dt><dd>(\d+ h )?(\d+ min )?[\d.]+ s</dd></div>\s*")
"""A row of the report; a run that goes on has no row for what it need not do again."""
SEAL = re.compile(rb'"(erasure\.)?checksum": ?"[0-9a-f]{64}"')
"""The checksum over a record's or a header's words, which the clock's are among."""
UNFINISHED = "*state*.safetensors*"
"""What training keeps to go on; not part of a result."""
ASIDE = (".part", ".replaced")
"""Endings of names that no reader takes for a result."""
SET_ASIDE = r"\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.replaced"
"""What stands behind the name of a folder that was set aside."""


@dataclass(frozen=True)
class Job:
    """A command, what is there before it, and how it is given again."""

    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    before: str | None = None
    """An older result, copied to the place of the new one."""
    place: str = ""
    keeps: bool = True
    """Whether the older result stays until the new one is whole. Training with --force removes it
    when the new run begins, so that no folder holds parts of two runs."""

    @property
    def forced(self) -> tuple[str, ...]:
        """The command with `--force`, which it may have anyway."""
        return (*(one for one in self.arguments if one != "--force"), "--force")

    def once_more(self, present: Mapping[str, str], old: Mapping[str, str]) -> tuple[str, ...]:
        """The command as it is given again.

        Where the older result is still whole, nothing of the new one is there to go on with, so it
        is the same command; else what goes on with a run does not replace it too.

        Args:
            present: as `digests` gives it, for the folder now.
            old: before the job.
        """
        if self.before is not None and old.items() <= present.items():
            return self.arguments
        resumed = "--resume" in self.again
        return (*(one for one in self.arguments if not (resumed and one == "--force")), *self.again)


def jobs_of(model: Path, run: Path, other: Path) -> dict[str, Job]:
    """All jobs, by name; they run in a folder of their own.

    Args:
        model: to erase from.
        run: a finished run on it.
        other: a diffusers folder to write over.
    """
    base, edited = str(model), str(run)
    erased = ("--concept", "church", "--recipe", "quick.toml")
    quick = ("--steps", "2", "--batch-size", "2")
    drawn = ("--prompt", "an image of a church", "--prompt", "a dog", "--seeds", "0-1", *quick)
    judged = ("--suite", "csv", "--prompts", "prompts.csv", "--judge", "canvas", *quick)
    force = ("--force",)
    return {
        "training": Job(("erase", base, *erased, "--out", "run"), ("--resume",)),
        "training over an older run": Job(
            ("erase", base, *erased, "--seed", "1", "--out", "run", *force),
            ("--resume",),
            before=edited,
            place="run",
            keeps=False,
        ),
        "mask": Job(("mask", base, *erased, "--out", "mask.safetensors")),
        "drawing": Job(
            ("compare", base, edited, *drawn, "--out", "grid.png", "--pictures", "pictures")
        ),
        "evaluation": Job(("evaluate", edited, "--against", base, *judged, "--out", "evaluation")),
        "export to a folder": Job(("export", edited, "--to", "diffusers", "--out", "folder")),
        "export over an older folder": Job(
            ("export", edited, "--to", "diffusers", "--out", "folder", *force),
            before=str(other),
            place="folder",
        ),
        "export to a file": Job(("export", edited, "--dtype", "fp16", "--out", "one.safetensors")),
        "export to a patch": Job(
            ("export", edited, "--to", "patch", "--base", base, "--out", "church.patch")
        ),
    }


def chosen_jobs(
    place: Workplace, model: Path | None, names: Sequence[str] | None
) -> dict[str, Job]:
    """The jobs whose names begin so, all if none; makes the models they need."""
    model = model or tiny_pipeline(place.folder / "model")
    run = place.folder / "run" / "run"
    jobs = jobs_of(model, run, model)
    chosen = {n: job for n, job in jobs.items() if names is None or n.startswith(tuple(names))}
    if not chosen:
        sys.exit(f"there is no job {names}; known are {', '.join(jobs)}")
    if any(str(run) in (*job.arguments, job.before) for job in chosen.values()):
        prepare(run.parent, jobs["training"])
        if place.run(run.parent, jobs["training"].arguments):
            sys.exit(f"the model to start from cannot be made: {place.said()}")
    return chosen


def tiny_pipeline(folder: Path) -> Path:
    """The random pipeline of the tests."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    from support.tiny import write_tiny_pipeline  # type: ignore[import-not-found]

    write_tiny_pipeline(folder)
    return folder


def prepare(where: Path, job: Job) -> None:
    """What is there before a job, in an empty folder."""
    if where.exists():
        for path in where.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    where.mkdir(exist_ok=True)
    (where / "quick.toml").write_text(RECIPE)
    (where / "prompts.csv").write_text(PROMPTS)
    if job.before is not None:
        shutil.copytree(job.before, where / job.place)


def digests(folder: Path) -> dict[str, str]:
    """Path -> hash of every file, times left out; folders that are empty too."""
    by_name = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            by_name[name] = hashlib.sha256(timeless(path)).hexdigest()
        elif not any(path.iterdir()):
            by_name[f"{name}/"] = ""
    return by_name


def timeless(path: Path) -> bytes:
    """The content without what the clock put there."""
    content = path.read_bytes()
    if fnmatch(path.name, UNFINISHED):
        return b""
    if path.name in ("erasure.json", "results.json"):
        try:
            value = json.loads(content)
            value.pop("seconds", None)
            content = json.dumps(value).encode()
        except ValueError:  # half a file, which the hash will show
            return content
    return TIMES.sub(b"<time>", SPENT.sub(b"", SEAL.sub(b"<seal>", content)))


def midway(
    present: Mapping[str, str], old: Mapping[str, str], wanted: Mapping[str, str], job: Job
) -> Iterator[str]:
    """What is wrong in the folder of a job that was cut: half a file, or a lost one.

    Args:
        found: as `digests` gives it, for the folder now.
        old: before the job.
        wanted: after an unbroken run.
    """
    for name, digest in present.items():
        aside = any(part.endswith(ASIDE) for part in Path(name).parts)
        if not aside and name in wanted and digest not in (wanted[name], old.get(name)):
            yield f"{name} is half-written"
    for name in old:
        place = re.escape(job.place)
        moved = re.compile(re.escape(name).replace(place, f"{place}{SET_ASIDE}", 1))
        there = name in present or (job.place and any(map(moved.fullmatch, present)))
        if not there and name in wanted and job.keeps:
            yield f"{name} is lost"


def different(present: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """What is wrong in the folder of a job that has ended."""
    for name in sorted(present.keys() | wanted.keys()):
        if name not in present:
            yield f"{name} missing"
        elif name not in wanted:
            yield f"{name} left behind"
        elif present[name] != wanted[name]:
            yield f"{name} differs"
