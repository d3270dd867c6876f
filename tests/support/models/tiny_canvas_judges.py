"""The classifiers of UnlearnCanvas' release at a width of two heads, with random weights."""

import torch
from torch import Tensor

BLOCKS, WIDTH, PATCH, SIDE = 2, 128, 8, 32


def canvas_classifier(classes: int) -> dict[str, Tensor]:
    """The weights of a small ViT as timm names them."""
    draws = torch.Generator().manual_seed(classes)

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(*shape, generator=draws) * scale

    def linear(name: str, rows: int, columns: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": normal(rows, columns, scale=columns**-0.5),
            f"{name}.bias": normal(rows, scale=0.3),
        }

    def norm(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.weight": 1 + normal(WIDTH, scale=0.2),
            f"{name}.bias": normal(WIDTH, scale=0.2),
        }

    weights = {
        "cls_token": normal(1, 1, WIDTH, scale=1),
        "pos_embed": normal(1, 1 + (SIDE // PATCH) ** 2, WIDTH, scale=0.5),
        "patch_embed.proj.weight": normal(WIDTH, 3, PATCH, PATCH, scale=0.1),
        "patch_embed.proj.bias": normal(WIDTH, scale=0.3),
        **norm("norm"),
        **linear("head", classes, WIDTH),
    }
    for number in range(BLOCKS):
        block = f"blocks.{number}"
        weights |= {
            **norm(f"{block}.norm1"),
            **linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH),
            **linear(f"{block}.attn.proj", WIDTH, WIDTH),
            **norm(f"{block}.norm2"),
            **linear(f"{block}.mlp.fc1", 2 * WIDTH, WIDTH),
            **linear(f"{block}.mlp.fc2", WIDTH, 2 * WIDTH),
        }
    return weights
