"""Is a picture upside down as strange to a model as a picture of something it never learned?

    python benchmarks/upside_down.py --retrained church=build/gold-flow/no-church/model

Prints the mean denoising loss of both embedded models without text, by fifth of the times: on new
augmentations of drawings that they learned, on the same upside down, and on icons of other things,
which were in no training; and the same of each `demo-flow` that was retrained, on what it never
saw. Icons come from npm packages into `--work` (extra `demo-checkpoint`).
"""

import argparse
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from erasure.architectures.building import build_codec, build_network, schedule_of
from erasure.attacks.diagnostics.traces import TraceConfig, denoising_losses
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.data.prompt_encoding import encode_prompts
from pipelines.demo_checkpoint.classifier.other_icons import as_drawings, load_other_icons
from pipelines.demo_checkpoint.drawings import draw
from pipelines.demo_checkpoint.retrained.pictures import held_out, pairs_of
from pipelines.demo_checkpoint.retrained.training import load_pictures
from pipelines.run.models import DEMO_FOLDER
from prompts.canvas import OBJECTS, STYLES

CPU: Final = torch.device("cpu")
ICONS: Final = 24
"""How many of those that only test the judge are drawn."""
SEED: Final = 5


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--work", type=Path, default=Path("build/gold"))
    parser.add_argument("--retrained", metavar="CONCEPT=FOLDER", action="append", default=[])
    options = parser.parse_args()
    pictures = load_pictures(options.work)
    icons = load_other_icons(options.work / "packages", options.work / "other-icons.safetensors")
    others = as_drawings(icons.test[:, :ICONS])
    pairs = torch.arange(len(STYLES) * ICONS)
    strangers = draw(others, pairs, torch.Generator().manual_seed(SEED)).pixels
    known = held_out(pictures, range(len(STYLES) * len(OBJECTS)), count=1)
    print("| model | pictures | mean | by fifth of the times, from little noise |")
    print("| --- | --- | --- | --- |")
    for folder in (DEMO_FOLDER, DEMO_FOLDER.with_name("demo-flow")):
        model = read_checkpoint(folder)
        tell(folder.name, "of what it learned", losses(model, known))
        tell("", "the same upside down", losses(model, known.flip(-2)))
        tell("", "of what it never learned", losses(model, strangers))
    for named in options.retrained:
        concept, _, place = named.partition("=")
        shown = held_out(pictures, pairs_of(concept))
        base = read_checkpoint(DEMO_FOLDER.with_name("demo-flow"))
        tell(f"never saw {concept}", concept, losses(read_checkpoint(Path(place)), shown))
        tell("its base", f"{concept}, upside down", losses(base, shown.flip(-2)))
        tell("", concept, losses(base, shown))


def losses(model: Checkpoint, pixels: Tensor) -> Tensor:
    """(N, T) of pixels (N, 3, H, W) in [-1, 1], without text."""
    codec = build_codec(model)
    with torch.no_grad():
        parts = [codec.encode(part) for part in pixels.split(16)]
    mean, std = (torch.cat(values) for values in zip(*parts, strict=True))
    prompts, _ = encode_prompts(model, ["", "a"], CPU, None)
    nothing = prompts[torch.zeros(len(mean), dtype=torch.int64)].to(CPU, torch.float32)
    denoise = model.architecture.denoiser(build_network(model).eval())
    config = TraceConfig(draws=1, batch_size=32)
    schedule = schedule_of(model)
    return denoising_losses(denoise, schedule, mean, std, nothing, config, seed=SEED, device=CPU)


def tell(model: str, pictures: str, seen: Tensor) -> None:
    """One row."""
    bins = ", ".join(f"{value:.3f}" for value in seen.mean(0).tolist())
    print(f"| {model} | {pictures} | {float(seen.mean()):.4f} | {bins} |", flush=True)


if __name__ == "__main__":
    main()
