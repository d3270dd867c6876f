"""Pictures from prompts and seeds: the same in any batch, each prompt encoded once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny import CPU

from erasure.checkpoints import Checkpoint
from erasure.errors import ConfigError, TrainingError
from erasure.stable_diffusion import TextEncoder
from pipelines.generation import Painter, Request, draw_all
from pipelines.settings import DrawingConfig

REQUESTS = [
    Request("a church", 3),
    Request("a dog", 3),
    Request("a church", 2**32 + 7),
    Request("", 0),
    Request("a church", 3),
]


def drawn(checkpoint: Checkpoint, batch_size: int, **more: Any) -> NDArray[np.int16]:  # noqa: ANN401
    config = DrawingConfig(steps=3, guidance=3.0, batch_size=batch_size)
    images = draw_all(checkpoint, REQUESTS, config, CPU, **more)
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def test_a_picture_is_the_same_in_a_batch_of_any_size(tiny_checkpoint: Checkpoint) -> None:
    alone = drawn(tiny_checkpoint, 1)
    assert alone.shape == (5, 32, 32, 3)
    for batch_size in (2, 3, 5, 64):
        # One step of 255: the sums of a convolution are added up in another order.
        assert np.abs(drawn(tiny_checkpoint, batch_size) - alone).max() <= 1
    assert np.array_equal(alone[0], alone[4])
    different = [np.abs(alone[a] - alone[b]).max() for a, b in ((0, 1), (0, 2), (0, 3))]
    assert min(different) > 3  # prompts and seeds count


def test_each_prompt_is_encoded_once(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = TextEncoder.__call__

    def noting(self: TextEncoder, prompts: Any, batch_size: int = 64) -> Any:  # noqa: ANN401
        seen.extend(prompts)
        return encode(self, prompts, batch_size)

    monkeypatch.setattr(TextEncoder, "__call__", noting)
    drawn(tiny_checkpoint, 2)
    assert sorted(seen) == ["", "a church", "a dog"]


def test_pictures_come_as_they_are_drawn_and_are_counted(tiny_checkpoint: Checkpoint) -> None:
    counts: list[int] = []
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=1, batch_size=2), CPU, 16)
    images = painter.draw(REQUESTS, counts.append)
    first = next(images)
    assert isinstance(first, Image.Image)
    assert first.size == (16, 16)
    assert counts == [2]
    assert len(list(images)) == 4
    assert counts == [2, 2, 1]


def test_no_requests_draw_nothing(tiny_checkpoint: Checkpoint) -> None:
    assert draw_all(tiny_checkpoint, [], DrawingConfig(steps=1), CPU) == []


def test_a_guidance_of_one_does_not_look_at_the_empty_prompt(tiny_checkpoint: Checkpoint) -> None:
    request = [Request("a church", 0)]
    plain, guided = (
        np.asarray(draw_all(tiny_checkpoint, request, DrawingConfig(steps=2, guidance=w), CPU)[0])
        for w in (1.0, 7.5)
    )
    assert not np.array_equal(plain, guided)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_whose_pictures_are_not_finite_is_an_error(
    tiny_checkpoint: Checkpoint, value: float
) -> None:
    unet = {**tiny_checkpoint.unet}
    unet["conv_in.bias"] = torch.full_like(unet["conv_in.bias"], value)
    broken = replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": unet})
    with pytest.raises(TrainingError, match="not finite for 'a church'"):
        drawn(broken, 2)


@pytest.mark.parametrize("size", [0, -8, 4, 63])
def test_a_size_without_whole_latents_is_an_error(tiny_checkpoint: Checkpoint, size: int) -> None:
    with pytest.raises(ConfigError, match=f"size is {size}; give a multiple of 8"):
        drawn(tiny_checkpoint, 2, size=size)
