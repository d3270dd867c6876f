"""Tiny networks that pictures are measured by, in the files that users have them in."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.metrics.lpips import BACKBONES, build_backbone
from support.models.tiny_models import tiny_tokenizer
from support.tiny import global_seed


class Pool(nn.Module):
    """Bytes in, mean and largest value of each channel out, as a TorchScript file would."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        assert x.dtype == torch.uint8
        x = x.float()
        both = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return both if return_features else both[:, :1]


def pooling_script(path: Path) -> Path:
    """Save `Pool` as a TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Pool()).save(path)
    return path


def tiny_clip(folder: Path) -> Path:
    """Save a random CLIP of a few thousand weights with its tokenizer and preprocessing."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    tokenizer = tiny_tokenizer(folder)
    sizes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config=sizes
        | {
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=sizes | {"image_size": 16, "patch_size": 8},
        projection_dim=4,
    )
    with global_seed(0):
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    ).save_pretrained(folder)
    return folder


def random_backbone(key: str, path: Path) -> Path:
    """Save random weights of an LPIPS backbone in torchvision's layout, `features.N.weight`."""
    with global_seed(1):
        network = build_backbone(BACKBONES[key])
    torch.save({f"features.{name}": w for name, w in network.state_dict().items()}, path)
    return path
