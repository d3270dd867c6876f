"""Stable Diffusion 1.x gives the bytes that it gave before there were families of other kinds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.console import erasure, quick_recipe
from support.models.pipelines import diffusers_pipeline
from support.models.tiny_models import write_pipeline
from support.tiny import TINY, seeded
from torch import Tensor

from erasure import read_checkpoint
from erasure.storage.tensors.hashing import weights_hash

ROUNDING = "313606cadc58a90d1016c47847d2d48b859f6d9e1ed8382f2fefde1b77c78885"
"""What diffusers' own networks made of fixed numbers where the hashes below were stored."""
RESULTS = {
    "salun": "5fd9a9f5b3393efece657071040d28d357305d940e169fd8c1082f72e717ac5f",
    "ascent": "a9f3c4a2a6dd02e1c3b663f01c32ddaf71c94380ffed86bc6466f21de5a5a4dd",
}
"""Results of three steps, stored of the version before the first transformer was a family."""


def rounding_here(folder: Path) -> str:
    """Hash what the networks of a folder give, and their gradients: they differ between machines
    and versions of torch."""
    pipeline: Any = diffusers_pipeline(read_checkpoint(folder))
    words = pipeline.text_encoder(torch.arange(77)[None] % 500)[0].detach()
    x = torch.randn(2, 4, 8, 8, generator=seeded(1))
    made = pipeline.unet(x, torch.tensor([5, 900]), words.expand(2, -1, -1)).sample
    made.square().mean().backward()
    values: dict[str, Tensor] = {n: w.grad for n, w in pipeline.unet.named_parameters()}
    with torch.no_grad():
        mean = pipeline.vae.encode(torch.randn(2, 3, 32, 32, generator=seeded(2))).latent_dist.mean
        values |= {"words": words, "made": made, "mean": mean}
        values["decoded"] = pipeline.vae.decode(mean).sample
    return weights_hash({name: value.detach() for name, value in values.items()})


@pytest.mark.slow
@pytest.mark.parametrize("method", RESULTS)
def test_a_short_run_ends_with_the_stored_bytes(method: str, tmp_path: Path) -> None:
    model = write_pipeline(tmp_path / "model", TINY)
    if (here := rounding_here(model)) != ROUNDING:
        pytest.skip(f"torch rounds otherwise here than where the hashes were stored ({here})")
    recipe, out = quick_recipe(tmp_path, cache=str(tmp_path / "cache")), tmp_path / "run"
    line = ("erase", model, "--recipe", recipe, "--concept", "church", "--device", "cpu")
    said = erasure(*line, "--method", method, "--steps", 3, "--out", out)
    assert said.code == 0, said.err
    record = json.loads((out / "erasure.json").read_text(encoding="utf-8"))
    assert record["result_hash"] == RESULTS[method]
