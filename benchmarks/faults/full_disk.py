"""Fill the disk at every write of every command, and see that nothing is lost by it.

    python benchmarks/faults/full_disk.py                       # at each write, by `filling.py`
    python benchmarks/faults/full_disk.py --tmpfs 12 --seed 0   # on small disks, as root on Linux

A command runs once. At each operation that takes space (a new file or folder, a write, a sync, a
rename) it is forked, and the copy, in a copy of the folder, finds the disk full from there on. It
must end with exit code 1 and one sentence that names the path, says that the disk is full and what
to do. Every file at its own name must be what it was or what it will be, and nothing half-written
may be left. Then there is space again, and in each folder that differs from the others the same
command, with `--resume` where it has that, must end as the unbroken run, byte for byte but for
times. `--tmpfs N` runs each command on N disks of random sizes, all of them too small.
"""

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from command_processes import Forks, Fresh, Workplace
from fault_jobs import ASIDE, Job, chosen_jobs, different, digests, midway, prepare
from fault_table import table

PAGE = 4096
"""Bytes a tmpfs gives out at a time."""
AMPLE = 1 << 26
"""Bytes that are enough for any of the jobs."""


@dataclass
class DiskTally:
    """What happened to one job whose disk was full."""

    writes: int = 0
    """Operations that take space, or pages, on a small disk."""
    refused: int = 0
    """How often the command ended because the disk was full."""
    again: int = 0
    """How often it was given again, with space."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Filled:
    """A job, and what is known of it."""

    place: Workplace
    job: Job
    old: Mapping[str, str]
    wanted: Mapping[str, str]

    def refusal(self, where: Path, code: int, text: str) -> Iterator[str]:
        """What is wrong with how it ended in the folder `where`, and with what it left there."""
        sentences = [line for line in text.splitlines() if line.startswith("erasure: ")]
        said = (text.strip().splitlines() or [""])[-1]
        if code != 1:
            yield f"exit {code} ({said})"
        elif "Traceback" in text or sentences != [said]:
            yield f"not one sentence ({said})"
        elif "free some space or write elsewhere" not in said:
            yield f"no help ({said})"
        elif not any(self._names(word) for word in said.replace(":", " ").split()):
            yield f"no path ({said})"
        present = digests(where)
        yield from midway(present, self.old, self.wanted, self.job)
        for name in present:
            if any(part.endswith(ASIDE) for part in Path(name).parts):
                yield f"{name} left behind"

    def _names(self, word: str) -> bool:
        """Whether a word is a path of this job."""
        names = {name.split("/")[0] for name in (*self.wanted, *self.old)}
        return word.startswith("/") or word.split("/")[0] in names

    def again(self, where: Path) -> Iterator[str]:
        """Run it to its end now that there is space; what is wrong then."""
        for arguments in (self.job.once_more(digests(where), self.old), self.job.forced):
            code = self.place.run(where, arguments)
            said = self.place.said()
            if code == 0 or "is finished" in said:
                yield from different(digests(where), self.wanted)
                return
            if "--force" not in said:
                break
        yield f"exit {code} with space again ({said})"


def at_every_write(place: Workplace, name: str, job: Job, every: int) -> DiskTally:
    """Let the disk be full at each `every`-th operation that takes space."""
    where, branches = place.folder / "work", place.folder / "branches"
    shutil.rmtree(branches, ignore_errors=True)
    branches.mkdir()
    prepare(where, job)
    old = digests(where)
    if place.run(where, job.arguments, branches=str(branches), every=every):
        sys.exit(f"{' '.join(job.arguments)}: {place.said()}")
    filled = Filled(place, job, old, digests(where))
    tried = [json.loads(line) for line in (branches / "log").read_text().splitlines()]
    tally = DiskTally(tried[-1][0])
    seen: set[str] = set()
    problems: dict[str, list[str]] = {}
    for number, operation, code in tried:
        copy = branches / f"{number:06d}"
        wrong = list(filled.refusal(copy, code, copy.with_suffix(".err").read_text()))
        tally.refused += code == 1
        state = _state(copy)
        if state not in seen:
            tally.again += 1
            wrong += filled.again(copy)
            print(f"{name}: {number} of {tally.writes}", file=sys.stderr, flush=True)
        seen.add(state)
        for problem in wrong:
            problems.setdefault(problem, []).append(f"{operation} ({number})")
        shutil.rmtree(copy)
    for problem, points in problems.items():
        tally.problems.append(f"{problem}, full at {points[0]}, {len(points)} such")
    return tally


def _state(folder: Path) -> str:
    """Hash of all there is in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        digest.update(f"{path.relative_to(folder)}\0{content}\n".encode())
    return digest.hexdigest()


def on_small_disks(
    place: Workplace, name: str, job: Job, count: int, draw: random.Random
) -> DiskTally:
    """Run a job on `count` disks that are too small."""
    where = place.folder / "small"
    with small_disk(where):
        prepare(where, job)
        old, least = digests(where), shutil.disk_usage(where).used
        if place.run(where, job.arguments):
            sys.exit(f"{' '.join(job.arguments)}: {place.said()}")
        filled, most = Filled(place, job, old, digests(where)), shutil.disk_usage(where).used
        tally = DiskTally((most - least) // PAGE)
        for _ in range(5 * count):
            prepare(where, job)
            size = draw.randrange(least, most, PAGE)
            resize(where, size)
            code = place.run(where, job.arguments)
            text = (place.folder / "err").read_text(errors="replace")
            resize(where, AMPLE)
            wrong = list(filled.refusal(where, code, text)) if code else []
            tally.refused += code == 1
            tally.again += 1
            wrong += filled.again(where)
            tally.problems += (f"{problem}, on a disk of {size:,} bytes" for problem in wrong)
            print(f"{name}: {tally.refused} of {count}", file=sys.stderr, flush=True)
            if tally.refused == count:
                break
    return tally


@contextmanager
def small_disk(where: Path) -> Iterator[None]:
    """A file system in memory, mounted at `where`."""
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={AMPLE}", "tmpfs", str(where)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"no disk can be mounted: {done.stderr.strip()}; --tmpfs needs root on Linux")
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)
        where.rmdir()


def resize(where: Path, size: int) -> None:
    """Give the disk another size, in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(where)], check=True)


def markdown(tallies: Mapping[str, DiskTally], command: str, points: str) -> str:
    """The table, and below it what is wrong; `points` says what was counted."""
    heads = ["job", points, "refused in one sentence", "given again", "problems"]
    rows = {name: (t.writes, t.refused, t.again, len(t.problems)) for name, t in tallies.items()}
    lines = [f"`python {command}`", "", *table(heads, rows)]
    problems = [f"{name}: {problem}" for name, t in tallies.items() for problem in t.problems]
    return "\n\n".join(["\n".join(lines), *problems])


def main() -> None:
    """Print the table; exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tmpfs", type=int, metavar="N", help="N small disks for each job instead")
    parser.add_argument("--every", type=int, default=1, help="only each n-th write")
    parser.add_argument("--seed", type=int, default=0, help="of the sizes")
    parser.add_argument("--jobs", nargs="+", help="beginnings of their names; all if none")
    parser.add_argument("--model", type=Path, help="a diffusers folder; a tiny one if none")
    parser.add_argument("--fork", action="store_true", help="import once, fork for each command")
    chosen = parser.parse_args()
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="full-disk-") as folder:
        place = Workplace(Path(folder), Forks() if chosen.fork else Fresh())
        for name, job in chosen_jobs(place, chosen.model, chosen.jobs).items():
            if chosen.tmpfs:
                draw = random.Random(f"{chosen.seed} {name}")
                tallies[name] = on_small_disks(place, name, job, chosen.tmpfs, draw)
            else:
                tallies[name] = at_every_write(place, name, job, chosen.every)
    print(markdown(tallies, " ".join(sys.argv), "pages" if chosen.tmpfs else "writes"))
    sys.exit(any(tally.problems for tally in tallies.values()))


if __name__ == "__main__":
    main()
