"""Which component of a model moves, built so that its weights can."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from erasure.architectures.building import build_network, build_text_encoder
from erasure.architectures.encoders import PromptEncoder
from erasure.architectures.loading import recomputing
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.precision import Precision
from erasure.errors import ConfigError
from erasure.moving.reading import ReadingDenoiser, readable
from erasure.moving.streaming import Streamed, streamed_network
from erasure.pass_costs import require_recomputing
from erasure.work import Tally


@dataclass(frozen=True, slots=True, eq=False)
class Moving:
    """A component on its device, and the whole model as its trainings call it."""

    network: nn.Module
    """The component; its parameters have the names of the checkpoint, and are copies."""
    main: nn.Module
    """The main component, whose activations take the memory; `network` itself, or one that is
    frozen."""
    denoiser: Callable[[nn.Module], Denoiser]
    """Makes a denoiser of `network`."""
    text: PromptEncoder | None = None
    """The text encoders, where `network` is one of them."""
    streamed: Streamed | None = None
    """What moves the blocks of `main`, where they lie in main memory."""

    def recompute(self) -> None:
        """Let backward passes compute anew what the forward pass of a block made."""
        self.main.enable_gradient_checkpointing()  # type: ignore[operator]
        recomputing(self.main)  # diffusers checkpoints only then


def require_recomputed(checkpoint: Checkpoint, asked: str) -> None:
    """Raise ConfigError where the setting `asked` wants activations recomputed, which the main
    component's network cannot do."""
    family = checkpoint.architecture
    require_recomputing(family, checkpoint.description.components[family.main], asked)


def moving_of(
    checkpoint: Checkpoint,
    component: str,
    device: torch.device,
    tally: Tally | None = None,
    *,
    precision: Precision = "fp32",
    stream: bool = False,
) -> Moving:
    """Build what moves, in float32, or with `bf16-weights` in bfloat16.

    Args:
        stream: keep the blocks of the main component in main memory while they do not compute;
            passes with a gradient recompute them then.
        tally: counts the prompts that are read anew.
        component: the main one, or a text encoder, which the frozen main one stands behind.

    Raises:
        CheckpointError: a text encoder has no vocabulary, or it cannot be read.
        ConfigError: a text encoder is to move and its weights to be bfloat16.
    """
    main = component == checkpoint.architecture.main
    if precision == "bf16-weights" and not main:
        raise ConfigError(
            "precision is 'bf16-weights', which a text encoder is not trained in; give fp32 or bf16"
        )
    dtype = torch.bfloat16 if precision == "bf16-weights" else torch.float32
    wrap, streamed = checkpoint.architecture.denoiser, None
    if stream:
        network, streamed = streamed_network(checkpoint, dtype, device)
    else:
        network = build_network(checkpoint, dtype, device)
    if main:
        return _made(Moving(network, network, wrap, None, streamed))
    network.requires_grad_(False)
    text = build_text_encoder(checkpoint, device=device)
    parts = [part.component for part in checkpoint.architecture.parts if part.is_text]
    tower = text.towers[parts.index(component)][1]
    # As its weights are the checkpoint's own, and would move there.
    copied = {name: value.clone() for name, value in tower.state_dict().items()}
    tower.load_state_dict(copied, assign=True)
    denoise = wrap(network)
    named = _named_as(checkpoint.components[component], tower)
    reading = Moving(
        named, network, lambda _: ReadingDenoiser(denoise, text, tally), text, streamed
    )
    return _made(reading)


def _made(moving: Moving) -> Moving:
    """The same, whose streamed blocks are computed anew in backward passes."""
    for module in moving.main.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(_wanting)
    if moving.streamed is not None:
        moving.recompute()
    return moving


def _wanting(norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
    """Let what goes into a norm want a gradient where the norm's own weights want one.

    On a CPU, torch 2.13 ends the process by the backward pass of a norm whose input lies channel by
    channel of each place and wants none, as where the weights before it are of another group.
    """
    (x,) = inputs
    own = any(weight.requires_grad for weight in norm.parameters())
    if x.requires_grad or x.device.type != "cpu" or not (own and torch.is_grad_enabled()):
        return None
    return (x.detach().requires_grad_(),)


def data_for(checkpoint: Checkpoint, component: str, data: ConceptData) -> ConceptData:
    """The data as a training of a component takes them: for a text encoder with tokens.

    Raises:
        ConfigError: the prompts are not known as text.
        CheckpointError: there is no vocabulary, or it cannot be read.
    """
    if component == checkpoint.architecture.main:
        return data
    return readable(data, build_text_encoder(checkpoint))


class _Within(nn.Module):
    """A tower one level down."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.text_model = tower


def _named_as(names: Iterable[str], tower: nn.Module) -> nn.Module:
    """The tower with the names of the checkpoint: transformers 5.6 took the prefix away."""
    own = {name for name, _ in tower.named_parameters()}
    return tower if own <= set(names) else _Within(tower)
