"""What encoding pictures and prompts holds in memory and computes."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from erasure.architectures.text.apart import TOGETHER, text_names
from erasure.diffusion.data.picture_encoding import pictures_a_pass
from erasure.memory_bill import Held, Stage
from erasure.pass_costs import encoder_cost, text_cost
from pipelines.planning.run_sizes import RunSizes


def encoding_stages(sizes: RunSizes) -> Iterator[Stage]:
    """The codec's pass over all pictures, and the text encoders'."""
    total = sizes.forget + sizes.retain
    pixels = Held("pictures", 3 * sizes.side**2 * total, main=True)
    if total and sizes.codec is not None:
        cost = encoder_cost(sizes.codec, (sizes.side, sizes.side))
        at_once = min(pictures_a_pass(sizes.side, sizes.side), total)
        held = (
            Held("VAE, fp32", 4 * sizes.weights("vae")),
            Held("activations", at_once * cost.live),
            pixels,
        )
        yield Stage("encode pictures", held).working(total, total * cost.flops)
    yield _prompts(sizes, pixels)


def _prompts(sizes: RunSizes, pixels: Held) -> Stage:
    """The text encoders, one after the other."""
    checkpoint = sizes.planned.checkpoint
    stages = [Stage("encode prompts", (pixels,))]
    for name in text_names(checkpoint):
        part, config = checkpoint.architecture.part(name), sizes.config(name)
        tokens = _tokens_of(sizes, config)
        cost = text_cost(part, config, tokens)
        held = (
            Held(f"{part.title}, fp32", 4 * sizes.weights(name)),
            Held("activations", max(1, TOGETHER // tokens) * cost.live),
            pixels,
        )
        stages.append(Stage("encode prompts", held))
    return max(stages, key=lambda stage: stage.device)


def _tokens_of(sizes: RunSizes, config: Mapping[str, Any]) -> int:
    """Tokens that a text encoder reads: as many as it has places for, or T5, which has no
    places, as many as the main component is told."""
    places = config.get("max_position_embeddings")
    if isinstance(places, int):
        return places
    family = sizes.planned.checkpoint.architecture
    main = sizes.config(family.main)
    with torch.device("meta"):
        _, _, condition = family.sample(
            main, (sizes.latents[0], sizes.latents[1]), sizes.prompt_tokens(wide=False)
        )
    return condition.tokens.shape[1]
