"""In which steps of a drawing is it decided what comes out?

    python benchmarks/when_decided.py

Prints, of pictures that the embedded checkpoint draws in `--steps` steps and that are told their
prompt in the first k of them and nothing in the rest, in how many the judge recognises the concept.
A method that keeps the first steps of a drawing, as ANT does, keeps what is decided in them.
"""

import argparse
from collections.abc import Sequence
from typing import Any, Final

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from eval.judges.canvas import open_canvas
from pipelines.run.models import DEMO_FOLDER
from prompts.canvas import OBJECTS, STYLES, canvas_prompt

AFTER: Final = (0, 1, 2, 3, 4, 5, 6, 8)
"""How many steps are told the prompt, beside all of them."""
PICTURES: Final = 24
"""Drawn of a concept: a style of every object, an object four times in every style."""
GUIDANCE: Final = 2.5


def main() -> None:
    """Draw, judge, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--concepts", default="church,dog,guitar,sketch,cartoon,flat,blueprint")
    options = parser.parse_args()
    pipe = StableDiffusionPipeline.from_pretrained(
        DEMO_FOLDER, torch_dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    judge = open_canvas()
    after = [*(k for k in AFTER if k < options.steps), options.steps]
    print("| concept | " + " | ".join(map(str, after)) + " |")
    print("| --- |" + " --- |" * len(after))
    for concept in options.concepts.split(","):
        head = "style" if concept in STYLES else "object"
        prompts = prompts_of(concept)
        shares = []
        for count in after:
            verdicts = judge(draw(pipe, prompts, options.steps, count))
            shares.append(sum(seen.guesses[head][0].label == concept for seen in verdicts))
        row = " | ".join(f"{seen / len(prompts):.0%}" for seen in shares)
        print(f"| {concept} | {row} |", flush=True)


def prompts_of(concept: str) -> list[str]:
    """As many prompts as there are pictures."""
    if concept in STYLES:
        return [canvas_prompt(name, concept) for name in OBJECTS][:PICTURES]
    rows = [canvas_prompt(concept, style) for style in STYLES]
    return rows * (PICTURES // len(rows))


def draw(
    pipe: StableDiffusionPipeline, prompts: Sequence[str], steps: int, count: int
) -> list[Image.Image]:
    """A picture a prompt, told in the first `count` steps, each from the noise of its own seed."""
    call: Any = pipe  # its stubs hide what it has
    words, empty = call.encode_prompt(list(prompts), "cpu", 1, True)
    nothing = torch.cat([empty, empty])

    def forget(
        _pipe: object, step: int, _time: int, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        return {**tensors, "prompt_embeds": nothing} if step + 1 == count else tensors

    images: list[Image.Image] = call(
        prompt_embeds=words if count else empty,
        negative_prompt_embeds=empty,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        callback_on_step_end=forget,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    ).images
    return images


if __name__ == "__main__":
    main()
