"""Pictures that the checkpoint draws for its own erasure: once, by all processes, kept in the
cache."""

# N pictures, H x W pixels.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.prompted import PromptedPixels
from erasure.seeds import derived_seed
from erasure.storage.cache import TensorCache
from erasure.work import Tally
from eval.pictures.picture_bytes import rgb_pictures, to_bytes
from pipelines.configs.settings import DrawingConfig
from pipelines.data.blank import require_content
from pipelines.drawing.generation import Painter
from pipelines.drawing.requests import Request, key_of_pictures, work_of
from pipelines.process.processes import Processes
from pipelines.process.progress import Reporter, Tick
from pipelines.run.memory import enough_memory, of_drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPictures:
    """Draws one picture a prompt."""

    checkpoint: Checkpoint
    drawing: DrawingConfig
    size: int
    """Pixels a side."""
    seed: int
    device: torch.device
    cache: TensorCache
    """Only the first process reads and writes it."""
    team: Processes
    reporter: Reporter
    tally: Tally
    """Counts what drawing takes, whether the pictures were in the cache or not."""
    resumes: bool
    """Whether the command has `--resume`, which an answer to too little memory then names."""

    def of(self, role: str, prompts: Sequence[str]) -> PromptedPixels | None:
        """One picture of each prompt, in the first process alone; None in the others.

        Args:
            role: what the pictures are for, which makes their seeds its own.
            prompts: at least one.

        Raises:
            OutOfMemoryError: drawing needs less.
            TrainingError: the model draws one colour alone or what is not finite, or another
                process is gone.
        """
        requests = [
            Request(prompt, derived_seed(self.seed, role, "picture", n) % 2**32)
            for n, prompt in enumerate(prompts)
        ]
        self.tally.add(work_of(requests, self.drawing, self.checkpoint.architecture))
        key = key_of_pictures(self.checkpoint, self.drawing, self.size, requests)
        tensors = self.cache.find("pictures", key) if self.team.first else None
        if not self.team.any(tensors is not None):
            less = of_drawing(self.drawing.batch_size, resumes=self.resumes)
            with (
                self.reporter.stage(f"draw {role} pictures", len(prompts)) as tick,
                enough_memory("drawing pictures", less, self.device),
            ):
                tensors = {"pixels": self._draw(requests, tick)}
            if self.team.first:
                self.cache.keep("pictures", key, tensors)
        if not self.team.first:
            return None
        assert tensors is not None
        first = tensors["pixels"][: self.drawing.batch_size]  # older caches did not check this
        require_content(rgb_pictures(first), "the model")
        return PromptedPixels(tensors["pixels"], list(prompts))

    def _draw(self, requests: Sequence[Request], tick: Tick) -> Tensor:
        """(N, 3, H, W) uint8; whole batches are shared out, as a picture depends on its batch."""
        pixels = torch.zeros(len(requests), 3, self.size, self.size, dtype=torch.uint8)
        painter: Painter | None = None
        size = self.drawing.batch_size
        for number, start in enumerate(range(0, len(requests), size)):
            part = requests[start : start + size]
            if self.team.has(number):
                painter = painter or Painter(
                    self.checkpoint, self.drawing, self.device, self.size, expecting=requests
                )
                images = list(painter.draw(part))
                if number == 0:  # before hours go into more of them
                    require_content(images, "the model")
                pixels[start : start + size] = torch.stack([to_bytes(image) for image in images])
            tick(len(part))  # what others draw meanwhile counts too: the bar shows the whole
        self.team.sum_([pixels])
        return pixels
