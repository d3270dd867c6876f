"""What a method refuses once pictures and mask are there: its folder stays as it was."""

from pathlib import Path

from support.console import Said, erasure
from support.refusals import CHURCH, tree

UCE = ("--method", "uce", "--set", "ridge=0", "--set", "grid.drawing.steps=1", "--seeds", 0)


def erased(model: Path, run: Path, *more: object, retained: str = "a dog") -> Said:
    """Solve without a ridge; `retained` are the prompts to keep."""
    prompts = run.parent.parent / "kept.txt"
    prompts.write_text(retained, encoding="utf-8")
    return erasure("erase", model, *CHURCH, *UCE, "--retain-prompts", prompts, "--out", run, *more)


def test_a_singular_system_leaves_no_folder(tiny_folder: Path, tmp_path: Path) -> None:
    said = erased(tiny_folder, tmp_path / "deep" / "run", retained="a dog\nA Dog")
    assert said.code == 2, said.err
    assert (
        "token 4 of 'a dog' and token 4 of 'A Dog' coincide; give a ridge above 0"
        in said.err.splitlines()[-1]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_singular_system_leaves_the_older_run_that_it_was_to_replace(
    tiny_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "church"
    assert erased(tiny_folder, run).code == 0
    before = tree(run)
    assert erased(tiny_folder, run, "--force", retained="a dog\nA Dog").code == 2
    assert tree(run) == before
