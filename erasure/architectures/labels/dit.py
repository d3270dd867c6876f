"""DiT: a transformer on latents that is told a class by its number, and noise and variance it says.

Source: `DiTPipeline` and `DiTTransformer2DModel` of diffusers; arXiv:2212.09748.
"""

# B samples, C x h x w latents.

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.autoencoder import (
    build_autoencoder,
    latent_channels,
    latent_shape,
    shrinking,
)
from erasure.architectures.labels.classes import Classes, classes_of
from erasure.architectures.labels.label_encoder import LABELS, LabelEncoder
from erasure.architectures.layer_names import OTHER, LayerNames
from erasure.architectures.loading import copied
from erasure.architectures.scopes import Predicate
from erasure.architectures.unet import stable_diffusion as sd
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.checks.plain_vae import require_plain_vae
from erasure.checkpoints.facts.scheduler import describe_betas, noise_schedule_of
from erasure.checkpoints.facts.training_kind import settle
from erasure.checkpoints.reading.settings_of import refuse_unknown_settings
from erasure.diffusion.denoiser import Condition
from erasure.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from erasure.checkpoints.checkpoint import Checkpoint
    from erasure.checkpoints.description import Description

MAIN: Final = "transformer"
_KIND: Final = "DiTTransformer2DModel"
_TITLE: Final = "DiT"
_NEUTRAL: Final = frozenset(
    """num_attention_heads attention_head_dim in_channels out_channels num_layers dropout
    norm_num_groups attention_bias sample_size patch_size activation_fn num_embeds_ada_norm
    norm_eps""".split()
)
_BLOCK: Final = re.compile(r"transformer_blocks\.(\d+)\.")
_COPIES: Final = ".norm1.emb."
"""Part of the names of each block's own copy of what embeds time and class."""


@dataclass(frozen=True, slots=True)
class DitDenoiser:
    """The transformer as objectives call it: of what it says, the noise alone.

    The other half, which tells the variance, enters no loss and no drawing, as in the pipeline.
    """

    network: nn.Module

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        """(B, C, h, w), (B,), conditions of B samples with labels -> noise, (B, C, h, w)."""
        labels = condition.named(LABELS)
        answer: Tensor = self.network(x_t, timestep=t, class_labels=labels, return_dict=False)[0]
        return answer[:, : x_t.shape[1]]


def dit_of(config: Mapping[str, Any]) -> nn.Module:
    """Make the transformer that a config of diffusers describes; it drops no label in training."""
    from diffusers import DiTTransformer2DModel

    network: nn.Module = DiTTransformer2DModel.from_config(dict(config))
    embedders: list[Any] = [one for one in network.modules() if hasattr(one, "dropout_prob")]
    for embedder in embedders:  # else labels would be lost at random, unseeded
        embedder.dropout_prob = 0.0
    return network


def _build_network(checkpoint: "Checkpoint", dtype: torch.dtype) -> nn.Module:
    """Build the transformer on CPU in evaluation mode, its weights copied."""
    network: Any = copied(checkpoint, dtype, build=dit_of, component=MAIN)
    places = network.pos_embed  # its table is computed and in no file
    side, patch = network.config.sample_size, network.config.patch_size
    made = type(places)(side, side, patch, network.config.in_channels, network.inner_dim)
    places.pos_embed = made.pos_embed.to(dtype)
    built: nn.Module = network
    return built


def _sample(
    config: Mapping[str, Any], size: tuple[int, int], tokens: int
) -> tuple[Tensor, Tensor, Condition]:
    """Make what the transformer takes of one sample, without values; it is told no tokens."""
    x_t = torch.empty(1, whole_number(config, "in_channels", MAIN, 4), *size)
    label = torch.empty(1, dtype=torch.int64)
    return x_t, torch.empty(1, dtype=torch.int64), Condition({LABELS: label})


def _classes(description: "Description", where: str = "this model") -> Classes:
    """Read the classes; the row after the last one stands for no class.

    Raises:
        CheckpointError: see `classes_of`.
    """
    config = description.components[MAIN]
    rows = whole_number(config, "num_embeds_ada_norm", MAIN, 1000) + 1
    return classes_of(description, rows, where, repeated=True)


def _check_configs(description: "Description", where: str) -> tuple[str, ...]:
    """Refuse a model that is no plain one of the family.

    Raises:
        CheckpointError: another class, a setting that is not understood, or latents that are not
            those of the VAE.
    """
    config = description.components[MAIN]
    if config.get("_class_name", _KIND) != _KIND:
        raise CheckpointError(
            f"{where} has a transformer of class {config['_class_name']!r}; {_TITLE} has {_KIND}, "
            "so give the folder of one model"
        )
    refuse_unknown_settings(_KIND, MAIN, config, _NEUTRAL, where)
    channels = latent_channels(description)
    inputs = whole_number(config, "in_channels", MAIN, 4)
    outputs = whole_number(config, "out_channels", MAIN, inputs)
    if inputs != channels or outputs not in (channels, 2 * channels):
        raise CheckpointError(
            f"{where} has a transformer that takes {inputs} channels and gives {outputs}, and a "
            f"VAE of {channels}; it must give as many or twice as many: give those that belong "
            "together"
        )
    side, patch = (whole_number(config, name, MAIN) for name in ("sample_size", "patch_size"))
    if side % patch:
        raise CheckpointError(
            f"{where} has a transformer with patch_size {patch} and sample_size {side}, which is "
            "no multiple of it; correct the config or fetch it again"
        )
    _classes(description, where)
    return require_plain_vae(description.components["vae"], _TITLE, where, statistics=False)


def _own_size(description: "Description") -> tuple[int, int]:
    """Give width and height, in pixels, of the pictures that it was trained to draw."""
    side = whole_number(description.components[MAIN], "sample_size", MAIN)
    return (side * shrinking(description),) * 2


def _latent_shape(description: "Description", height: int, width: int) -> tuple[int, int, int]:
    """Give (C, h, w) of the latents of a picture of H x W pixels.

    Raises:
        ConfigError: another size than the model's own, for which alone it knows places.
    """
    own = _own_size(description)
    if (width, height) != own:
        raise ConfigError(
            f"a picture of {width} x {height} pixels is none of this model, which knows the places "
            f"of {own[0]} x {own[1]} alone; leave the size out"
        )
    return latent_shape(description, height, width)


def _build_labels(checkpoint: "Checkpoint", dtype: torch.dtype) -> LabelEncoder:
    return LabelEncoder(_classes(checkpoint.description, str(checkpoint.path)))


def never_masked(name: str) -> bool:
    """The copies of what embeds time and class, one a block.

    Published files have one of them, so the copies must stay equal; and a class that is forgotten
    by its row of the table alone comes back with that row.
    """
    return _COPIES in name


def _attn(name: str) -> bool:
    """Queries, keys, values and outputs of self-attention."""
    return ".attn1.to_" in name


def _feed_forward(name: str) -> bool:
    """The feed-forward layers."""
    return ".ff." in name


def _modulation(name: str) -> bool:
    """The layers by which time and class scale and shift everything else."""
    return ".norm1.linear." in name or name.startswith("proj_out_1.")


_SCOPES: Final[Mapping[str, Predicate]] = {
    "full": lambda name: True,
    "attn": _attn,
    "selfattn": _attn,
    "ff": _feed_forward,
    "modulation": _modulation,
}
_HINTS: Final = {
    name: "a model of labels has no cross-attention, so take full, attn, ff or modulation"
    for name in ("xattn", "xattn-kv", "noxattn", "esd-u", "xlayer", "selflayer", "labels")
}


def _block_of(name: str) -> str:
    if match := _BLOCK.match(name):
        return f"block.{match[1]}"
    first = name.partition(".")[0]
    return {"pos_embed": "in", "proj_out_1": "out", "proj_out_2": "out"}.get(first, OTHER)


def _block_order(block: str) -> tuple[int, int]:
    section, _, number = block.partition(".")
    return ("in", "block", "out", OTHER).index(section), int(number or 0)


def _kind_of(name: str) -> str:
    chosen = {"time": never_masked, "attn": _attn, "ff": _feed_forward, "modulation": _modulation}
    kind = next((kind for kind, holds in chosen.items() if holds(name)), None)
    return kind or (block if (block := _block_of(name)) in ("in", "out") else OTHER)


_LAYERS: Final = LayerNames(
    _block_of, _block_order, _kind_of, ("attn", "ff", "modulation", "time", "in", "out", OTHER)
)

DIT: Final = Architecture(
    key="dit",
    title=_TITLE,
    pipeline="DiTPipeline",
    main=MAIN,
    parts=(
        Part(
            component=MAIN,
            title=MAIN,
            prefix="dit.",
            build=dit_of,
        ),
        sd.VAE,
    ),
    modelspec={},
    implementation="diffusers",
    first_weight="transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight",
    check_configs=_check_configs,
    build_network=_build_network,
    build_codec=build_autoencoder,
    build_text_encoder=_build_labels,
    build_tokenizers=lambda checkpoint: (),
    denoiser=DitDenoiser,
    sample=_sample,
    schedule=noise_schedule_of,
    settle=settle,
    describe_noise=describe_betas,
    guidance_kind="true",
    own_guidance=4.0,  # the default of `DiTPipeline`
    classes=_classes,
    class_table=lambda name: name.endswith(".class_embedder.embedding_table.weight"),
    latent_shape=_latent_shape,
    own_size=_own_size,
    one_size=True,
    scopes=_SCOPES,
    scope_defaults=dict.fromkeys(_HINTS, "full"),
    scope_hints=_HINTS,
    never_masked=never_masked,
    layers=_LAYERS,
)
