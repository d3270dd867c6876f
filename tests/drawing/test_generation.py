"""Pictures from prompts and seeds: the same in any batch, each prompt encoded once."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.models.pipelines import diffusers_pipeline
from support.tiny import CPU

from erasure.architectures.building import (
    build_text_encoder,
    own_size,
)
from erasure.architectures.text.text_encoders import TextEncoder
from erasure.checkpoints import Checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.errors import CheckpointError, ConfigError, TrainingError
from erasure.seeds import initial_noise
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing import conditions
from pipelines.drawing.generation import Painter, draw_all
from pipelines.drawing.requests import Request, in_batches, key_of_pictures
from pipelines.drawing.schedulers import SCHEDULERS, build_scheduler

REQUESTS = [
    Request("a church", 3),
    Request("a dog", 3),
    Request("a church", 2**32 + 7),
    Request("", 0),
    Request("a church", 3),
]

old_array = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
"""diffusers and NumPy 2.4."""


def drawn(checkpoint: Checkpoint, batch_size: int, **more: Any) -> NDArray[np.int16]:  # noqa: ANN401
    config = DrawingConfig(steps=3, guidance=3.0, batch_size=batch_size)
    images = draw_all(checkpoint, REQUESTS, config, CPU, **more)
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


def test_a_cache_keeps_apart_what_models_of_the_same_weights_draw(
    tiny_checkpoint: Checkpoint,
) -> None:
    own = tiny_checkpoint.description
    vae = {**own.components["vae"], "scaling_factor": 2.0}
    index = {**own.model_index, "id2label": {"0": "church"}}
    noted = {**own.model_index, "_diffusers_version": "9.9"}
    others = [
        own.having(vae=vae),
        replace(own, model_index=index),
        own.speaking(tokenizer={"merges.txt": b""}),
        replace(own, scheduler={**own.scheduler, "steps_offset": 7}),
    ]
    keys = [
        key_of_pictures(replace(tiny_checkpoint, description=one), DrawingConfig(), 64, REQUESTS)
        for one in (own, *others, replace(own, model_index=noted))
    ]
    assert len(set(keys)) == 1 + len(others)
    assert keys[-1] == keys[0]


def test_a_picture_is_the_same_in_a_batch_of_any_size(tiny_checkpoint: Checkpoint) -> None:
    alone = drawn(tiny_checkpoint, 1)
    assert alone.shape == (5, 32, 32, 3)
    for batch_size in (2, 64):
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


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_a_condition_draws_the_picture_of_its_prompt_to_the_byte(
    tiny_checkpoint: Checkpoint, guidance: float
) -> None:
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=2, guidance=guidance), CPU)
    encode = build_text_encoder(tiny_checkpoint)
    conditions = {prompt: encode([prompt]) for prompt in ("a church", "a dog", "")}
    pictures = [
        [np.asarray(image) for image in painter.draw([Request(one, 3) for one in prompts])]
        for prompts in (
            conditions.keys(),
            conditions.values(),
            ["a church", conditions["a dog"], ""],
        )
    ]
    for same in zip(*pictures, strict=True):
        assert np.array_equal(same[0], same[1])
        assert np.array_equal(same[0], same[2])
    assert not np.array_equal(pictures[0][0], pictures[0][1])


def test_a_condition_that_is_changed_draws_anew_and_prompts_stay_what_they_were(
    tiny_checkpoint: Checkpoint,
) -> None:
    # Nothing of a condition is kept: the same object with other values gives another picture.
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=2, guidance=7.5), CPU)
    condition = build_text_encoder(tiny_checkpoint)(["a church"])

    def drawn_of(prompt: str | Condition) -> NDArray[np.uint8]:
        (image,) = painter.draw([Request(prompt, 3)])
        return np.asarray(image)

    words, plain = drawn_of("a church"), drawn_of(condition)
    condition.tokens.neg_()
    assert not np.array_equal(drawn_of(condition), plain)
    assert np.array_equal(drawn_of("a church"), words)


def test_a_condition_of_another_model_or_of_two_pictures_is_refused(
    tiny_checkpoint: Checkpoint,
) -> None:
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=1), CPU)
    own = build_text_encoder(tiny_checkpoint)(["a church", "a dog"])
    narrow = Condition({"tokens": own.tokens[:1, :, :4]})
    labels = Condition({"labels": torch.tensor([1])})
    more = own[torch.tensor([0])].having(labels=torch.tensor([1]))
    for condition in (own, narrow, labels, more):
        with pytest.raises(ConfigError, match=r"a condition to draw has .* one row a picture"):
            list(painter.draw([Request(condition, 0)]))


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
    unet = {**tiny_checkpoint.network}
    unet["conv_in.bias"] = torch.full_like(unet["conv_in.bias"], value)
    broken = replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": unet})
    with pytest.raises(TrainingError, match="not finite for 'a church'"):
        drawn(broken, 2)


def one_by_one(painter: Painter, requests: Sequence[Request]) -> list[NDArray[np.int16]]:
    images = (next(painter.draw([request])) for request in requests)
    return [np.asarray(image, dtype=np.int16) for image in images]


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint: Checkpoint) -> Any:  # noqa: ANN401
    """Whoever uses it sets its scheduler."""
    return diffusers_pipeline(tiny_checkpoint)


@old_array
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_picture_is_that_of_the_plain_pipeline(
    tiny_checkpoint: Checkpoint,
    pipeline: Any,  # noqa: ANN401
    name: str,
) -> None:
    pytest.importorskip("scipy") if name == "lms" else None
    pipeline.scheduler = build_scheduler(name, tiny_checkpoint.description.scheduler)
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=4, guidance=7.1), CPU, scheduler=name)
    for request in (Request("a church", 3), Request("a church", 3, 1.0)):
        plain = pipeline(
            request.prompt,
            latents=initial_noise([request.seed], (4, 8, 8)),
            num_inference_steps=4,
            guidance_scale=7.1 if request.guidance is None else request.guidance,
        ).images[0]
        (ours,) = painter.draw([request])
        # Both round to bytes; the pipeline encodes its two prompts in one batch.
        apart = np.asarray(ours, dtype=np.int16) - np.asarray(plain, dtype=np.int16)
        assert np.abs(apart).max() <= 1
        assert np.asarray(ours).std() > 10  # there is something to see


@pytest.mark.slow
@old_array
def test_each_scheduler_has_its_own_picture(tiny_checkpoint: Checkpoint) -> None:
    config, request = DrawingConfig(steps=4), [Request("a church", 3)]
    pictures = {
        next(Painter(tiny_checkpoint, config, CPU, scheduler=name).draw(request)).tobytes()
        for name in SCHEDULERS
        if name != "euler"  # whose step is DDIM's in other coordinates
    }
    assert len(pictures) == len(SCHEDULERS) - 1


@old_array
def test_a_scheduler_keeps_the_noise_schedule_of_the_model(tiny_checkpoint: Checkpoint) -> None:
    config = {**tiny_checkpoint.description.scheduler, "prediction_type": "v_prediction"}
    alphas = build_scheduler("ddim", config).alphas_cumprod
    for name in SCHEDULERS:
        scheduler = build_scheduler(name, config)
        assert torch.equal(scheduler.alphas_cumprod, alphas)
        assert scheduler.config.prediction_type == "v_prediction"
    assert build_scheduler("pndm", config).config.skip_prk_steps
    assert not build_scheduler("pndm", {**config, "skip_prk_steps": False}).config.skip_prk_steps


def test_an_unknown_scheduler_is_an_error_that_names_the_nearest(
    tiny_checkpoint: Checkpoint,
) -> None:
    with pytest.raises(ConfigError, match="no scheduler 'dpm\\+'; the nearest is dpm\\+\\+"):
        Painter(tiny_checkpoint, DrawingConfig(), CPU, scheduler="dpm+")


def test_a_scheduler_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        @classmethod
        def from_config(cls, *_: object, **__: object) -> None:
            raise ImportError("requires scipy")

    monkeypatch.setattr(diffusers, "LMSDiscreteScheduler", Missing)
    with pytest.raises(ConfigError, match="'lms' needs scipy, which is not installed; pip install"):
        build_scheduler("lms", {})


def with_scheduler(checkpoint: Checkpoint, **settings: object) -> Checkpoint:
    scheduler = {**checkpoint.description.scheduler, **settings}
    return replace(checkpoint, description=replace(checkpoint.description, scheduler=scheduler))


@old_array
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_rescales_or_says_that_it_cannot(
    tiny_checkpoint: Checkpoint, name: str
) -> None:
    pytest.importorskip("scipy") if name == "lms" else None
    velocity = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    all_noise = with_scheduler(tiny_checkpoint, timestep_spacing="trailing", **velocity)
    config = DrawingConfig(steps=3)
    if name in ("ddim", "euler", "dpm++", "unipc"):
        painter = Painter(all_noise, config, CPU, scheduler=name)
        assert float(painter._scheduler.alphas_cumprod[-1]) <= 2**-24
        assert all(picture.finite for picture in painter.paint([Request("a church", 1)]))
    else:
        with pytest.raises(ConfigError, match=r"cannot begin at noise alone.*take ddim, euler"):
            Painter(all_noise, config, CPU, scheduler=name)


@pytest.mark.parametrize(
    ("settings", "steps", "says"),
    [
        ({"num_train_timesteps": 20}, 21, "steps is 21, which the scheduler refuses"),
        ({"steps_offset": 900}, 25, "leads to the time step 1860 of 999"),
        ({"steps_offset": 1}, 1000, "leads to the time step 1000 of 999"),
        ({"timestep_spacing": "wide"}, 25, "steps is 25, which the scheduler refuses .wide"),
    ],
)
def test_steps_that_the_model_was_not_trained_with_are_refused(
    tiny_checkpoint: Checkpoint, settings: dict[str, object], steps: int, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Painter(with_scheduler(tiny_checkpoint, **settings), DrawingConfig(steps=steps), CPU)


def test_a_config_that_a_scheduler_rejects_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"'dpm\+\+' cannot be made of .* mend that config"):
        build_scheduler("dpm++", {"solver_type": "wild", "beta_schedule": "linear"})


def test_each_picture_may_have_its_own_guidance_and_size(tiny_checkpoint: Checkpoint) -> None:
    requests = [
        Request("a church", 3, guidance=7.5),
        Request("a church", 3, width=48, height=16),
        Request("a church", 3, guidance=1.0),
        Request("a church", 3, guidance=12.0),
        Request("a dog", 3, width=48, height=16, guidance=0.0),
        Request("a church", 3),
        Request("a dog", 3, width=48, height=16),
    ]
    sizes: list[int] = []
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=2, batch_size=2), CPU)
    together = [np.asarray(im, dtype=np.int16) for im in painter.draw(requests, sizes.append)]
    assert sizes == [2, 2, 1, 1, 1]  # 0 and 3; 1 and 6; 2; 4; 5
    for picture, alone in zip(together, one_by_one(painter, requests), strict=True):
        # One step of 255: the sums of a convolution are added up in another order.
        assert np.abs(picture - alone).max() <= 1
    assert [picture.shape[:2] for picture in together[:2]] == [(32, 32), (16, 48)]
    assert np.array_equal(together[0], together[5])  # 7.5 is the painter's own
    for one, other in ((0, 2), (0, 3), (1, 6), (4, 6)):
        assert not np.array_equal(together[one], together[other])


def test_bfloat16_draws_nearly_the_same_picture(tiny_checkpoint: Checkpoint) -> None:
    full, half = (
        np.asarray(
            next(
                Painter(tiny_checkpoint, DrawingConfig(steps=3), CPU, precision=p).draw(
                    [Request("a church", 3)]
                )
            ),
            dtype=np.int16,
        )
        for p in ("fp32", "bf16")
    )
    assert 0 < np.abs(full - half).mean() < 4  # of 255; bfloat16 has 8 bits of precision


def test_a_picture_that_is_not_finite_is_black_and_says_so(tiny_checkpoint: Checkpoint) -> None:
    unet = {**tiny_checkpoint.network}
    unet["conv_in.bias"] = torch.full_like(unet["conv_in.bias"], float("nan"))
    broken = replace(tiny_checkpoint, components={**tiny_checkpoint.components, "unet": unet})
    (picture,) = Painter(broken, DrawingConfig(steps=1), CPU).paint([Request("a church", 3)])
    assert not picture.finite
    assert picture.image.getbbox() is None


def test_only_so_many_encodings_are_kept(
    tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    encode = TextEncoder.__call__

    def noting(self: TextEncoder, prompts: Any, batch_size: int = 64) -> Any:  # noqa: ANN401
        seen.extend(prompts)
        return encode(self, prompts, batch_size)

    monkeypatch.setattr(TextEncoder, "__call__", noting)
    monkeypatch.setattr(conditions, "_ENCODED", 2)
    painter = Painter(tiny_checkpoint, DrawingConfig(steps=1, guidance=1.0, batch_size=1), CPU)
    list(painter.draw([Request(prompt, 0) for prompt in ("a", "b", "a", "c", "a", "b")]))
    assert seen == ["a", "b", "c", "b"]  # `b` was used longest ago when `c` came


def test_a_model_may_have_a_size_that_is_no_square(tiny_checkpoint: Checkpoint) -> None:
    assert own_size(tiny_checkpoint) == (32, 32)
    description = tiny_checkpoint.description
    wide = description.having(unet={**description.components["unet"], "sample_size": [4, 10]})
    checkpoint = replace(tiny_checkpoint, description=wide)
    assert own_size(checkpoint) == (40, 16)
    (image,) = draw_all(checkpoint, [Request("a church", 0)], DrawingConfig(steps=1), CPU)
    assert image.size == (40, 16)


@given(keys=st.lists(st.integers(0, 3), max_size=30), size=st.integers(1, 5))
def test_batches_hold_every_item_once_and_one_kind_each(keys: list[int], size: int) -> None:
    jobs = list(enumerate(keys))
    batches = list(in_batches(jobs, lambda job: job[1], size))
    assert sorted(job for batch in batches for job in batch) == jobs
    assert all(len({key for _, key in batch}) == 1 for batch in batches)
    assert all(list(batch) == sorted(batch) for batch in batches)
    short = [batch[0][1] for batch in batches if len(batch) != size]
    assert len(short) == len(set(short))  # one rest a kind at most
    assert all(len(batch) <= size for batch in batches)


def test_batches_come_before_the_items_end() -> None:
    assert list(next(in_batches(count(), lambda n: n % 2, 3))) == [0, 2, 4]


@pytest.mark.parametrize("side", ["width", "height"])
def test_a_size_of_a_request_without_whole_latents_is_an_error(
    tiny_checkpoint: Checkpoint, side: str
) -> None:
    request = replace(Request("a church", 0), **{side: 63})
    with pytest.raises(ConfigError, match="size is 63; give a multiple of 8"):
        draw_all(tiny_checkpoint, [request], DrawingConfig(steps=1), CPU)


@pytest.mark.parametrize("size", [0, -8, 4, 63])
def test_a_size_without_whole_latents_is_an_error(tiny_checkpoint: Checkpoint, size: int) -> None:
    with pytest.raises(ConfigError, match=f"size is {size}; give a multiple of 8"):
        drawn(tiny_checkpoint, 2, size=size)
