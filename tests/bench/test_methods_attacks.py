"""Which attacks a benchmark makes: a preset, and further ones that may be added to its cells."""

from pathlib import Path

import pytest
from support.results.asked import attack, cell, place

from pipelines.bench.making import Maker
from pipelines.bench.rows import Row
from pipelines.bench.settings import attacks_of, bench_recipe
from pipelines.bench.world import World
from pipelines.process.progress import Reporter


@pytest.mark.parametrize(
    ("audit", "names"),
    [
        ("none", ()),
        ("quick", ("quick",)),
        ("quick, relearning,soft-token", ("quick", "soft-token", "relearning")),
        ("quick,words,relearning", ("quick", "relearning")),  # the preset has the first
        ("full,relearning", ("full",)),
    ],
)
def test_a_preset_may_be_followed_by_attacks_that_it_lacks(
    audit: str, names: tuple[str, ...]
) -> None:
    assert attacks_of(audit) == names


def test_the_attacks_change_no_key(tiny_folder: Path) -> None:
    row = Row(kind="method", name="uce", mask="all")
    keys = {
        World(bench_recipe({"model": str(tiny_folder), "audit": audit})).key(row, "church", 0)
        for audit in ("none", "quick", "quick,relearning")
    }
    assert len(keys) == 1


def test_a_cell_that_lacks_an_attack_beside_the_preset_is_attacked_by_it(tmp_path: Path) -> None:
    seen = {"audited": (0, 4)}
    at, made = cell(place(tmp_path, "uce"), attacks=[attack("words", seen)])
    other, more = cell(place(tmp_path, "esd"), attacks=[attack("relearning", seen)])

    def missing(audit: str) -> list[tuple[str, ...]]:
        maker = Maker(World(bench_recipe({"audit": audit})), Reporter(quiet=True))
        return [maker.missing(at, made), maker.missing(other, more)]

    assert missing("quick") == [(), ()]
    assert missing("quick,relearning") == [("audit",), ()]
