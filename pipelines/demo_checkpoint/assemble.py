"""Put the trained parts together as a diffusers folder in half precision."""

from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPTokenizer

from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.checkpoints.writing.folder import write_folder
from erasure.storage.tensors.tensor_file import write_tensors
from eval.judges.canvas import CanvasClassifier
from pipelines.demo_checkpoint.train_unet import TextToLatent, noise_schedule
from pipelines.run.models import CANVAS_NAME


def assemble(
    model: TextToLatent,
    vae: Any,  # noqa: ANN401
    factor: float,
    tokenizer: CLIPTokenizer,
    folder: Path,
) -> None:
    """Write the pipeline of a UNet with its text encoder and an AutoencoderKL.

    Args:
        factor: scales latents to unit deviation.
    """
    unet: Any = model.unet
    text_encoder: Any = model.text_encoder
    vae.register_to_config(scaling_factor=factor)
    tokenizer.backend_tokenizer.no_padding()  # its last call left them on
    tokenizer.backend_tokenizer.no_truncation()
    pipeline: Any = StableDiffusionPipeline(
        vae=vae.to(torch.float16),
        text_encoder=text_encoder.to(torch.float16),
        tokenizer=tokenizer,
        unet=unet.to(torch.float16),
        scheduler=noise_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.register_to_config(_name_or_path=CANVAS_NAME)
    pipeline.save_pretrained(folder)
    # Through our own writer, which names a type for the text encoder that loads everywhere.
    write_folder(read_checkpoint(folder), folder, force=True)


def save_classifier(network: CanvasClassifier, path: Path) -> None:
    """Write the classifier in half precision."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    write_tensors(path, tensors, {"format": "canvas-classifier 2"})
