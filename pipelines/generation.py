"""Draw pictures from prompts and seeds; a seed's picture is the same in any batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import TrainingError
from erasure.seeds import initial_noise
from erasure.stable_diffusion import TextEncoder, build_pipeline
from pipelines.settings import DrawingConfig, check_size


@dataclass(frozen=True, slots=True)
class Request:
    """One picture to draw."""

    prompt: str
    seed: int


class Painter:
    """A checkpoint ready to draw; each prompt is encoded once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: DrawingConfig,
        device: torch.device,
        size: int | None = None,
    ) -> None:
        """ConfigError where `size`, pixels a side, is none that can be drawn."""
        self._pipeline: Any = build_pipeline(checkpoint).to(device)
        self._config, self._device = config, device
        unet, factor = self._pipeline.unet.config, self._pipeline.vae_scale_factor
        self._size = unet.sample_size * factor if size is None else size
        check_size(self._size)
        side = self._size // factor
        self._shape = (unet.in_channels, side, side)

    def draw(
        self, requests: Sequence[Request], on_drawn: Callable[[int], None] = lambda _: None
    ) -> Iterator[Image.Image]:
        """Yield a picture a request, in order; `on_drawn` hears how many each batch drew.

        Raises:
            TrainingError: the model draws values that are not finite.
        """
        texts = list(dict.fromkeys(["", *(request.prompt for request in requests)]))
        encode = TextEncoder(self._pipeline.tokenizer, self._pipeline.text_encoder)
        tokens = encode(texts).tokens.to(self._device)
        row = {text: index for index, text in enumerate(texts)}
        for start in range(0, len(requests), self._config.batch_size):
            part = requests[start : start + self._config.batch_size]
            noise = initial_noise([request.seed for request in part], self._shape)
            arrays = self._pipeline(
                prompt_embeds=tokens[[row[request.prompt] for request in part]],
                negative_prompt_embeds=tokens[[0] * len(part)],
                latents=noise.to(self._device),
                num_inference_steps=self._config.steps,
                guidance_scale=self._config.guidance,
                height=self._size,
                width=self._size,
                output_type="pt",
            ).images
            if not torch.isfinite(arrays).all():
                raise TrainingError(
                    f"the model draws values that are not finite for {part[0].prompt!r}; "
                    "it was damaged, perhaps by too high a learning rate"
                )
            pixels = (arrays * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            on_drawn(len(part))
            yield from map(Image.fromarray, pixels)


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
    return list(Painter(checkpoint, config, device, size).draw(requests, on_drawn))
