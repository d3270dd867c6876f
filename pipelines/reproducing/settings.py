"""What one reproduction is told, and what of it is refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from erasure.errors import ConfigError
from pipelines.reproducing.protocol import Protocol, Task
from pipelines.reproducing.protocols.protocols import protocol_of
from prompts.nearest import nearest

DRAWN: Final = "drawn"
"""In the place of a folder: the model draws the pictures itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproduceRecipe:
    """All settings of one reproduction; what the protocol fixes is none of them."""

    experiment: str
    """Name of the experiment."""
    model: str
    """A model as for `erasure erase`."""
    only: tuple[str, ...] = ()
    """What to erase, of all that the experiment erases."""
    limit: int | None = None
    """For a trial: at most as many classes, pictures to forget, to keep and to look at."""
    data: str | None = None
    """Where the pictures to forget and to keep lie: a folder, or the word drawn."""
    prompts: str | None = None
    """The prompt file of the experiment, where it is one that cannot be shipped."""
    judges: tuple[str, ...] = ()
    """Judges in place of the protocol's, as for `erasure evaluate --judge`."""
    samples: int | None = None
    """Pictures a prompt, where the protocol says how many."""
    seed: int = 0
    """Seed of the masks, the trainings and the pictures that the model draws to learn from."""
    batch_size: int = 16
    """Pictures drawn at a time; a picture's last bits depend on it."""
    micro_batch: int | None = None
    """Samples a pass of the mask and of the training: less memory, and by rounding alone another
    result."""
    drop_models: bool = False
    """Remove each erased model when its pictures are judged, and keep its mask and its record."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
    config: str | None = None
    """For a single file: a diffusers folder with its configs and tokenizer."""
    vae: str | None = None
    """A file or folder with a VAE, in the place of the model's or where it has none."""
    text_encoders: tuple[str, ...] | None = None
    """A file of a text encoder that a single file lacks, as ComfyUI's split sets have them;
    `text_encoder_2=FILE` where names and sizes leave open which it is."""
    prediction: Literal["epsilon", "v"] | None = None
    """What the model predicts, where it does not say itself."""
    allow_pickle: bool = False
    """Also read .ckpt, .pt and .bin, weights only."""
    cache: str | None = None
    """Folder for drawn pictures and latents; the user's cache folder if none."""

    def __post_init__(self) -> None:
        protocol = self.protocol
        for name in ("limit", "samples", "batch_size", "micro_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is {value}; give 1 or more, or leave it out")
        if self.samples is not None and "samples" not in protocol.evaluate:
            raise ConfigError(
                f"--samples is {self.samples}, and {protocol.name} fixes the pictures of its "
                "prompts by other means; leave it out"
            )
        if self.prompts is not None and protocol.prompts is None:
            raise ConfigError(
                f"--prompts is {self.prompts!r}, and the prompts of {protocol.name} are built in; "
                "leave it out"
            )
        if self.data is not None and protocol.pictures == DRAWN:
            raise ConfigError(
                f"--data is {self.data!r}, and in {protocol.name} the model draws the pictures "
                "that it learns from; leave it out"
            )

    @property
    def protocol(self) -> Protocol:
        """The experiment; ConfigError where there is none of that name."""
        return protocol_of(self.experiment)

    def model_options(self) -> dict[str, Any]:
        """Those that both an erasure and an evaluation take."""
        names = ("device", "config", "vae", "text_encoders", "prediction", "allow_pickle")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


def chosen(recipe: ReproduceRecipe, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks that `only` and `limit` leave, in their order; of each kind as many.

    Raises:
        ConfigError: a name is none of them, with the nearest.
    """
    known = {spelling: task for task in tasks for spelling in _spellings(task)}
    wanted = []
    for name in recipe.only:
        plain = name.replace("_", " ").lower()
        if plain not in known:
            raise ConfigError(
                f"--only is {name!r}, and {recipe.experiment} erases no such thing; "
                f"{nearest(plain, [task.label for task in tasks])}"
            )
        wanted.append(known[plain])
    left = [task for task in tasks if task in wanted] if wanted else list(tasks)
    if recipe.limit is None:
        return tuple(left)
    taken = []
    for kind in dict.fromkeys(task.kind for task in left):
        taken += [task for task in left if task.kind == kind][: recipe.limit]
    return tuple(taken)


def _spellings(task: Task) -> tuple[str, ...]:
    return tuple(text.replace("_", " ").lower() for text in (task.name, task.label, task.concept))


def at_most(count: int, limit: int | None) -> int:
    """The count, or the limit where that is less."""
    return count if limit is None else min(count, limit)
