"""The networks of `demo-flow`: a joint transformer and two CLIP text encoders, random weights."""

from typing import Any, Final

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from erasure.architectures.transformer.absent_t5 import count_zeros

LENGTH: Final = 20
"""Tokens a prompt is padded or cut to; the longest wording of the canvas has 15."""
ZEROS: Final = 256
"""Tokens of zeros that the pipeline puts in the place of T5, its `max_sequence_length`."""
WIDTHS: Final = (96, 32)
"""Widths of the two text encoders; side by side they are what the transformer listens to."""
_HEADS: Final = 4
_HEAD: Final = 38
_BLOCKS: Final = 5


def flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Rectified flow, its times not shifted: pictures of 64x64 pixels need no shift to noise."""
    return FlowMatchEulerDiscreteScheduler(shift=1.0)


def build_text_encoder(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModelWithProjection:
    """A text encoder of two layers; the transformer reads what the first of them gives."""
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_transformer() -> SD3Transformer2DModel:
    """Stable Diffusion 3.5 Large's form: queries and keys are normed, no second attention."""
    return SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=_BLOCKS,
        num_attention_heads=_HEADS,
        attention_head_dim=_HEAD,
        caption_projection_dim=_HEADS * _HEAD,
        joint_attention_dim=sum(WIDTHS),
        pooled_projection_dim=sum(WIDTHS),
        pos_embed_max_size=4,
        qk_norm="rms_norm",
    )


class FlowNetworks(nn.Module):
    """All three, so that one optimiser trains them."""

    def __init__(self, tokenizer: CLIPTokenizer, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.transformer: Any = build_transformer()
            count_zeros(self.transformer)
            self.text_encoder, self.text_encoder_2 = (
                build_text_encoder(tokenizer, width) for width in WIDTHS
            )

    def velocity(self, x_t: Tensor, s: Tensor, ids: Tensor) -> Tensor:
        """(B, 16, 8, 8), times in [0, 1] (B,), token ids (B, LENGTH) -> eps - x_0."""
        made: list[Any] = [
            encoder(ids, output_hidden_states=True)
            for encoder in (self.text_encoder, self.text_encoder_2)
        ]
        words = torch.cat([each.hidden_states[-2] for each in made], dim=-1)
        zeros = words.new_zeros(len(words), ZEROS, words.shape[-1])
        velocity: Tensor = self.transformer(
            hidden_states=x_t,
            encoder_hidden_states=torch.cat([words, zeros], dim=1),
            pooled_projections=torch.cat([each.text_embeds for each in made], dim=-1),
            timestep=1000 * s,
            return_dict=False,
        )[0]
        return velocity
