"""What one measurement of distances is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from erasure.errors import ConfigError
from erasure.setting_checks import require_counts, require_not_negative
from erasure.storage.tables import build
from pipelines.configs.recipe_files import merge
from pipelines.configs.settings import check_size, check_steps
from pipelines.drawing.own_guidance import guidance_of

_CANVAS: Final = {"steps": 25, "guidance": 2.5, "batch_size": 48}
"""How the canvas is drawn, as in its evaluation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceRecipe:
    """All settings of one measurement; equal recipes give equal results."""

    model: str
    """The erased model: a hub id, a folder, a file, or the folder of a run."""
    concept: str
    """What was erased."""
    retrained: str
    """The model that was trained by the same recipe without the concept."""
    twin: str
    """The same from another seed, or the base from another seed; it gives the unit."""
    base: str
    """The model before the erasure."""
    audit: str | None = None
    """An audit.json of this model with both retrained ones, for the attack curves."""
    pictures: str | None = None
    """Folder of held-out pictures of the concept; drawn by the base if none."""
    trained: str | None = None
    """Folder of pictures of the concept that the base was trained on."""
    draws: int = 200
    """Pictures a model draws of the concept, and as many of other things."""
    shown: int = 16
    """Pictures of a kind that the models denoise."""
    bins: int = 5
    """Equal parts of the times."""
    samples: int = 2
    """Times and noises a picture and part."""
    judge: str | None = None
    """The judge, as of erase: a name, a folder or a hub id; the canvas has its own."""
    labels: str | None = None
    """Labels of a judge that is a model: a file, or a list with commas."""
    seed: int = 0
    """Seed of everything that is drawn by chance."""
    steps: int = 50
    """DDIM steps of a drawing."""
    guidance: float = 7.5
    """Guidance of a drawing."""
    size: int | None = None
    """Pixels a side; the model's own if none."""
    batch_size: int = 16
    """Pictures drawn, and samples denoised, at a time."""
    stream: bool = False
    """Keep the network's blocks in main memory while they do not compute; no bit changes."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
    cache: str | None = None
    """Folder for what the models beside the erased one draw; the user's cache folder if none."""
    config: str | None = None
    """For a single file: a diffusers folder with its configs and tokenizer."""
    vae: str | None = None
    """A file or folder with a VAE, in the place of the models' or where they have none."""
    text_encoders: tuple[str, ...] | None = None
    """A file of a text encoder that a single file lacks, as ComfyUI's split sets have them;
    `text_encoder_2=FILE` where names and sizes leave open which it is."""
    prediction: Literal["epsilon", "v"] | None = None
    """What the models predict, where they do not say it themselves."""
    allow_pickle: bool = False
    """Also read .ckpt, .pt and .bin, weights only."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 4), ("shown", 4), ("bins", 1), ("samples", 1)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} is {value}; give {least} or more")
        if self.bins > 100:
            raise ConfigError(f"bins is {self.bins}; give at most 100")
        require_counts(self, "batch_size")
        require_not_negative(self, "seed")
        if self.trained is not None and self.pictures is None:
            raise ConfigError(
                "--trained is given without --pictures; give held-out pictures of the concept too, "
                "as those that the base draws are no measure of what it was trained on"
            )
        check_steps(self.steps)
        check_size(self.size)


def recipe_of(
    tables: Mapping[str, Any], under: Mapping[str, Any] | None = None, *, canvas: bool | None = None
) -> DistanceRecipe:
    """The whole recipe: how the canvas is drawn, over it a file, and over it what was given.

    Args:
        canvas: whether the model draws the canvas; None looks at it.

    Raises:
        ConfigError: as `build`.
    """
    from pipelines.run.models import find_model, is_canvas_folder

    values = merge(under or {}, tables)
    if canvas is None:
        model = values.get("model")
        canvas = isinstance(model, str) and is_canvas_folder(find_model(model))
    return build(
        DistanceRecipe, merge(_CANVAS if canvas else guidance_of(values, find_model), values)
    )
