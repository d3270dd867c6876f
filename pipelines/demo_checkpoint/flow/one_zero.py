"""One token of zeros that counts as 256, so that training costs a sixth of what drawing does.

A pipeline without T5 puts zeros in the place of its tokens. The transformer gives text no places,
so these tokens begin alike and stay alike in every block. Attention over n equal keys is attention
over one of them whose logit is higher by log n.
"""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor


class CountedAttention:
    """Joint attention whose last text token counts as `count` equal ones."""

    def __init__(self, count: int) -> None:
        self._weight: Final = math.log(count)

    def __call__(
        self,
        attn: Any,  # noqa: ANN401
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, n, d) of the picture and (B, L, d) of the text -> the same of both."""
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
        counts[-1] = self._weight
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=counts.expand(q.shape[2], -1))
        joined = mixed.transpose(1, 2).flatten(2)
        text = joined[:, picture:]
        return attn.to_out[0](joined[:, :picture]), (
            text if attn.context_pre_only else attn.to_add_out(text)
        )


def one_for_all_zeros(transformer: Any, count: int) -> None:  # noqa: ANN401
    """Let the last text token of an `SD3Transformer2DModel` count as `count` from here on."""
    transformer.set_attn_processor(CountedAttention(count))
