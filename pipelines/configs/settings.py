"""What one erasure is told: the fields of a recipe, each checked when it is made."""

from dataclasses import dataclass, field
from typing import Final, Literal

from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.errors import ConfigError
from erasure.methods import Method, Need, SalUn
from erasure.setting_checks import require_counts, require_not_negative
from erasure.training.train_config import TrainConfig
from erasure.training.weights.low_rank import LowRank
from pipelines.configs.recipe_files import read_recipe as read_recipe
from pipelines.configs.recipe_files import shipped_recipes as shipped_recipes
from pipelines.configs.until_unseen import UnseenConfig

_MOST_SEEDS: Final = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawingConfig:
    """How pictures are drawn."""

    steps: int = 25
    """DDIM steps."""
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 is none. Each family of models has its own default."""
    batch_size: int = 16
    """Pictures drawn at a time; changes speed and memory only."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Type of the weights that draw."""
    stream: bool = False
    """Keep the network's blocks in main memory while they do not compute."""

    def __post_init__(self) -> None:
        check_steps(self.steps)
        require_counts(self, "batch_size")


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturesConfig:
    """Where one set of pictures comes from; all sources that are given are mixed."""

    drawn: int = 0
    """How many the checkpoint itself draws from the prompts. Of what is forgotten it draws as many
    for each concept."""
    folder: str | None = None
    """A folder of pictures with `metadata.jsonl`, or with `prompt` for all."""
    dataset: str | None = None
    """Id of a data set on the hub, such as `frgfm/imagenette`."""
    dataset_config: str | None = None
    """Configuration of the data set, where it has several."""
    dataset_split: str = "train"
    """Split of the data set."""
    prompt: str | None = None
    """One prompt for all pictures of the folder or the data set."""
    limit: int | None = None
    """Most pictures to take from the folder and from the data set."""

    def __post_init__(self) -> None:
        require_not_negative(self, "drawn")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}; give 1 or more, or none")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorsConfig:
    """Pictures of what stands in for the concept, for methods that learn from them."""

    drawn: int = 200
    """How many the checkpoint draws from the prompts that stand in."""

    def __post_init__(self) -> None:
        require_counts(self, "drawn")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """What is forgotten and what is kept."""

    forget: PicturesConfig = field(default_factory=lambda: PicturesConfig(drawn=200))
    """Pictures to forget."""
    retain: PicturesConfig = field(default_factory=lambda: PicturesConfig(drawn=400))
    """Pictures to keep."""
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    forget_prompts: tuple[str, ...] = ()
    """Further prompts that show the concept."""
    retain_prompts: tuple[str, ...] | None = None
    """Prompts to keep in place of the concept's known neighbours."""
    words: Literal["unlearncanvas"] | None = None
    """The benchmark whose words name the concept in the prompts; the model's own if none."""
    rows: str | None = None
    """A file of prompts with what becomes of each, as trainers of LECO read it: TOML or YAML. It
    takes the place of the prompts to forget, for the method leco."""
    size: int | None = None
    """Pixels a side; the model's own if none."""
    drawing: DrawingConfig = field(default_factory=DrawingConfig)

    def __post_init__(self) -> None:
        check_size(self.size)


def check_steps(steps: int) -> None:
    """Raise ConfigError unless a scheduler can take as many steps."""
    if steps < 1:
        raise ConfigError(f"steps is {steps}; give 1 or more")
    if steps > 1000:
        raise ConfigError(f"steps is {steps}; give at most 1000, as many as in training")


def check_size(size: int | None) -> None:
    """Raise ConfigError unless pictures of `size` pixels a side have whole latents; None is the
    model's own size."""
    if size is not None and (size < 8 or size % 8):
        raise ConfigError(f"size is {size}; give a multiple of 8")


@dataclass(frozen=True, kw_only=True, slots=True)
class GridConfig:
    """The picture of before and after."""

    prompts: tuple[str, ...] = ()
    """Prompts in place of a choice of forgotten and kept ones."""
    seeds: str = "0-3"
    """Seeds of the grid, such as 0-4 or 1,5,9."""
    drawing: DrawingConfig = field(default_factory=DrawingConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class EraseRecipe:
    """All settings of one erasure; equal recipes give equal results."""

    model: str = "demo"
    """A hub id, a folder, a .safetensors file, or the name of an embedded model."""
    concept: str
    """What to forget: any word or phrase that the model knows."""
    concepts: tuple[str, ...] = ()
    """What to forget: any word or phrase that the model knows. In a file these stand beside
    `concept`, and all are forgotten together."""
    instead: str | None = None
    """A prompt or a name to see in its place; next or any of the other names; or nonce, words that
    mean nothing."""
    mask: str = SalUn.default_mask
    """Which weights move: salient, random, inverse, all, or those of a mask file; the method's own
    choice if none is given."""
    density: float = 0.5
    """Share of the weights in scope that the mask selects."""
    scope: str = SalUn.default_scope
    """Weights that may be in the mask: full, xattn, selfattn, noxattn, notime...; the method's own
    choice if none is given. It is a key into the `scopes` of the model's architecture."""
    seed: int = 0
    """Seed of the run, of its mask and of its method; 0 if none is given."""
    origin: str | None = None
    """The model that this one was once edited from: a training asks it in place of this one, so
    that later runs pull to the original base. What was erased before is not retained then."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where it computes; auto takes the best device there is."""
    checkpointing: bool = False
    """Gradient checkpointing: less memory, slower."""
    stream: bool = False
    """Keep the model's blocks in main memory, each on the device while it computes: for models
    whose weights the device does not hold. In a file this is the training's; `saliency`,
    `data.drawing` and `grid.drawing` have their own."""
    save_every: int = 50
    """Steps between two saves of the state."""
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
    judge: str | None = None
    """Who looks at the grid at the end, as for `erasure judge --with`; the canvas has its own. It
    is a name of `eval.judges.judges.JUDGES`, or the folder or hub id of an image classifier or a
    CLIP."""
    labels: str | None = None
    """Labels of a judge that is a model: a file, or a list with commas."""
    until_unseen: bool = False
    """End the training when the judge no longer recognises the concept, and keep the state that
    harmed its neighbours least."""
    moves: Literal["weights", "lora"] | None = None
    """What moves: weights, or thin factors of layers in their place; weights if none is given."""
    low_rank: LowRank = field(default_factory=LowRank)
    loras: tuple[str, ...] = ()
    """A LoRA file to merge into the model first, as FILE or FILE:STRENGTH, such as style:0.8."""
    code: str | None = None
    """A method of the user's own, `module:Class` or `FILE.py:Class`."""
    method: Method = field(default_factory=SalUn)
    """In a file, the table `[method]`: its `name` and its settings."""
    saliency: SaliencyConfig = field(default_factory=SaliencyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    unseen: UnseenConfig = field(default_factory=UnseenConfig)
    """When `until_unseen` looks, and at how much."""

    def __post_init__(self) -> None:
        require_counts(self, "save_every")
        if self.until_unseen and self.training is not None:
            self.unseen.require_within(self.training.steps)
        if self.origin is not None and self.stream:
            raise ConfigError(
                "stream keeps the weights in main memory, where no origin can be put in their "
                "place; leave one of both out"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """All concepts."""
        return (self.concept, *self.concepts)

    @property
    def training(self) -> TrainConfig | None:
        """Settings of the optimiser; None where the method has none."""
        return self.method if isinstance(self.method, TrainConfig) else None

    @property
    def factors(self) -> LowRank | None:
        """Factors that move in place of weights; None where weights move."""
        return self.low_rank if self.moves == "lora" else None

    @property
    def retains(self) -> bool:
        """Whether pictures to keep are looked at: a method that learns from pictures does, a mask
        does not."""
        return "pictures" in self.method.needs

    @property
    def needs(self) -> frozenset[Need]:
        """What is made before the method runs: its own needs, and a measured mask's pictures."""
        measured = self.mask in ("salient", "inverse")
        measured = measured and self.saliency.loss != "own"
        return self.method.needs | (frozenset({"pictures"}) if measured else frozenset())


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0-4` or `1,5,9` or both -> seeds, in order, each once.

    Raises:
        ConfigError: another form, a seed of 2**63 or more, or more than 10,000 seeds.
    """
    seeds: dict[int, None] = {}
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            low, high = int(first), int(last if dash else first)
            if not 0 <= low <= high < 2**63 or high - low >= _MOST_SEEDS - len(seeds):
                raise ValueError(part)
            seeds.update(dict.fromkeys(range(low, high + 1)))
    except ValueError as err:
        raise ConfigError(
            f"seeds is {text!r}; give numbers such as 0-4 or 1,5,9, at most {_MOST_SEEDS:,}"
        ) from err
    return tuple(seeds)
