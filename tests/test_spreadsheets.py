"""Tables that people open in a spreadsheet: it runs none of their cells."""

import csv
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from eval.rates.intervals import wilson
from pipelines.audit.damage.table import write_damage_table
from pipelines.audit.telling.tables import write_tables
from pipelines.classifiers.bench.bench_table import Row, to_csv
from pipelines.reproducing.figures import Figure
from pipelines.reproducing.result import Reproduction, write_result

FORMULA = "=cmd|' /C calc'!A0"
PIPELINES = Path(__file__).parents[1] / "pipelines"
READ_BY_US = {"jobs/demo_job.py", "bench/neighbours.py", "reproducing/materials.py"}
"""Tables of prompts, which the program reads again as they are."""


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def assert_guarded(text: str) -> None:
    assert f"'{FORMULA}" in cells(text)
    assert FORMULA not in cells(text)


def test_every_table_for_people_guards_its_cells() -> None:
    writers = {
        path.relative_to(PIPELINES).as_posix(): path.read_text(encoding="utf-8")
        for path in PIPELINES.rglob("*.py")
        if re.search(r"csv\.(Dict)?[Ww]riter\(", path.read_text(encoding="utf-8"))
    }
    assert set(writers) > READ_BY_US
    bare = {name for name, text in writers.items() if not re.search(r"safe_cell[(,]", text)}
    assert bare == READ_BY_US


def test_a_label_of_a_judge_is_no_formula_in_the_table_of_damage(tmp_path: Path) -> None:
    share = {"share": 0.5, "total": 4}
    side = {"shares": {FORMULA: share}, "entropy": 1.0}
    table = write_damage_table({"instead": {"base": side, "audited": side}}, tmp_path)
    assert_guarded(table.read_text(encoding="utf-8"))


def test_the_name_of_a_retrained_model_is_no_formula_in_the_table_of_attacks(
    tmp_path: Path,
) -> None:
    arm = SimpleNamespace(arm="plain", test=True, lines={FORMULA: wilson(1, 4)})
    verdict = SimpleNamespace(state="revived")
    record: Any = SimpleNamespace(
        name="seeds", access="prompt", verdict=verdict, arms=(arm,), lines={}
    )
    audit: Any = SimpleNamespace(attacks=(record,))
    text = write_tables(audit, tmp_path).read_text(encoding="utf-8")
    assert_guarded(text)
    assert cells(text)[14:18] == ["plain", "True", f"'{FORMULA}", "1"]


def test_a_failure_is_no_formula_in_the_table_of_classifiers() -> None:
    assert_guarded(to_csv([Row(setting="class 3", method="mine", seeds=(), failures=(FORMULA,))]))


def test_a_title_is_no_formula_in_the_table_of_a_reproduction(tmp_path: Path) -> None:
    result = Reproduction(
        experiment="salun-imagenette",
        title="",
        model={"name": "demo", "kind": "SD 1"},
        stands_in=False,
        figures=(Figure(key="ua/x", title=FORMULA, ours=None),),
        changed=(),
        not_made=(),
        differs=(),
        settings=(),
        judges={},
        seed=0,
        cells=(),
        versions={},
    )
    write_result(result, tmp_path)
    (table,) = tmp_path.glob("*.csv")
    assert_guarded(table.read_text(encoding="utf-8"))
