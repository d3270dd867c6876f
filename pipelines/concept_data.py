"""The pictures of one erasure: drawn by the checkpoint, from a folder, from a data set."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from erasure.cache import TensorCache, content_key
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.encoding import PromptedPixels, encode_concept
from erasure.errors import ConfigError
from erasure.hashing import weights_hash
from erasure.latents import ConceptData, shuffled
from erasure.seeds import derived_seed
from pipelines.generation import Request, draw_all
from pipelines.picture_dataset import DatasetSource, dataset_pictures
from pipelines.picture_folder import folder_pictures
from pipelines.pictures import Picture
from pipelines.progress import Reporter
from pipelines.settings import DataConfig, PicturesConfig
from prompts.imagenette import find_label, label_prompts
from prompts.plan import ConceptPlan


def gather(
    checkpoint: Checkpoint,
    plan: ConceptPlan,
    config: DataConfig,
    *,
    seed: int,
    device: torch.device,
    cache: TensorCache,
    reporter: Reporter,
) -> ConceptData:
    """Draw or read all pictures of the plan and encode them.

    Raises:
        ConfigError: a source has no picture, or one that cannot be read.
    """
    size = config.size or checkpoint.description.resolution

    def collect(name: str, prompts: Sequence[str], source: PicturesConfig) -> PromptedPixels | None:
        parts = [
            *_drawn(
                checkpoint, name, prompts, source.drawn, config, size, seed, device, cache, reporter
            ),
            *_read(source, size, plan if name == "forget" else None),
        ]
        if not parts:
            return None
        pixels = torch.cat([part.pixels for part in parts])
        return PromptedPixels(pixels, [p for part in parts for p in part.prompts])

    forget = collect("forget", plan.forget, config.forget)
    if forget is None:
        raise ConfigError(
            "there is nothing to forget from; set data.forget.drawn, folder or dataset"
        )
    retain = collect("retain", plan.retain, config.retain)
    replacement = dict(plan.replacement)
    stand_ins = next(iter(plan.replacement.values()))
    for prompt in forget.prompts:  # prompts of the user's own pictures
        replacement.setdefault(prompt, stand_ins)
    with reporter.stage("encode pictures", len(forget.pixels)):
        return encode_concept(checkpoint, forget, replacement, retain, device=device, cache=cache)


def _drawn(
    checkpoint: Checkpoint,
    name: str,
    prompts: Sequence[str],
    count: int,
    config: DataConfig,
    size: int,
    seed: int,
    device: torch.device,
    cache: TensorCache,
    reporter: Reporter,
) -> Iterator[PromptedPixels]:
    """Pictures that the checkpoint draws itself, as the paper does for nudity."""
    if not count or not prompts:
        return
    chosen = [prompts[n] for n in shuffled(len(prompts), 0, count, seed, name, "prompts")]
    requests = [
        Request(prompt, derived_seed(seed, name, "picture", n) % 2**32)
        for n, prompt in enumerate(chosen)
    ]
    parts = {part: weights_hash(w) for part, w in checkpoint.components.items()}
    key = content_key(
        model=parts,
        scheduler=dict(checkpoint.description.scheduler),
        requests=[[r.prompt, r.seed] for r in requests],
        steps=config.drawing.steps,
        guidance=config.drawing.guidance,
        size=size,
    )

    def make() -> dict[str, Tensor]:
        with reporter.stage(f"draw {name} pictures", len(requests)) as tick:
            images = draw_all(
                checkpoint, requests, config.drawing, device, size=size, on_drawn=tick
            )
        return {"pixels": torch.stack([_bytes(image) for image in images])}

    yield PromptedPixels(cache.get("pictures", key, make)["pixels"], chosen)


def _read(source: PicturesConfig, size: int, plan: ConceptPlan | None) -> Iterator[PromptedPixels]:
    """The user's own pictures."""
    if source.folder is not None:
        yield _prompted(
            folder_pictures(Path(source.folder), size=size, prompt=source.prompt), source.limit
        )
    if source.dataset is not None:
        labels = None
        if source.prompt is None:
            labels = _labels(source, plan)
        data = DatasetSource(
            name=source.dataset,
            config=source.dataset_config,
            split=source.dataset_split,
            prompt=source.prompt,
            label_prompts=labels,
        )
        yield _prompted(dataset_pictures(data, size=size), source.limit)


def _labels(source: PicturesConfig, plan: ConceptPlan | None) -> dict[int, str]:
    """ImageNette's class to forget, or without a plan all that a retain set may hold."""
    if plan is None:
        return label_prompts(range(10))
    label = find_label(plan.concept)
    if label is None:
        raise ConfigError(
            f"the data set {source.dataset} needs a prompt for its pictures of {plan.concept!r}; "
            "set data.forget.prompt"
        )
    return label_prompts([label])


def _prompted(pictures: Iterator[Picture], limit: int | None) -> PromptedPixels:
    taken = list(islice(pictures, limit))
    if not taken:
        raise ConfigError("a source has no pictures; check data.forget and data.retain")
    return PromptedPixels(
        torch.stack([_bytes(picture.image) for picture in taken]), [p.prompt for p in taken]
    )


def _bytes(image: object) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()  # (3, H, W) uint8
