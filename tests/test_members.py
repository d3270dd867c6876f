"""What the default run takes of a test with many members, and which files go to one process."""

from pathlib import Path

import pytest
from support.collecting.scheduling import scope_of

pytest_plugins = ["pytester"]

HOOK = """
import pytest
from support.collecting.members import thin_out

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    thin_out(items)
"""
TESTS = """
import pytest

@pytest.fixture(params=["sd1", "sdxl"])
def family(request):
    return request.param

@pytest.mark.crossed
@pytest.mark.parametrize("method", ["esd", "uce", "salun"])
def test_crossed(family, method): ...

@pytest.mark.default("uce", "no such")
@pytest.mark.parametrize("method", ["esd", "uce", "salun"])
def test_named(method): ...

@pytest.mark.default("no such")
@pytest.mark.parametrize("method", ["esd", "uce"])
def test_misnamed(method): ...
"""


def collected(pytester: pytest.Pytester, marks: str) -> list[str]:
    pytester.makeconftest(HOOK)
    pytester.makepyfile(test_it=TESTS)
    pytester.makeini("[pytest]\nmarkers =\n slow\n crossed\n default\n")
    said = pytester.runpytest_inprocess("--collect-only", "-q", "-m", marks)
    return [line.partition("::")[2] for line in said.outlines if "::" in line]


def test_the_default_run_has_each_value_and_the_slow_one_the_rest(
    pytester: pytest.Pytester,
) -> None:
    default = collected(pytester, "not slow")
    assert sorted(default) == [
        "test_crossed[sd1-esd]",
        "test_crossed[sd1-salun]",
        "test_crossed[sdxl-uce]",
        "test_misnamed[esd]",
        "test_misnamed[uce]",
        "test_named[uce]",
    ]
    slow = collected(pytester, "slow")
    assert len(slow) == 5
    assert not set(slow) & set(default)


def test_files_that_share_something_costly_have_one_scope_and_others_their_own(
    tmp_path: Path,
) -> None:
    sources = {
        "test_one.py": "from support.forked import forked\n",
        "test_two.py": "import os\nfrom support.forked import run_line\n",
        "test_three.py": "tree = ast.parse(source)\n",
        "test_four.py": "import os\n",
    }
    for name, source in sources.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    scopes = [scope_of(name, tmp_path) for name in sources]
    assert scopes == ["forks", "forks", "parsed sources", "test_four.py"]
    assert scope_of("test_gone.py", tmp_path) == "test_gone.py"
