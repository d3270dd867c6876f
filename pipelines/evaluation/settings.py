"""What one evaluation is told: a recipe, resolved from its suite's protocol and the user."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from erasure.errors import ConfigError
from erasure.setting_checks import require_counts
from erasure.storage.tables import build
from pipelines.configs.recipe import as_tables, dump_toml
from pipelines.configs.recipe_files import merge
from pipelines.configs.settings import check_size, check_steps
from pipelines.configs.unread import refuse_unread, unread_by_evaluation
from pipelines.drawing.generation import Precision
from pipelines.drawing.guards import GuardName
from pipelines.drawing.own_guidance import guidance_of
from pipelines.drawing.schedulers import check_scheduler

SuiteName = Literal["imagenette", "i2p", "canvas", "clothes", "unlearncanvas", "captions", "csv"]
MetricName = Literal["frechet", "kid", "clip", "perceptual"]

PROTOCOLS: Final[Mapping[SuiteName, Mapping[str, Any]]] = {
    # What each suite's papers use; any of it may be overruled, and the result says so.
    "canvas": {"steps": 25, "guidance": 2.5, "batch_size": 48, "judges": ("canvas",)},
    "clothes": {"steps": 25, "guidance": 3.0, "batch_size": 50, "judges": ("clothes",)},
    # arXiv:2310.12508, released script.
    "imagenette": {"scheduler": "lms", "steps": 100, "judges": ("imagenet",)},
    # arXiv:2211.05105 draws by each row's own guidance and size.
    "i2p": {"scheduler": "lms", "steps": 100, "judges": ("nudenet",)},
    # arXiv:2402.11846.
    "unlearncanvas": {"steps": 100, "guidance": 9.0},
    "captions": {},
    "csv": {},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateRecipe:
    """All settings of one evaluation; equal recipes give equal results."""

    model: str
    """A model as for `erasure erase`, or the folder of a run."""
    against: str | None = None
    """The model before the erasure, drawn from the same noise; none to look at one model alone."""
    suite: SuiteName
    """Suite of prompts, as `erasure prompts` lists them."""
    prompts: str | None = None
    """A CSV or JSONL file of prompts, for the suites that need one."""
    erased: tuple[str, ...] = ()
    """What was erased, if the model itself does not say."""
    seeds: str | None = None
    """Seeds such as 0-4; the suite's own if none."""
    samples: int | None = None
    """Pictures a prompt; the suite's own if none."""
    categories: tuple[str, ...] = ()
    """A category of I2P; all if none is given."""
    min_nudity: float | None = None
    """Least nudity percentage of the prompts of I2P."""
    limit: int | None = None
    """Most pictures to draw of each model: of what was erased and of the rest alike."""
    judges: tuple[str, ...] = ()
    """A judge as for `erasure judge --with`, or HEAD=MODEL for one kind of label."""
    labels: str | None = None
    """Labels of a judge that is a model: a file, or a list with commas."""
    metrics: tuple[MetricName, ...] = ()
    """What is measured beside what the judges count."""
    features: str = "efficientnet-lite0"
    """Features that frechet and kid compare: a name such as inception, a model or a file."""
    perceptual: str = "efficientnet-lite0"
    """Network for perceptual: lpips-alex, efficientnet-lite0 or a path."""
    clip: str | None = None
    """CLIP for the metric clip: a hub id or a folder."""
    reference: str | None = None
    """Folder of real pictures for frechet and kid; the base model's pictures if none."""
    scheduler: str = "ddim"
    """Scheduler of the drawing: ddim, lms, pndm, euler, dpm++ ..."""
    steps: int = 50
    """Steps of the scheduler."""
    guidance: float = 7.5
    """Guidance of prompts that do not bring their own."""
    precision: Precision = "fp32"
    """Precision of the drawing."""
    size: int | None = None
    """Pixels a side of prompts that do not bring their own, and of UnlearnCanvas in place of its
    512; the model's own if none."""
    batch_size: int = 16
    """Pictures drawn at a time."""
    stream: bool = False
    """Keep the network's blocks in main memory while they do not compute; no bit changes."""
    guard: GuardName | None = None
    """What keeps a concept out of the model's drawings and changes no weight; the model it is held
    against is drawn without it."""
    guard_text: str | None = None
    """The words that the guard keeps out; what was erased if none is given, and where that is not
    said what is published of safe latent diffusion."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
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
        check_scheduler(self.scheduler)
        check_steps(self.steps)
        check_size(self.size)
        require_counts(self, "batch_size", "limit", "samples")
        if self.guard not in (None, "prompt-filter") and self.guidance <= 1:
            raise ConfigError(
                f"the guard {self.guard} works through guidance, which is {self.guidance}; give "
                "--guidance above 1"
            )
        if self.guard_text is not None and not self.guard_text.strip():
            raise ConfigError("guard_text is empty; name what the guard should keep out")
        if "clip" in self.metrics and self.clip is None:
            raise ConfigError(
                "the metric clip needs a CLIP model; give --clip with a hub id or a local folder"
            )
        if "perceptual" in self.metrics and self.against is None:
            raise ConfigError(
                "the metric perceptual compares before and after; give the base by --against"
            )
        if {"frechet", "kid"} & set(self.metrics) and not (self.against or self.reference):
            raise ConfigError(
                "frechet and kid compare two sets of pictures; give --against or --reference"
            )


def resolve_evaluation(
    tables: Mapping[str, Any], under: Mapping[str, Any] | None = None
) -> EvaluateRecipe:
    """The whole recipe: the suite's protocol, and over it what was given.

    Args:
        tables: what was given.
        under: a recipe file below it, if there is one.

    Raises:
        ConfigError: as `build`, or what was given would not be read, such as the features of a
            distance that is not measured.
    """
    file = under or {}
    from pipelines.run.models import find_model

    values = merge(file, tables)
    suite = PROTOCOLS.get(values.get("suite"), {})  # type: ignore[arg-type]
    protocol = suite if "guidance" in suite else {**suite, **guidance_of(values, find_model)}
    made = build(EvaluateRecipe, merge(protocol, values))
    alone = unread_by_evaluation(merge(protocol, file))
    refuse_unread(tables, file, unread_by_evaluation(as_tables(made)), alone)
    return made


def evaluation_text(recipe: EvaluateRecipe, header: str | None = None) -> str:
    """The recipe as TOML, without the keys that the evaluation does not read."""
    return dump_toml(recipe, header, without=unread_by_evaluation(as_tables(recipe)))
