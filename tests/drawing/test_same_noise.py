"""Two models of other sizes are not put beside each other as if they drew alike."""

from dataclasses import replace

import pytest
from support.tiny import CPU

from erasure.checkpoints import Checkpoint
from erasure.errors import ConfigError
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.same_noise import require_same_size
from pipelines.process.progress import Reporter
from pipelines.run.comparing import compare


def test_models_of_other_sizes_are_refused_before_anything_is_drawn(
    tiny_checkpoint: Checkpoint,
) -> None:
    require_same_size(tiny_checkpoint, tiny_checkpoint)
    unet = tiny_checkpoint.description.components["unet"]
    config = {**unet, "sample_size": 2 * unet["sample_size"]}
    larger = replace(tiny_checkpoint, description=tiny_checkpoint.description.having(unet=config))
    with pytest.raises(ConfigError, match=r"draws (\d+)x\1 pixels by itself .*; give size"):
        compare(
            tiny_checkpoint,
            larger,
            ["a church"],
            [0],
            drawing=DrawingConfig(steps=1),
            device=CPU,
            reporter=Reporter(quiet=True),
        )
