"""Links in a circle are an error of the system, whichever Python follows them."""

import errno
from pathlib import Path

import pytest

from erasure.errors import ConfigError
from erasure.storage.links import resolved
from pipelines.evaluation.report.report_pictures import inline
from pipelines.ui.places import Places


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    path = tmp_path / "circle"
    path.symlink_to(path)
    return path


def test_a_circle_is_an_error_and_what_is_missing_is_none(circle: Path, tmp_path: Path) -> None:
    for path in (circle, circle / "below"):
        with pytest.raises(OSError, match=r"link") as caught:
            resolved(path)
        assert caught.value.errno == errno.ELOOP
    (tmp_path / "link").symlink_to(tmp_path / "away" / "far")
    assert resolved(tmp_path / "link" / "file") == tmp_path.resolve() / "away" / "far" / "file"


def test_a_picture_or_a_file_of_a_run_behind_a_circle_is_not_there(
    circle: Path, tmp_path: Path
) -> None:
    assert inline(tmp_path, circle.name).missing == "circle leads to no picture"
    run = tmp_path / "run"
    run.mkdir()
    (run / "erasure.json").write_text("{}")
    (run / "grid.png").symlink_to(run / "grid.png")
    with pytest.raises(ConfigError, match="has no file of that name"):
        Places(tmp_path).file("run", "grid.png")
