"""What the zeros of an absent T5 cost: `demo-flow` with one counted token, and with all of them."""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor

from erasure.checkpoints.reading.reading import read_checkpoint
from pipelines.run.models import FLOW_FOLDER


def main() -> None:
    """Print CPU time and differences of a pass and of its gradients, side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--passes", type=int, default=5)
    options = parser.parse_args()
    checkpoint = read_checkpoint(FLOW_FOLDER)
    family = checkpoint.architecture
    prompts = [f"a church {number}" for number in range(options.batch)]
    condition = family.build_text_encoder(checkpoint, torch.float32)(prompts)
    draw = torch.Generator().manual_seed(0)
    x_t, t = (torch.randn(options.batch, *shape, generator=draw) for shape in ((16, 8, 8), ()))
    networks: list[Any] = [family.build_network(checkpoint, torch.float32) for _ in range(2)]
    networks[1].set_attn_processor(JointAttnProcessor2_0())
    made: list[tuple[Tensor, dict[str, Tensor]]] = []
    spent = []
    for network in networks:
        network.requires_grad_(requires_grad=True)
        denoise = family.denoiser(network)
        velocity = denoise(x_t, t.sigmoid(), condition)
        velocity.square().mean().backward()
        slopes = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        made.append((velocity.detach(), slopes))
        with torch.no_grad():
            spent.append(_seconds(lambda d=denoise: d(x_t, t, condition), options.passes))
    (one, slopes), (all_, others) = made
    print(f"one counted token {spent[0]:.3f} s, all tokens {spent[1]:.3f} s of CPU time a pass")
    print(f"ratio {spent[1] / spent[0]:.1f}")
    print(f"predictions differ by {float((one - all_).abs().max()):.1e} at most")
    worst = max(float((slopes[n] - g).norm() / g.norm()) for n, g in others.items() if g.norm() > 0)
    print(f"a weight's gradient differs by {worst:.1e} of its length at most")


def _seconds(work: Callable[[], object], times: int) -> float:
    """CPU time of one of several."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


if __name__ == "__main__":
    main()
