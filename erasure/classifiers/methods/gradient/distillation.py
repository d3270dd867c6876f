"""How far a student's answers are from a teacher's."""

# B samples, C classes.

import torch.nn.functional as F
from torch import Tensor


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over samples, ().

    Args:
        student: logits, (B, C).
        teacher: logits, (B, C); no gradient flows into them.

    Source: arXiv:1503.02531; the square keeps the size of the gradients.
    """
    wanted = F.log_softmax(teacher.detach() / temperature, dim=1)
    answer = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(answer, wanted, reduction="batchmean", log_target=True)
