"""One token of zeros that counts as all that stand in the place of an absent T5.

Without T5 the pipeline of Stable Diffusion 3 puts 256 tokens of zeros behind those of CLIP. The
transformer gives text no places, so these tokens begin alike and stay alike in every block, and
attention over n equal keys is attention over one of them whose logit is higher by log n. The result
is the same but for rounding, and so are all gradients; only the one with respect to the zeros
themselves comes as its sum.
"""

# B samples, L tokens, D text features, n picture tokens, d features of a block.

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import JointAttnProcessor2_0
from torch import Tensor

_COUNT: Final = "last_counts"


class CountingAttention(JointAttnProcessor2_0):
    """Joint attention that can let the last text token count as several equal ones."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        last_counts: int = 1,
    ) -> Any:  # noqa: ANN401
        """(B, n, d) of the picture and (B, L, d) of the text -> the same of both.

        Args:
            last_counts: as how many the last text token counts.
        """
        if encoder_hidden_states is None or last_counts == 1:
            plain: Any = super().__call__
            return plain(attn, hidden_states, encoder_hidden_states, attention_mask)
        picture = hidden_states.shape[1]

        def heads(layer: Any, x: Tensor, norm: Any = None) -> Tensor:  # noqa: ANN401
            parts: Tensor = layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            return parts if norm is None else norm(parts)

        pairs = (
            (attn.to_q, attn.add_q_proj, attn.norm_q, attn.norm_added_q),
            (attn.to_k, attn.add_k_proj, attn.norm_k, attn.norm_added_k),
            (attn.to_v, attn.add_v_proj, None, None),
        )
        q, k, v = (
            torch.cat(
                [heads(own, hidden_states, norm), heads(added, encoder_hidden_states, other)], dim=2
            )
            for own, added, norm, other in pairs
        )
        counts = q.new_zeros(k.shape[2])
        counts[-1] = math.log(last_counts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=counts.expand(q.shape[2], -1))
        joined = mixed.transpose(1, 2).flatten(2)
        text = joined[:, picture:]
        out = attn.to_out[1](attn.to_out[0](joined[:, :picture]))
        return out, text if attn.context_pre_only else attn.to_add_out(text)


def count_zeros(transformer: Any) -> None:  # noqa: ANN401
    """Let an `SD3Transformer2DModel` compute equal tokens of zeros once, from here on.

    Tokens of other values, and all of them in half precision, are computed as diffusers does: bf16
    has no number near enough to log 256. So are all where a block was given another attention
    processor, which would count the one token as one.
    """
    transformer.set_attn_processor(CountingAttention())  # type: ignore[no-untyped-call]
    transformer.register_forward_pre_hook(_with_one_zero, with_kwargs=True)


def _with_one_zero(
    network: Any,  # noqa: ANN401
    inputs: tuple[Any, ...],
    named: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the network is called with, all but one of the last tokens of zeros left out."""
    tokens = named.get("encoder_hidden_states")
    counting = all(
        isinstance(b.attn.processor, CountingAttention) for b in network.transformer_blocks
    )
    if tokens is None or not counting or not _can_count(tokens):
        return inputs, named
    zeros = _last_zeros(tokens)
    if zeros < 2:
        return inputs, named
    more = {**(named.get("joint_attention_kwargs") or {}), _COUNT: zeros}
    shorter = tokens[:, : tokens.shape[1] - zeros + 1]
    return inputs, {**named, "encoder_hidden_states": shorter, "joint_attention_kwargs": more}


def _can_count(tokens: Tensor) -> bool:
    """Whether the tokens have values, in full precision, and are not what is being learned."""
    if tokens.is_meta or (tokens.requires_grad and tokens.is_leaf):
        return False
    wide = tokens.dtype in (torch.float32, torch.float64)
    return wide and not torch.is_autocast_enabled(tokens.device.type)


def _last_zeros(tokens: Tensor) -> int:
    """How many tokens at the end of (B, L, D) are zeros in all samples."""
    if bool(tokens[:, -1].any()):
        return 0
    spoken = tokens.detach().abs().amax(dim=(0, 2)).nonzero()  # (some, 1), ascending
    return tokens.shape[1] - (int(spoken[-1]) + 1 if len(spoken) else 0)
