"""Each family is drawn at its own published guidance where nobody asks for another."""

import logging
from pathlib import Path

import pytest
from safetensors.torch import save_file
from support.console import erasure
from support.models.tiny_flow import write_flux, write_sd3
from support.refusals import assert_told

from erasure import read_checkpoint
from erasure.errors import ConfigError
from pipelines.audit.settings import recipe_for
from pipelines.configs.resolving import drawing_defaults
from pipelines.configs.settings import DrawingConfig
from pipelines.distances.settings import recipe_of
from pipelines.evaluation.settings import resolve_evaluation
from pipelines.run.preparing import prepare


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sd3(tmp_path_factory.mktemp("guidance") / "sd3", t5=False)


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux(tmp_path_factory.mktemp("guidance") / "flux")


def test_an_erasure_draws_at_the_guidance_of_the_family_and_says_so(
    flux: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = {"model": str(flux), "concept": "church", "mask": "random"}
    with caplog.at_level(logging.WARNING):
        recipe, _ = prepare(tables)
    assert recipe.grid.drawing.guidance == recipe.data.drawing.guidance == 3.5
    assert "drawn at guidance 3.5, which is the default of FLUX.1 dev" in caplog.text
    # `erasure erase` and `erasure mask` have no option --guidance.
    assert "unless --set data.drawing.guidance=..." in caplog.text
    assert " --guidance" not in caplog.text
    caplog.clear()
    asked = {"data": {"drawing": {"guidance": 2.0}}, "grid": {"drawing": {"guidance": 4.0}}}
    with caplog.at_level(logging.WARNING):
        recipe, _ = prepare({**tables, **asked})
    assert (recipe.grid.drawing.guidance, recipe.data.drawing.guidance) == (4.0, 2.0)
    assert "drawn at guidance" not in caplog.text


def test_evaluations_audits_and_distances_take_it_too(
    sd3: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = {"model": str(sd3), "concept": "church", "base": str(sd3)}
    assert recipe_for({"model": str(sd3), "concept": "church"}).guidance == 7.0
    assert recipe_of({**named, "retrained": str(sd3), "twin": str(sd3)}).guidance == 7.0
    asked = {"model": str(sd3), "suite": "captions"}
    assert resolve_evaluation(asked).guidance == 7.0
    assert "guidance 7, which is the default of" in caplog.text
    assert "unless --guidance says otherwise" in caplog.text
    assert resolve_evaluation({**asked, "guidance": 2.0}).guidance == 2.0
    # A suite's protocol comes before the family's own.
    assert resolve_evaluation({**asked, "suite": "unlearncanvas"}).guidance == 9.0


def test_a_model_that_draws_without_guidance_is_asked_for_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = str(write_flux(tmp_path / "schnell", "flux_schnell"))
    named = {"model": model, "concept": "church"}
    with caplog.at_level(logging.WARNING):
        prepare({**named, "mask": "random"})
        recipe_for(named)
    assert "guidance" not in caplog.text
    words = "is 7.0 and would not be read, as FLUX.1 schnell was distilled to draw without guidance"
    for part in ("data", "grid"):
        asked = {part: {"drawing": {"guidance": 7.0}}}
        with pytest.raises(ConfigError, match=f"{part}.drawing.guidance {words}; leave it out"):
            prepare({**named, "mask": "random", **asked})
    with pytest.raises(ConfigError, match=f"guidance {words}"):
        recipe_for({**named, "guidance": 7.0})
    line = ("compare", model, model, "--prompt", "x", "--seeds", 0, "--steps", 1, "--guidance", 7)
    said = erasure(*line, "--out", tmp_path / "grid.png")
    assert_told(said, 2, f"--guidance {words}")
    assert not (tmp_path / "grid.png").exists()


def test_a_file_is_of_the_family_that_its_names_or_its_config_tell(
    flux: Path, tmp_path: Path
) -> None:
    file = tmp_path / "alone.safetensors"
    network = read_checkpoint(flux).network
    save_file({name: value.contiguous() for name, value in network.items()}, file)
    asked = {"model": str(file), "concept": "church", "config": str(flux)}
    assert recipe_for(asked).guidance == 3.5


def test_stable_diffusion_is_drawn_as_before(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        recipe = recipe_for({"model": str(tiny_folder), "concept": "church"})
    assert recipe.guidance == drawing_defaults({}, canvas=False).guidance == 7.5
    assert DrawingConfig().guidance == 7.5
    assert "drawn at guidance" not in caplog.text
