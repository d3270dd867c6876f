"""What goes out: the distributions, and the files that say how to build, cite and run them."""

import email
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def ran(*line: object, cwd: Path) -> str:
    """What a command printed, away from this checkout."""
    plain = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([*map(str, line)], cwd=cwd, env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install hatchling")
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", sdist, "-C", folder], check=True)
    source = folder / sdist.name.removesuffix(".tar.gz")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return folder


@pytest.mark.slow  # builds, and erases with the demo
def test_the_wheel_holds_what_running_needs_and_says_what_it_is(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        (metadata,) = (n for n in names if n.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(opened.read(metadata))
    for package in ("erasure", "eval", "pipelines", "prompts"):
        assert f"{package}/py.typed" in names
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert path.relative_to(ROOT).as_posix() in names
    assert not [n for n in names if n.startswith(("tests/", "docs/", "comfyui/", "benchmarks/"))]
    assert (said["Version"], said["Metadata-Version"]) == (PROJECT["version"], "2.4")
    assert said["Description-Content-Type"] == "text/markdown"


@pytest.mark.slow
def test_a_concept_is_erased_from_an_environment_that_has_the_wheel(
    built: Path, tmp_path: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / "bin"
    ran(scripts / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # What it depends on is that of this environment, but not the checkout that is installed in it.
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    where = ran(scripts / "python", "-c", "import erasure; print(erasure.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    assert ran(scripts / "erasure", "--version", cwd=tmp_path) == f"erasure {PROJECT['version']}\n"
    few = "--steps 2 --forget-drawn 2 --retain-drawn 2 --draws 1 --seeds 0".split()
    line = ("erase", "demo", "--concept", "church", *few, "--out", "church")
    ran(scripts / "erasure", *line, cwd=tmp_path)
    ran(scripts / "erasure", "verify", "church", cwd=tmp_path)


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["title"] == PROJECT["name"]
    assert {"cff-version", "message", "authors"} <= citation.keys()


def test_the_workflows_run_what_ci_runs_on_the_pythons_that_are_named() -> None:
    flows = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
    }
    (test,) = flows["test"]["jobs"].values()
    assert {"run": "bash .ci/run"} in test["steps"]
    start = "Programming Language :: Python :: 3."
    named = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if c.startswith(start)}
    assert set(test["strategy"]["matrix"]["python"]) == named
    (package,) = flows["package"]["jobs"].values()
    assert {"run": "make dist comfyui"} in package["steps"]
    assert {"run": "make docs"} in package["steps"]


def test_what_the_workflows_take_from_elsewhere_is_named_by_its_bits() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        taken = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert taken
        for action in taken:  # a tag can be put on other code
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action), action


def test_no_environment_of_the_makefile_goes_into_the_image() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = set(re.findall(r"^\w+ := (\.venv[\w-]*)$", makefile, re.MULTILINE))
    assert len(made) == 3
    assert made <= set((ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines())


def test_the_image_has_a_python_that_is_named_and_extras_that_exist() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (base,) = (line for line in lines if line.startswith("FROM "))
    version = base.removeprefix("FROM python:").removesuffix("-slim")
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    (install,) = (line for line in lines if "pip install" in line)
    extras = install.partition("[")[2].partition("]")[0].split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
