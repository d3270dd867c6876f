"""The configs that stand for those a single file lacks: the published ones of its family."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from erasure.architectures.architecture import Architecture
from erasure.checkpoints.description import Description, shipped_description
from erasure.checkpoints.facts.statements import Statement
from erasure.diffusion.schedule import Prediction


def published_description(
    family: Architecture, prediction: Prediction | None = None
) -> Description:
    """The published configs of a family, without a vocabulary.

    Args:
        prediction: what the model predicts; None keeps what most of the family do.
    """
    shipped = shipped_description(family.key)
    if prediction in (None, shipped.prediction_type):
        return shipped
    return family.files.published_as(shipped.predicting(prediction))


def published_for(
    family: Architecture,
    tensors: Mapping[str, Tensor],
    statements: Sequence[Statement],
    prediction: Prediction | None,
) -> tuple[Description, str]:
    """The published configs for a file, and who says what is predicted where neither the family nor
    a statement does.

    Args:
        tensors: of the file, original names.
        statements: what the file says of its training.
        prediction: what the user says.
    """
    spoken = {one.prediction for one in statements} - {None}
    said = spoken.pop() if len(spoken) == 1 else prediction  # which decides between two
    if said is not None:
        return published_description(family, said), ""
    seeming = family.files.seems(tensors)
    if seeming is None:
        return published_description(family), ""
    return published_description(family, seeming[0]), seeming[1]
