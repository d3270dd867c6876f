"""Draw pictures from prompts or conditions; a seed's picture is the same in any batch."""

# B pictures, C x h x w latents, H x W pixels.

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import torch
from PIL import Image
from torch import Tensor

from erasure.architectures.building import build_parts, own_size
from erasure.architectures.text.apart import ApartText, stays_apart
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError, TrainingError
from erasure.moving.homes import Homes, learned_at
from erasure.moving.streaming import streamed_network
from erasure.seeds import initial_noise
from erasure.training.unseen import InTraining
from pipelines.configs.settings import DrawingConfig, check_size
from pipelines.drawing.conditions import Conditions
from pipelines.drawing.course import Course
from pipelines.drawing.guards import Guard, SafeGuidance
from pipelines.drawing.requests import Request, completed, in_batches, shape_of
from pipelines.drawing.schedulers import DEFAULT, begin_sampling, build_scheduler

Precision = Literal["fp32", "bf16"]
_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Picture:
    """What was drawn."""

    image: Image.Image
    """Black where the model drew values that are not finite."""
    finite: bool


class Painter:
    """A checkpoint ready to draw; each prompt is encoded once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: DrawingConfig,
        device: torch.device,
        size: int | None = None,
        *,
        scheduler: str = DEFAULT,
        precision: Precision | None = None,
        guard: Guard | None = None,
        training: InTraining | None = None,
        expecting: Iterable[Request] = (),
    ) -> None:
        """ConfigError where `size`, pixels a side, is none that can be drawn, or the scheduler is
        unknown or cannot take so many steps.

        With `training`, its networks draw, and none is built of the checkpoint's weights. What is
        `expecting` to be drawn is read before the network is there, where the text encoders are
        large; `precision` is the config's if none.
        """
        width, height = own_size(checkpoint) if size is None else (size, size)
        # No other sampler takes fresh noise.
        eta = checkpoint.architecture.own_eta if scheduler == DEFAULT else 0.0
        self._default = Request("", 0, config.guidance, width, height, eta=eta)
        check_size(width)
        check_size(height)
        config_of = checkpoint.description.scheduler
        family = checkpoint.architecture
        self._scheduler = build_scheduler(scheduler, config_of, pixels=family.pixels)
        self._sampling = partial(family.sampling, config_of, config.steps)
        self._shape = partial(family.latent_shape, checkpoint.description)
        begin_sampling(self._scheduler, config.steps, None, self._sampling(self._size()))
        self._config, self._device = config, device
        self._dtype = _DTYPES["fp32" if training else precision or config.precision]
        network, text = (training.network, training.text) if training else (None, None)
        if text is None and stays_apart(checkpoint):
            text = apart = ApartText(checkpoint, self._dtype, device)
            words = [one.prompt for one in expecting if isinstance(one.prompt, str)]
            apart.read(["", *words] if words else ())
        homes: Homes = {}
        if network is None and config.stream:
            network, streamed = streamed_network(checkpoint, self._dtype, device)
            homes = streamed.homes
        self.parts = build_parts(checkpoint, self._dtype, device, network, text, homes)
        """What draws; what is changed in it is changed in the drawings."""
        self._denoise = (
            family.denoiser(self.parts.network) if training is None else training.denoise
        )
        self._step_time, self._guidance_kind = family.step_time, family.guidance_kind
        self.passes = family.passes
        """How many samples a step asks the network about, by the guidance."""
        self._after_guidance, self._guard = family.after_guidance, guard
        self.text = self.parts.text
        """Shared with `parts`."""
        self._conditions = Conditions(family, self.text, device, self._dtype, guard)

    def read_words_as(self, other: "Painter") -> None:
        """Take what a painter of an equal text encoder has encoded, and what it will, so that no
        prompt is encoded by both."""
        self._conditions.read_words_as(other._conditions)

    @property
    def words_encoded(self) -> int:
        """How many prompts were encoded, by this painter or one that reads words as it does."""
        return self._conditions.words_encoded

    @property
    def default(self) -> Request:
        """What a request that leaves something open is completed from."""
        return self._default

    @property
    def batch_size(self) -> int:
        """Pictures drawn at a time."""
        return self._config.batch_size

    def steps_up_to(self, time: int | None) -> int:
        """How many sampling steps a drawing has that begins at a time; all of them for None."""
        more = self._sampling(self._size())
        begin_sampling(self._scheduler, self._config.steps, self._device, more)
        times = self._scheduler.timesteps
        return len(times) if time is None else int((times <= time).sum())

    def _size(self) -> tuple[int, int]:
        """h and w of the latents of the painter's own pictures."""
        assert self._default.height is not None
        assert self._default.width is not None
        _, height, width = self._shape(self._default.height, self._default.width)
        return height, width

    def draw(
        self, requests: Sequence[Request], on_drawn: Callable[[int], None] = lambda _: None
    ) -> Iterator[Image.Image]:
        """Yield a picture a request, in order; `on_drawn` hears how many each batch drew.

        Raises:
            ConfigError: a request's size is none that can be drawn, or its condition is not of one
                picture of this model.
            TrainingError: the model draws values that are not finite.
        """
        whole = [completed(request, self._default) for request in requests]
        ready: dict[int, Image.Image] = {}
        turn = 0
        for part in in_batches(
            enumerate(whole), lambda job: shape_of(job[1]), self._config.batch_size
        ):
            pictures = self.paint([request for _, request in part])
            for (index, request), picture in zip(part, pictures, strict=True):
                if not picture.finite:
                    raise TrainingError(
                        f"the model draws values that are not finite for {_named(request)}; "
                        "it was damaged, perhaps by too high a learning rate"
                    )
                ready[index] = picture.image
            on_drawn(len(part))
            while turn in ready:
                yield ready.pop(turn)
                turn += 1

    @torch.inference_mode()
    def paint(self, requests: Sequence[Request]) -> list[Picture]:
        """Draw one batch; all its requests have the same `shape_of`. What a guard refuses is black.

        Raises:
            ConfigError: the size is none that can be drawn, or a condition is not of one picture of
                this model, or it has no guidance that a guard could work through.
        """
        whole = [completed(request, self._default) for request in requests]
        ((width, height, guided, _),) = {shape_of(request) for request in whole}
        guided = guided and self._guidance_kind == "true"
        open_to = [n for n, request in enumerate(whole) if not self._refused(request)]
        if len(open_to) < len(whole):
            black = Picture(Image.new("RGB", (width, height)), True)
            drawn = self.paint([whole[n] for n in open_to]) if open_to else []
            made = dict(zip(open_to, drawn, strict=True))
            return [made.get(n, black) for n in range(len(whole))]
        if self._guard is not None:
            self._guard.require_model(self._guidance_kind)
            self._guard.require_guidance(whole[0].guidance or 0.0, _named(whole[0]))
        noise = initial_noise([request.seed for request in whole], self._shape(height, width))
        latents = self._denoised(noise.to(self._device), whole, guided)
        decoded = self.parts.codec.decode(latents)  # (B, 3, H, W)
        finite = decoded.isfinite().flatten(1).all(1)  # (B,)
        decoded[~finite] = -1.0
        pixels = ((decoded * 0.5 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return [
            Picture(Image.fromarray(array), whether)
            for array, whether in zip(arrays, finite.tolist(), strict=True)
        ]

    def _refused(self, request: Request) -> bool:
        """Whether a guard refuses to draw it; it cannot read a condition."""
        guard = self._guard
        return (
            guard is not None and isinstance(request.prompt, str) and guard.refuses(request.prompt)
        )

    def _denoised(self, noise: Tensor, requests: Sequence[Request], guided: bool) -> Tensor:
        """Noise -> latents, (B, C, h, w) both. The solver runs in float32 whatever the model's
        type."""
        condition = self._conditions.of(requests, guided)
        scales = [request.guidance or 0.0 for request in requests]
        scale = torch.tensor(scales, device=noise.device)[:, None, None, None]
        more = self._sampling((noise.shape[2], noise.shape[3]))
        begin_sampling(self._scheduler, self._config.steps, self._device, more)
        starts = [request.start for request in requests]
        seeds = [request.seed for request in requests]
        course = Course(self._scheduler, noise, starts, seeds, requests[0].eta or 0.0)
        safety = self._guard.safety if self._guard is not None else None
        safely = SafeGuidance(safety) if safety is not None else None
        for t in course.times:
            seen = torch.cat([course.latents] * (len(condition) // len(requests)))
            if hasattr(self._scheduler, "scale_model_input"):  # a flow's has none to scale by
                seen = self._scheduler.scale_model_input(seen, t)
            time = self._step_time(t).expand(len(seen))
            output = self._denoise(seen.to(self._dtype), time, condition).float()
            if safely is not None:
                without, towards, unsafe = output.chunk(3)
                output = safely(without, towards, unsafe, scale)
            elif guided:
                without, towards = output.chunk(2)
                output = self._after_guidance(without + scale * (towards - without), towards)
            course.step(output, t)
        return course.latents

    @contextmanager
    def weighing(self, values: Mapping[str, Tensor] | None) -> Iterator[None]:
        """Draw with other values of some weights of the network in a block; then its own are back.

        Raises:
            ConfigError: a name or a shape is none of this network.
        """
        own = learned_at(self.parts.network, self.parts.homes)
        saved: dict[str, Tensor] = {}
        try:
            with torch.no_grad():
                for name in values or ():
                    assert values is not None
                    value = values[name]
                    if name not in own or value.shape != own[name].shape:
                        raise ConfigError(
                            f"the weight {name!r} of shape {tuple(value.shape)} is none of this "
                            "model; make the payload for a model of this architecture"
                        )
                    saved[name] = own[name].clone()
                    own[name].copy_(value)
            yield
        finally:
            with torch.no_grad():
                for name, value in saved.items():
                    own[name].copy_(value)


def _named(request: Request) -> str:
    """What a sentence calls the prompt of a request."""
    return repr(request.prompt) if isinstance(request.prompt, str) else "a condition"


def draw_all(
    checkpoint: Checkpoint,
    requests: Sequence[Request],
    config: DrawingConfig,
    device: torch.device,
    *,
    size: int | None = None,
    on_drawn: Callable[[int], None] = lambda _: None,
) -> list[Image.Image]:
    """All pictures of one checkpoint, which is freed when they are there."""
    painter = Painter(checkpoint, config, device, size, expecting=requests)
    return list(painter.draw(requests, on_drawn))
