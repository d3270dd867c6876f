"""Features of any vision model of transformers: CLIP, DINOv2 and the like, by name or folder."""

# B pictures, D features, T tokens.

from typing import Any

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.pictures.picture_bytes import Pictures, rgb_pictures
from eval.weights.hashing import weights_sha256
from eval.weights.pretrained import load_part, short_name


class VisionFeatures:
    """Pooled features (B, D) of one model, preprocessed by its own settings."""

    is_inception = False

    def __init__(self, source: str, device: torch.device | str = "cpu") -> None:
        """EvalError if `source`, a hub id or a folder, is no complete model that sees pictures."""
        from transformers import AutoImageProcessor, AutoModel

        self.name, self._device = short_name(source), device
        self._processor: Any = load_part(AutoImageProcessor, source, backend="pil")
        model, report = load_part(AutoModel, source, output_loading_info=True, dtype=torch.float32)
        self._model: Any = model.eval().requires_grad_(False).to(device)
        self._pooled = _check_pooling(source, [*report["missing_keys"], *report["mismatched_keys"]])
        self.protocol: dict[str, str | int | float] = {
            "network": self.name,
            "sha256": weights_sha256(self._model),
            "input": f"{type(self._processor).__name__} of the model",
            "pooling": "of the model" if self._pooled else "first token",
        }

    @torch.no_grad()
    def __call__(self, pictures: Pictures, /) -> Tensor:
        images = rgb_pictures(pictures)
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
        pixels = pixels.to(self._device)
        if hasattr(self._model, "get_image_features"):  # CLIP, SigLIP: the space shared with text
            features = self._model.get_image_features(pixel_values=pixels).pooler_output
        else:
            output = self._model(pixel_values=pixels)
            pooled = getattr(output, "pooler_output", None) if self._pooled else None
            features = output.last_hidden_state[:, 0] if pooled is None else pooled  # of (B, T, D)
        rows: Tensor = features.flatten(1)  # a convolutional model pools to (B, D, 1, 1)
        return rows.float().cpu()


def _check_pooling(source: str, missing: list[str]) -> bool:
    """Whether the pooling layer is in the files; anything else that misses is an error.

    The libraries fill with random numbers what a file lacks. A classifier's file lacks the pooling
    layer, which is no loss: its class token comes first.
    """
    lost = sorted(str(name) for name in missing if "pooler" not in name)
    if lost:
        raise EvalError(
            f"{source} lacks {len(lost)} weights, such as {lost[0]}; give a complete vision model"
        )
    return not missing
