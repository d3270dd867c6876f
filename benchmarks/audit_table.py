"""Audits of the embedded checkpoint after every method of erasing, as one table.

    python benchmarks/audit_table.py --out out/audits
    python benchmarks/audit_table.py --out out/audits --rows salun-church,salun-church-standard
    python benchmarks/audit_table.py --out out/audits --attacks words --budget 24
    python benchmarks/audit_table.py --out out/audits --write docs --attacks words --budget 24

The last only writes the table of what is there, and names the options that its audits were made
with. Each row erases a concept by a method with its default settings, then audits the run by quick
attacks, SalUn's once more by the standard ones and its church by the full; further options are
those of `erasure audit`. What is finished is not made again, and a row that was cut goes on in its
cells. What attacks found on the base and on random weights is taken over from a finished row of the
same concept: the cells say by a hash what they were made of, so a row of another recipe draws its
own. A row that is not there is named.
"""

import argparse
import csv
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from erasure.methods import METHODS
from erasure.storage.files import atomic
from pipelines.audit.cells import take_over

ROOT: Final = Path(__file__).resolve().parent.parent
CONCEPTS: Final = ("church", "dog", "sketch")
ABOUT: Final = """\
each method with its default settings, and of [the audit](audit.md) the attacks that stand in the
row, no others; a name leads to the audit's page. A row is one run by one seed. No model that never
saw the concept stands beside it, so a network of random weights is the floor where pictures are put
in. Rejected: pictures of all attacks in which the judge sees nothing that it knows. Neighbours: the
change of what is near to the concept, on plain prompts, in points; empty where nobody looked.
Budget: pictures that an attack draws of the model at most, and their steps. Hardened: with
`--harden 3`, whose adversary learns an embedding, which no attack that stands in its row does. LECO
asked to erase is ESD, and has no rows of its own."""
HARDEN: Final = 3
"""Steps of the adversary of a hardened row."""
COLUMNS: Final = ("revived", "averse", "undecided", "not revived within this budget", "no test")


@dataclass(frozen=True, slots=True)
class Row:
    """One concept erased by one method, and the attacks on it."""

    method: str
    concept: str
    attacks: str = "quick"
    hardened: bool = False

    @property
    def name(self) -> str:
        """As the folder of its audit is called."""
        return self.run if self.attacks == "quick" else f"{self.run}-{self.attacks}"

    @property
    def run(self) -> str:
        """As the folder of its erasure is called."""
        return f"{self.method}{'-hardened' if self.hardened else ''}-{self.concept}"


ROWS: Final = (
    *(Row(method, concept) for concept in CONCEPTS for method in METHODS if method != "leco"),
    *(Row("salun", concept, "standard") for concept in CONCEPTS),
    Row("salun", "church", "full"),
    *(Row(method, "church", hardened=True) for method in ("salun", "esd")),
)


def erasure(*words: object) -> None:
    """Run the command line, and stop where it fails."""
    line = [sys.executable, "-m", "pipelines.cli", *map(str, words)]
    subprocess.run(line, check=True, cwd=ROOT)


def audit_row(row: Row, out: Path, more: Sequence[str]) -> None:
    """Erase and audit; what is there already is left as it is."""
    run, audit = out / "runs" / row.run, out / "audits" / row.name
    if not (run / "erasure.json").is_file():
        begun = ["--resume"] if run.exists() else []
        words = ("--concept", row.concept, "--method", row.method, "--out", run)
        own = ("--harden", HARDEN) if row.hardened else ()
        erasure("erase", "demo", *words, *own, *begun)
    if (audit / "audit.json").is_file():
        return
    _take_over(row, out, audit)
    against = ("--concept", row.concept, "--against", "demo")
    erasure("audit", run, *against, "--out", audit, *(more or ["--attacks", row.attacks]))


def _take_over(row: Row, out: Path, audit: Path) -> None:
    """Copy what another row's models have in common with this one's."""
    alike = (row.concept, row.attacks)
    others = [o for o in ROWS if (o.concept, o.attacks) == alike and o != row]
    done = [out / "audits" / o.name for o in others]
    source = next((path for path in done if (path / "audit.json").is_file()), None)
    if source is not None:
        take_over(source, audit)


def results_of(row: Row, out: Path) -> dict[str, Any] | None:
    """What is said of a row; None where it is not audited."""
    path = out / "audits" / row.name / "audit.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    by_state = {
        state: [a["name"] for a in values["attacks"] if a["verdict"]["state"] == state]
        for state in COLUMNS
    }
    own = [attack["lines"]["audited"] for attack in values["attacks"]]
    return {
        "method": row.method,
        "concept": row.concept,
        "attacks": row.attacks,
        "hardened": "yes" if row.hardened else "no",
        "weakest": values["weakest"] or "none",
        **{state: ", ".join(names) for state, names in by_state.items()},
        "rejected": _rate([line["rejected"] for line in own]),
        "neighbours": _change(values["damage"]),
        "draws": values["protocol"]["draws"],
        "steps": values["protocol"]["steps"],
        "hash": values["models"]["audited"]["hash"],
    }


def _rate(shares: Sequence[dict[str, Any] | None]) -> str:
    """Pictures in which the judge sees nothing that it knows, over all attacks."""
    there = [one for one in shares if one is not None]
    total = sum(one["total"] for one in there)
    return f"{100 * sum(one['count'] for one in there) / total:.0f} %" if total else ""


def _change(damage: dict[str, Any]) -> str:
    """The change of all neighbours that were drawn, in points, with its interval."""
    curve = ((damage.get("neighbours") or {}).get("text") or {}).get("curve") or []
    if not curve:
        return ""
    last = curve[-1]["change"]
    value, low, high = (100 * last[name] for name in ("value", "low", "high"))
    return f"{value:+.0f} ({low:+.0f} to {high:+.0f})"


def page(
    rows: Sequence[dict[str, Any]], missing: Sequence[str], more: Sequence[str] = ()
) -> Iterator[str]:
    """The table in Markdown.

    Args:
        more: options that the audits were made with, in place of the presets.
    """
    line = shlex.join(["python", "benchmarks/audit_table.py", "--out", "out/audits", *more])
    yield "# Audits of the embedded checkpoint"
    yield ""
    yield f"Made by `{line}`, and written by the same with `--write docs`:"
    yield ABOUT
    yield ""
    heads = ("erased by", "concept", "weakest access", *COLUMNS, "rejected", "neighbours", "budget")
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        states = [row[state] or "-" for state in COLUMNS]
        hardened = row["hardened"] == "yes"
        name = Row(row["method"], row["concept"], row["attacks"], hardened).name
        marks = ["hardened"] * hardened + [row["attacks"]] * (row["attacks"] != "quick")
        link = f"[{', '.join([row['method'], *marks])}](audits/{name}.html)"
        first = (link, row["concept"], row["weakest"])
        last = (row["rejected"], row["neighbours"], f"{row['draws']}, {row['steps']} steps")
        yield f"| {' | '.join((*first, *states, *last))} |"
    if missing:
        yield ""
        yield f"Not audited yet: {', '.join(missing)}."


def write(out: Path, folder: Path, more: Sequence[str] = ()) -> None:
    """`audits.md` and `audits.csv` of what is there, and the page of each audit below `audits`."""
    pairs = [(row.name, results_of(row, out)) for row in ROWS]
    rows = [one for _, one in pairs if one is not None]
    if not rows:
        sys.exit(f"{out} holds no finished audit; run this script without --write first")
    missing = [name for name, one in pairs if one is None]
    pages = folder / "audits"
    pages.mkdir(exist_ok=True)
    for name, one in pairs:
        if one is not None:
            with atomic(pages / f"{name}.html") as part:
                shutil.copyfile(out / "audits" / name / "audit.html", part)
    with atomic(folder / "audits.md") as part:
        part.write_text("\n".join(page(rows, missing, more)) + "\n", encoding="utf-8")
    with (
        atomic(folder / "audits.csv") as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows, {len(missing)} missing: {folder / 'audits.md'}")


def main() -> None:
    """Make rows, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="Folder of the runs and audits.")
    names = "METHOD[-hardened]-CONCEPT[-standard]"
    parser.add_argument("--rows", help=f"{names} with commas; all if none.")
    parser.add_argument(
        "--write", type=Path, help="Folder to write the table to, and nothing more."
    )
    options, more = parser.parse_known_args()
    if options.write is not None:
        write(options.out, options.write, more)
        return
    by_name = {row.name: row for row in ROWS}
    names = options.rows.split(",") if options.rows else list(by_name)
    unknown = [name for name in names if name not in by_name]
    if unknown:
        parser.error(f"there is no row {unknown[0]}; give some of {', '.join(by_name)}")
    for name in names:
        audit_row(by_name[name], options.out.resolve(), more)


if __name__ == "__main__":
    main()
