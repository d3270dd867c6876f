"""The retain term that methods of pictures share."""

# B samples, C x H x W latents.

import torch
import torch.nn.functional as F
from torch import Tensor

from erasure.diffusion.batches import PictureBatch
from erasure.diffusion.denoiser import Denoiser, join


def predict_both(student: Denoiser, batch: PictureBatch) -> tuple[Tensor, Tensor | None]:
    """Predictions for the forget and the retain samples, in one pass of the model; in one each
    where their pictures are of two sizes."""
    forget, retain = batch.forget, batch.retain
    if retain is None:
        return student(forget.x_t, forget.t, forget.condition), None
    if retain.x_t.shape[1:] != forget.x_t.shape[1:]:
        shown = student(forget.x_t, forget.t, forget.condition)
        return shown, student(retain.x_t, retain.t, retain.condition)
    both = student(
        torch.cat([forget.x_t, retain.x_t]),
        torch.cat([forget.t, retain.t]),
        join([forget.condition, retain.condition]),
    )
    return both[: len(forget)], both[len(forget) :]


def retain_target(batch: PictureBatch, frozen: Denoiser | None = None) -> Tensor | None:
    """What predictions for the retain samples should be: the true target, or `frozen`'s answer."""
    retain = batch.retain
    if retain is None or frozen is None:
        return None if retain is None else retain.target
    return frozen(retain.x_t, retain.t, retain.condition)


def retain_loss(predicted: Tensor | None, wanted: Tensor | None, alpha: float) -> Tensor:
    """alpha times the mean squared error on the retain samples, in float32; ().

    Zero where there are none.
    """
    if predicted is None or wanted is None:
        return torch.zeros(())
    return alpha * F.mse_loss(predicted.float(), wanted.float())
