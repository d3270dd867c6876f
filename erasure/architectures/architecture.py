"""What an architecture is: a list of parts, and how each is read, built, told, masked and written.

A family of models is one value of `Architecture` in one file of the rooms beside this one, and one
line in `registry`. All else asks `checkpoint.architecture` and never which family it is.
"""

# B samples, C x h x w latents, H x W pixels.

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from erasure.architectures.encoders import Codec, PromptEncoder
from erasure.architectures.layer_names import LayerNames
from erasure.architectures.lora_names import LoraNames
from erasure.architectures.scopes import Predicate, in_scope
from erasure.architectures.single_files import SILENT, SingleFiles
from erasure.checkpoints.layout.renaming import Convert
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.schedule import Prediction, Schedule
from erasure.errors import ConfigError, Worded
from erasure.known_names import hint

if TYPE_CHECKING:
    from erasure.architectures.labels.classes import Classes
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description
    from erasure.checkpoints.facts.statements import Statement
    from erasure.checkpoints.facts.training_kind import SchedulerSource, TrainingKind


class Settle(Protocol):
    """Brings a scheduler config and what a file says of its training together."""

    def __call__(
        self,
        source: "SchedulerSource",
        statements: "Sequence[Statement]",
        where: str,
        *,
        wanted: Prediction | None = ...,
        buffer: Tensor | None = ...,
    ) -> tuple[dict[str, Any], "TrainingKind"]:
        """Give a complete scheduler config, and where it is from.

        Raises:
            CheckpointError: the family cannot be trained so, or two statements contradict.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component of the pipeline and its place in an original single file."""

    component: str
    """Folder of the component in the diffusers layout."""
    title: str
    """What a sentence calls it."""
    prefix: str
    """What its names begin with in the single file, with the last dot."""
    aliases: tuple[str, ...] = ()
    """What else they may begin with in files that are read."""
    build: Callable[[Mapping[str, Any]], nn.Module]
    """Makes the network that a config describes; imports its library where it is called."""
    to_original: Convert = dict
    """diffusers names -> those of single files; the same where it is not given."""
    to_diffusers: Convert = dict
    """The other way."""
    tidy_diffusers: Convert = dict
    """Older or newer spellings of the diffusers names -> the ones used here."""
    tidy_original: Convert = dict
    """The same for the original names."""
    signs_original: tuple[str, ...] = ()
    """Weights by which a file is known that holds this component alone, without a prefix."""
    signs_diffusers: tuple[str, ...] = ()
    """The same of one that has diffusers names."""
    optional: str = ""
    """What the pipeline does where the component is not there, as a sentence; empty where it must
    be there."""
    scopes: Mapping[str, Predicate] = field(default_factory=dict, hash=False)
    """Name of a scope -> which weights are in it, of a part that can be edited beside the main
    one."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All that its names may begin with."""
        return (self.prefix, *self.aliases)

    @property
    def is_text(self) -> bool:
        """Whether it reads prompts."""
        return self.component.startswith("text_encoder")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Architecture:
    """One family of models."""

    key: str
    """Name in the registry, and the folder of its published configs."""
    title: str
    pipeline: str
    """Class in `model_index.json`."""
    main: str
    """The component that denoises: it is measured, edited and hashed. It is one of `parts`."""
    parts: tuple[Part, ...]
    file_parts: tuple[str, ...] = ()
    """The components of a published single file; all of them if none is named. One alone has no
    prefix."""
    modelspec: Mapping[str, str]
    """`prediction_type` -> `modelspec.architecture`; empty where there is no layout of a single
    file."""
    files: SingleFiles = SILENT
    """What its single files tell of how a model was trained, and what they cannot tell."""
    implementation: str = "sgm"
    """`modelspec.implementation`."""
    first_weight: str
    """A weight of the main component, original name without prefix, by which a file is known."""
    suits: Callable[[Mapping[str, Mapping[str, Any]]], bool] = lambda configs: True
    """Whether configs, by component, are of its own, where another architecture has the same
    pipeline class: that of the main component, of `text_encoder` and `model_index`, as far as they
    are there. The one that is asked last takes all that is left."""
    check_configs: Callable[["Description", str], tuple[str, ...]]
    """Refuses configs that are not plain ones of it, and returns notes on what they leave open; the
    second argument says whose configs they are."""
    check_weights: Callable[[Mapping[str, Tensor], "Description", str], None] = lambda *_: None
    """The same by the main component's weights in a single file, names without prefix; names and
    shapes are compared with the configs in any case."""

    build_network: Callable[["Checkpoint", torch.dtype], nn.Module]
    """Makes the main component on CPU, its weights copied, in evaluation mode."""
    build_codec: Callable[["Checkpoint", torch.dtype], Codec]
    """Makes what turns pictures into latents and back, on CPU."""
    build_text_encoder: Callable[["Checkpoint", torch.dtype], PromptEncoder]
    """Makes all text encoders on CPU, with their tokenizers."""
    build_tokenizers: Callable[["Checkpoint"], Sequence[Any]]
    """Makes one tokenizer for each text encoder."""
    denoiser: Callable[[nn.Module], Denoiser]
    """Wraps the main component as objectives call it; it alone knows which tensors of a condition
    go where."""
    schedule: Callable[[Mapping[str, Any]], Schedule]
    """Makes the forward process of a diffusers scheduler config."""
    settle: Settle
    """Brings a scheduler config and what a file says of its training together."""
    describe_noise: Callable[[Mapping[str, Any]], str]
    """Tells the forward process of a complete scheduler config in a few words."""
    sampling: Callable[[Mapping[str, Any], int, tuple[int, int]], Mapping[str, Any]] = lambda *_: {}
    """Gives what else a diffusers scheduler is given where its time steps are set, for so many
    steps and latents of h x w."""
    step_time: Callable[[Tensor], Tensor] = lambda t: t
    """Turns a time of a diffusers scheduler into the number that the denoiser is told."""
    guidance_kind: Literal["true", "embedded", "none"]
    """Whether the model is guided away from the empty prompt, told the strength of its guidance as
    a number instead, or neither."""
    own_guidance: float = 7.5
    """Guidance at which its pictures are drawn where nobody asks for another, as its makers have
    it."""
    after_guidance: Callable[[Tensor, Tensor], Tensor] = lambda guided, answer: guided
    """Gives what drawing takes of a guided answer, beside the answer to the prompt, (B, C, h, w)
    both."""
    own_eta: float = 0.0
    """Share of fresh noise a step with which its pictures are drawn where nobody asks for another,
    as its makers have it; 1 is that of DDPM."""
    sample: Callable[[Mapping[str, Any], tuple[int, int], int], tuple[Tensor, Tensor, Condition]]
    """Makes what the denoiser takes of one sample, without values: x_t (1, C, h, w), t (1,) and a
    condition. It is given the main component's config, h and w, and the number of tokens."""
    prompt_length: Callable[["Description", int, bool], int] = lambda _, window, wide: window
    """Tokens of a prompt that the main component computes, given those that the first text encoder
    reads, and whether it computes in full precision; a family whose prompts have one length needs
    none."""
    first_tokens: Callable[["Description"], int | None] = lambda _: None
    """Tokens of a prompt that the first text encoder makes, where another's stand behind them; None
    where all are of one."""
    classes: Callable[["Description", str], "Classes"] | None = None
    """Reads the classes that it is told by number in the place of text; the second argument says
    whose description it is. None where prompts are text."""
    class_table: Predicate | None = None
    """Which weights of the main component are tables with a row a class, in the order of their
    numbers: one, or equal copies. None where prompts are text."""
    pixels: bool = False
    """Whether it noises pixels, so that a scheduler may bound the picture that it predicts."""

    latent_shape: Callable[["Description", int, int], tuple[int, int, int]]
    """Gives (C, h, w) of the latents of a picture of H x W pixels."""
    own_size: Callable[["Description"], tuple[int, int]]
    """Gives width and height, in pixels, of the pictures that it was trained to draw."""
    with_size: Callable[[Condition, int, int], Condition] = lambda condition, h, w: condition
    """Adds to a condition that its picture has H x W pixels, where the model is told so."""
    one_size: bool = False
    """Whether all pictures of an edit must have one size, as the model is told it."""

    scopes: Mapping[str, Predicate]
    """Name of a scope -> which weights of the main component are in it."""
    scope_defaults: Mapping[str, str] = field(default_factory=dict)
    """Scope that a method takes by itself -> what it takes in this family."""
    text_readers: Mapping[str, str] = field(default_factory=dict)
    """Weight of the main component that multiplies a tensor of the condition as it comes -> the
    tensor's name; named where there is no cross-attention to rewrite."""
    scope_hints: Mapping[str, str] = field(default_factory=dict)
    """Scope of other families -> what to take here in its place."""
    never_masked: Predicate = lambda name: False
    """Which names of the main component no mask may select, such as tables that are no weights."""
    layers: LayerNames
    """How reports cut the main component into blocks and kinds of layer."""
    lora: LoraNames | None = None
    """How LoRA files name its layers; None where those of diffusers are the only names known."""

    def __repr__(self) -> str:
        return f"Architecture({self.key!r})"

    def part(self, component: str) -> Part:
        """Find the part of that component."""
        return next(part for part in self.parts if part.component == component)

    def require_guidance(self, *what: str | Worded) -> None:
        """Refuse what needs a pass that guidance leads away from, where the model has none.

        Args:
            what: what asks for it, with what to take in its place, as a message ends.

        Raises:
            ConfigError: the model is told its guidance as a number, or has none.
        """
        if self.without_guidance:
            raise ConfigError(f"{self.without_guidance}; ", *what)

    @property
    def without_guidance(self) -> str:
        """Why no pass is there that guidance leads away from, in words; empty where one is."""
        if self.guidance_kind == "true":
            return ""
        embedded = self.guidance_kind == "embedded"
        has = "is told its guidance as a number" if embedded else "draws without guidance"
        return f"{self.title} {has}, so there is no guidance away from the empty prompt"

    def passes(self, guidance: float) -> int:
        """Count the samples of a step of a drawing: two where it is guided by the empty prompt."""
        return 2 if guidance > 1 and self.guidance_kind == "true" else 1

    @property
    def main_part(self) -> Part:
        """The part of the main component."""
        return self.part(self.main)

    @property
    def editable(self) -> tuple[str, ...]:
        """The components that can be edited: the main one, and behind it the text encoders that say
        which of their weights a mask may select."""
        return (self.main, *(part.component for part in self.parts if part.scopes))

    def to_original(self, components: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Rename all components that are there: diffusers names -> one flat mapping with original
        names."""
        return {
            f"{part.prefix}{name}": weight
            for part in self.parts
            if part.component in components
            for name, weight in part.to_original(components[part.component]).items()
        }

    def part_of(self, weights: Mapping[str, Tensor], component: str) -> dict[str, Tensor]:
        """Take the weights of one part out of a single file, prefix removed, original names."""
        for prefix in self.part(component).prefixes:
            names = [name for name in weights if name.startswith(prefix)]
            if names:
                return {name.removeprefix(prefix): weights[name] for name in names}
        return {}

    def candidates(
        self, names: Iterable[str], scope: str, component: str | None = None
    ) -> list[str]:
        """Find the weights of a component, the main one if none, that a mask of `scope` may select.

        Raises:
            ConfigError: `scope` is unknown, or lets in none of the names.
        """
        if component is not None and component != self.main:
            return in_scope(names, scope, self.part(component).scopes)
        allowed = [name for name in names if not self.never_masked(name)]
        return in_scope(allowed, scope, self.scopes, self.scope_hints)

    def require_editable(self, component: str) -> str:
        """Give the name of a component that can be edited, the main one for an empty name.

        Raises:
            ConfigError: there is none of that name, or it cannot be edited; the nearest is named.
        """
        named = component or self.main
        if named not in self.editable:
            raise ConfigError(
                f"{self.title} has no component {named!r} that can be edited; "
                f"{hint(named, self.editable)}"
            )
        return named
