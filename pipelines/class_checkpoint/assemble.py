"""Write the trained network as a diffusers folder in half precision."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from diffusers import DDPMPipeline
from torch import nn

from erasure.storage.files import atomic
from pipelines.class_checkpoint.recipe import CLASSES, noise_schedule

NAME: Final = "diffusion-erasure-clothes"
"""`_name_or_path` in the model index of the checkpoint and of all made from it."""


def assemble(network: nn.Module, folder: Path) -> Path:
    """Write network, scheduler and the names of the classes; whatever was in the folder goes.

    The names stand where diffusers' `DiTPipeline` has them: `id2label` in `model_index.json`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    unet: Any = network
    pipeline: Any = DDPMPipeline(unet=unet.half(), scheduler=noise_schedule())
    pipeline.save_pretrained(folder)
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index |= {"_name_or_path": NAME, "id2label": {str(n): c for n, c in enumerate(CLASSES)}}
    with atomic(path) as part:
        part.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return folder
