"""What the default run takes of a test that goes through methods, families and settings."""

import pytest

pytest_plugins = ["pytester"]

HOOK = """
import pytest
from support.members import thin_out

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
