"""What `help()` shows of the public names: arguments, errors and an example that runs."""

import doctest
import inspect
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset, random_split

import erasure
import erasure.attacks
import erasure.classifiers
import erasure.methods
from erasure import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.prompted import PromptLists
from erasure.patches.patch import make_patch
from erasure.patches.patch_file import save_patch

WHOLE = (erasure, erasure.methods)
"""Packages of which every function and class has an example; of the others the functions have."""
OBJECTS = {
    f"{package.__name__}.{name}": (package, name)
    for package in (erasure.attacks, erasure.classifiers, erasure.methods, erasure)
    for name in package.__all__
    if package is erasure or getattr(package, name) is not getattr(erasure, name, None)
}
FUNCTIONS = [
    pytest.param(package, name, id=place)
    for place, (package, name) in OBJECTS.items()
    if inspect.isfunction(getattr(package, name))
]
CLASSES = [
    pytest.param(package, name, id=place)
    for place, (package, name) in OBJECTS.items()
    if package in WHOLE and inspect.isclass(getattr(package, name))
]


def section(text: str, title: str) -> str:
    """The lines below `Title:` of a docstring."""
    match = re.search(rf"^{title}:\n((?:(?: .*)?\n?)*)", text, re.MULTILINE)
    return match[1] if match else ""


def documented(package: ModuleType, name: str) -> str:
    return inspect.getdoc(getattr(package, name)) or ""


@pytest.mark.parametrize(("package", "name"), FUNCTIONS)
def test_every_argument_of_a_public_function_is_explained(package: ModuleType, name: str) -> None:
    explained = set(
        re.findall(r"^    (\w+):", section(documented(package, name), "Args"), re.MULTILINE)
    )
    assert explained == set(inspect.signature(getattr(package, name)).parameters)


@pytest.mark.parametrize(("package", "name"), FUNCTIONS)
def test_every_public_function_names_its_errors(package: ModuleType, name: str) -> None:
    assert re.search(
        r"^    \w+Error: \w", section(documented(package, name), "Raises"), re.MULTILINE
    )


@pytest.fixture(scope="module")
def place(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model`."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(tiny_folder, folder / "model")
    return folder


@pytest.fixture(scope="module")
def objects(place: Path, tiny_checkpoint: Checkpoint, tiny_data: ConceptData) -> dict[str, Any]:
    """The names that the examples take for known; `church.patch` lies beside the model."""
    import diffusers

    mask = erasure.find_mask(tiny_checkpoint, tiny_data, "random", density=0.2, scope="xattn")
    edited = {name: weight.clone() for name, weight in tiny_checkpoint.network.items()}
    edited["conv_in.bias"][0] += 1
    save_patch(
        place / "church.patch",
        make_patch(tiny_checkpoint.network, edited, concepts=("church",)),
    )
    known = {name: getattr(erasure, name) for name in erasure.__all__}
    known |= {"Path": Path, "torch": torch, "PromptLists": PromptLists}
    known |= {"TensorDataset": TensorDataset, "random_split": random_split}
    known |= {"StableDiffusionPipeline": diffusers.StableDiffusionPipeline}
    return known | {"checkpoint": tiny_checkpoint, "data": tiny_data, "mask": mask}


@pytest.mark.parametrize(("package", "name"), [*FUNCTIONS, *CLASSES])
def test_the_example_of_every_public_name_runs(
    package: ModuleType,
    name: str,
    place: Path,
    objects: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    example = section(documented(package, name), "Examples")
    assert ">>> " in example, f"the docstring of {name} has no example"
    assert name.lower() in example.lower()
    for entry in place.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    known = objects | {other: getattr(package, other) for other in package.__all__}
    test = doctest.DocTestParser().get_doctest(example, known, name, None, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert said == []
