"""Which attacks a benchmark makes: a preset, and further ones that may be added to its cells."""

from pathlib import Path

import pytest
from support.refusals import assert_told
from support.results.asked import attack, cell, place
from support.results.leaderboard import bench, quick_bench

from pipelines.audit.outcome.results import FILE_NAME
from pipelines.bench.extras import AUDIT, lacks_attacks, require_told
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


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[attack]\nbudgett = 3", "[attack]: budgett is unknown; the nearest known key is budget"),
        ("[attack]\nsettings = ['eta.seeds']", "[attack]: the setting 'eta.seeds' is not ATTACK."),
        ("[distance]\nbins = 0", "[distance]: bins is 0; give 1 or more"),
    ],
)
@pytest.mark.parametrize("audit", ["none", "quick"])
def test_what_no_attack_or_distance_can_be_told_is_refused_before_any_cell(
    table: str, words: str, audit: str, tiny_folder: Path, tmp_path: Path
) -> None:
    recipe = quick_bench(tmp_path)
    recipe.write_text(f"{recipe.read_text(encoding='utf-8')}\n{table}\n", encoding="utf-8")
    out = tmp_path / "out"
    refused = bench(tiny_folder, recipe, out, "--only", "uce", "--audit", audit)
    assert_told(refused, 2, words)
    assert not out.exists()


def test_pictures_for_an_audit_to_come_are_no_reason_to_refuse(tiny_folder: Path) -> None:
    pictures = {"pictures": "a", "trained": "b"}
    tables = {"model": str(tiny_folder), "concepts": ["church"], "attack": pictures}
    require_told(World(bench_recipe(tables)), "church")


def test_an_audit_whose_names_are_no_text_lacks_its_attacks(tmp_path: Path) -> None:
    (tmp_path / AUDIT).mkdir()
    (tmp_path / AUDIT / FILE_NAME).write_text('{"attacks": [{"name": []}]}', encoding="utf-8")
    assert lacks_attacks(World(bench_recipe({"audit": "quick,relearning"})), tmp_path)
