"""Write the trained network as a diffusers folder in half precision."""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import DDPMPipeline
from torch import nn

from erasure.storage.files import write_json
from pipelines.class_checkpoint.recipe import noise_schedule
from pipelines.class_checkpoint.worlds import World


def ship(model: Path, folder: Path) -> None:
    """Copy a trained model with its record; whatever was in the folder goes."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)


def assemble(network: nn.Module, folder: Path, world: World) -> Path:
    """Write network, scheduler and the names of the classes; whatever was in the folder goes.

    The names stand where diffusers' `DiTPipeline` has them: `id2label` in `model_index.json`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    unet: Any = network
    pipeline: Any = DDPMPipeline(unet=unet.half(), scheduler=noise_schedule())
    pipeline.save_pretrained(folder)
    path = folder / "model_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    names = {str(n): name for n, name in enumerate(world.classes)}
    index |= {"_name_or_path": world.model_name, "id2label": names}
    write_json(path, index)
    return folder
