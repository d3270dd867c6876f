"""A benchmark whose disk is full where a cell or its table is written."""

from pathlib import Path

import pytest
from support.console import Said
from support.leftovers import no_space_for
from support.results.leaderboard import bench, quick_bench

from erasure.storage.files import write_json
from pipelines.bench import making
from pipelines.bench.cell import Place
from pipelines.bench.extras import DISTANCE
from pipelines.bench.world import World


def cells(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/*/cell.json")}


def assert_full(said: Said, name: str) -> None:
    """It ended with a sentence on this file, after a line on each cell that was done."""
    assert said.code == 1, said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("erasure: cannot write "), said.err
    assert f"{name}: the disk is full; free some space" in last
    assert "Traceback" not in said.err


def measure(world: World, place: Place) -> None:
    """The last write of a measurement."""
    write_json(place.folder / DISTANCE / "distance.json", {})


def test_a_full_disk_at_a_cell_or_a_table_ends_the_run_and_loses_no_finished_cell(
    tiny_folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = quick_bench(tmp_path, cache=str(cache)), tmp_path / "out"
    run = (tiny_folder, recipe, out, "--only", "uce")
    with no_space_for("cell.json"):
        assert_full(bench(*run), "cell.json")
    assert cells(out) == {}
    with no_space_for("table.json"):
        assert_full(bench(*run), "table.json")
    base = cells(out)
    assert [name.split("-")[0] for name in base] == ["base"]
    with monkeypatch.context() as patch, no_space_for("distance.json"):
        only = {"method": (DISTANCE,)}
        patch.setattr(making, "wanted", lambda _, place: only.get(place.row.kind, ()))
        patch.setattr(making, "measure", measure)
        assert_full(bench(*run), "distance.json")
    assert cells(out) == base  # the row whose distances found no space is not done
    for name in ("bench.html", "table.md"):
        with no_space_for(name):
            assert_full(bench(*run), name)
        whole = cells(out)
        assert base.items() < whole.items()
    assert not list(out.rglob("*.part"))
    said = bench(*run)
    assert said.code == 0, said.err
    assert cells(out) == whole
    assert "uce" in (out / "table.md").read_text(encoding="utf-8")
