"""Values of a component's settings that its library takes as they are, and computes with later.

diffusers and transformers look at few values when they make a network. With one that is none of its
setting the network fails when it draws, or draws something else, so it is refused before.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from erasure.errors import CheckpointError
from erasure.storage.bare_names import shown

Kind = tuple[Callable[[object], bool], str]
"""Whether a value is one of its setting, and which those are."""


def is_count(value: object) -> bool:
    """Whether it is a whole number of 1 or more."""
    return type(value) is int and value >= 1  # a bool is an int to Python


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1  # type: ignore[operator]


def _is_above_zero(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < 1e30  # type: ignore[operator]


def _are_counts(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(is_count, value))


def one_of(*values: object) -> Kind:
    """One of these values, and of their types."""
    words = " or ".join("null" if value is None else str(value) for value in values)
    same = [(type(value), value) for value in values]
    return (lambda value: (type(value), value) in same), words


def counts(length: int) -> Kind:
    """So many whole numbers of 1 or more."""
    return (
        lambda value: _are_counts(value) and len(value) == length,
        f"a list of {length} whole numbers of 1 or more",
    )


def axes(length: int, features: object) -> Kind:
    """The features of a head that turn with each axis: even, and all of them together."""
    fits, _ = counts(length)

    def even(value: Any) -> bool:  # noqa: ANN401
        return fits(value) and not any(one % 2 for one in value) and sum(value) == features

    return even, f"a list of {length} even numbers that add up to the {features} of a head"


SWITCH: Final[Kind] = (lambda value: type(value) is bool, "true or false")
AMOUNT: Final[Kind] = (_is_amount, "a number from 0 to 1")
ABOVE_ZERO: Final[Kind] = (_is_above_zero, "a number above 0")
COUNT: Final[Kind] = (is_count, "a whole number of 1 or more")
COUNT_OR_NULL: Final[Kind] = (
    lambda value: value is None or is_count(value),
    "a whole number of 1 or more, or null",
)
_COUNTS: Final[Kind] = (
    lambda value: value is None or is_count(value) or _are_counts(value),
    "a whole number of 1 or more, a list of such, or null",
)
_SWITCH_OR_NULL: Final[Kind] = (
    lambda value: value is None or type(value) is bool,
    "true, false or null",
)

_EVERYWHERE: Final[Mapping[str, Kind]] = {
    # Names that mean the same in every class that has them.
    **dict.fromkeys(
        ("norm_eps", "eps", "layer_norm_eps", "layer_norm_epsilon", "rms_norm_eps"), AMOUNT
    ),
    **dict.fromkeys(("batch_norm_eps", "dropout", "freq_shift"), AMOUNT),
    **dict.fromkeys(("mid_block_scale_factor", "resnet_out_scale_factor", "mlp_ratio"), ABOVE_ZERO),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "num_key_value_heads"), COUNT),
    **dict.fromkeys(("attention_head_dim", "num_attention_heads"), _COUNTS),
    "norm_num_groups": COUNT_OR_NULL,
    "flip_sin_to_cos": SWITCH,  # null would be false, and the default is true
    "downsample_padding": one_of(0, 1),
    **dict.fromkeys(
        (
            "attention_bias",
            "center_input_sample",
            "force_upcast",
            "guidance_embeds",
            "mid_block_add_attention",
            "mid_block_only_cross_attention",
            "resnet_skip_time_act",
            "upcast_attention",
            "use_attention_mask",
            "use_linear_projection",
            "use_post_quant_conv",
            "use_quant_conv",
        ),
        _SWITCH_OR_NULL,
    ),
}
_END: Final[Kind] = (
    lambda value: type(value) is int and value >= 0,
    "a whole number of 0 or more",
)


def _of_kind(config: Mapping[str, Any]) -> dict[str, Kind]:
    """What the values of some settings of a text encoder must be."""
    kind = config.get("model_type")
    if kind == "clip_text_model":  # its pooled feature is that of the token of the end
        return {"eos_token_id": _END}
    if kind != "t5":
        return {}
    buckets = config.get("relative_attention_num_buckets", 32)
    farther: Kind = (
        lambda value: is_count(buckets) and is_count(value) and value > buckets,
        f"a whole number above the relative_attention_num_buckets, which is {shown(buckets)}",
    )
    return {"relative_attention_max_distance": farther}


def require_settings(
    config: Mapping[str, Any], component: str, where: str, values: Mapping[str, Kind] | None = None
) -> None:
    """Refuse a config with a value that is none of its setting; a setting may be absent.

    Args:
        config: of one component.
        component: what to call it, such as `unet`.
        where: whose config it is.
        values: what the values of some settings must be; those that mean the same in every class
            if None.

    Raises:
        CheckpointError: such a value; setting, value and what it must be are named.
    """
    if values is None:
        values = {**_EVERYWHERE, **_of_kind(config)}
    for name, (suits, wanted) in values.items():
        if name in config and not suits(config[name]):
            raise CheckpointError(
                f"{where} has {name} = {shown(config[name])} in the config of its {component}, and "
                f"{wanted} must stand there; correct the config or fetch it again"
            )
