"""Where drawings begin, and what they take or keep on their way: noise, pictures, fresh noise."""

# B pictures, C x h x w latents.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erasure.attacks.payload import Start
from erasure.diffusion.sample import renewed_flow_step
from erasure.errors import ConfigError
from erasure.seeds import generator_for


@dataclass(frozen=True, slots=True)
class Beginning:
    """What decides where a drawing begins, of all drawings of a batch alike."""

    time: int | None = None
    clean: bool = False
    masked: bool = False
    eta: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether it is the seed's noise, without any fresh noise on the way."""
        return self == Beginning()


def beginning_of(start: Start | None, eta: float) -> Beginning:
    """Begin one drawing. Starting noise without a time goes with the seeds' own noise."""
    if start is None:
        return Beginning(eta=eta)
    return Beginning(start.time, start.clean, start.keep is not None, eta)


class Course:
    """The latents of one batch on their way through a scheduler."""

    def __init__(
        self,
        scheduler: Any,  # noqa: ANN401
        noise: Tensor,
        starts: Sequence[Start | None],
        seeds: Sequence[int],
        eta: float,
    ) -> None:
        """Begin.

        Args:
            scheduler: of diffusers, its time steps set.
            noise: (B, C, h, w) of the seeds.
            starts: one a drawing; where one is none, its noise is the start.
            seeds: one a drawing, of the fresh noise.
            eta: share of fresh noise, at 1 that of DDPM.

        Raises:
            ConfigError: a start does not fit the latents, or the scheduler is neither DDIM nor
                Euler's of a rectified flow, which alone can begin anywhere and take fresh noise.
        """
        self._scheduler, self._noise, self._seeds, self._eta = scheduler, noise, seeds, eta
        self._steps = 0
        # The noise is then that of the bounded picture, as in arXiv:2006.11239, eq. 7 and 11.
        self._bounded = _is_ddim(scheduler) and bool(scheduler.config.clip_sample)
        self._flow = type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
        if not self._flow and (eta or any(start is not None for start in starts)):
            _require_ddim(scheduler)
        for start in starts:
            if start is not None and start.latents.shape != noise.shape[1:]:
                raise ConfigError(
                    f"a start has shape {tuple(start.latents.shape)}, but the latents of this "
                    f"picture have {tuple(noise.shape[1:])}; make it for this model and size"
                )
        clean = [
            own if start is None else start.latents.to(own)
            for own, start in zip(noise, starts, strict=True)
        ]
        self._clean = torch.stack(clean)
        first = starts[0]
        last = first.time if first is not None else None
        times: Tensor = scheduler.timesteps
        self.times = times if last is None else times[times <= last]
        """Those that the batch goes through, falling."""
        self._keep: Tensor | None = None
        if first is not None and first.clean:
            self.latents = self._noised(0)
            masks = [start.keep for start in starts if start is not None and start.keep is not None]
            if masks:
                self._keep = torch.stack(masks).to(noise.device)[:, None]
        else:
            # A flow begins at unit noise, and its schedulers name no factor.
            factor = getattr(scheduler, "init_noise_sigma", 1.0) if last is None else 1.0
            self.latents = self._clean * factor

    def step(self, output: Tensor, t: Tensor) -> None:
        """Go on by what the model answered, (B, C, h, w), at a time."""
        self.latents = self._moved(output, t)
        self._steps += 1
        if self._keep is not None:
            self.latents = torch.where(self._keep, self._noised(self._steps), self.latents)

    def _moved(self, output: Tensor, t: Tensor) -> Tensor:
        if self._eta and self._flow:  # its scheduler cannot be given noise
            step = int(self._scheduler.index_for_timestep(t))
            now, after = self._scheduler.sigmas[step : step + 2].tolist()
            fresh = self._fresh(step).to(output)
            return renewed_flow_step(self.latents, output, now, after, eta=self._eta, fresh=fresh)
        more: dict[str, Any] = {}
        if self._eta:
            more = {"eta": self._eta, "variance_noise": self._fresh(int(t)).to(output)}
        if self._bounded:
            more["use_clipped_model_output"] = True
        made: Tensor = self._scheduler.step(output, t, self.latents, return_dict=False, **more)[0]
        return made

    def _fresh(self, step: int) -> Tensor:
        """Noise of the seeds for a step, by its number or time, (B, C, h, w)."""
        shape = self._noise.shape[1:]
        streams = [generator_for(seed, "fresh noise", step) for seed in self._seeds]
        return torch.stack([torch.randn(shape, generator=stream) for stream in streams])

    def _noised(self, number: int) -> Tensor:
        """The clean latents at the level of the `number`-th time; clean beyond the last."""
        if number >= len(self.times):
            return self._clean
        if self._flow:  # its times are 1000 s
            s: Tensor = self.times[number] / self._scheduler.config.num_train_timesteps
            return (1 - s) * self._clean + s * self._noise
        times = self.times[number].expand(len(self._clean))
        noised: Tensor = self._scheduler.add_noise(self._clean, self._noise, times)
        return noised


def _is_ddim(scheduler: Any) -> bool:  # noqa: ANN401
    return type(scheduler).__name__ == "DDIMScheduler"


def _require_ddim(scheduler: Any) -> None:  # noqa: ANN401
    if not _is_ddim(scheduler):
        raise ConfigError(
            f"{type(scheduler).__name__} can neither begin at a picture nor take fresh noise; "
            "draw with the scheduler ddim"
        )
