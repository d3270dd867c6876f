"""D1: what the judge names in the pictures of two models, as distributions over labels."""

# N pictures, L labels.

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch

from eval.distances.units import Units, resampled, units_of_errors
from eval.errors import EvalError


def shares(labels: Sequence[str]) -> dict[str, float]:
    """Share of each label, most frequent first, equal ones by name.

    Raises:
        EvalError: there is no label.
    """
    if not labels:
        raise EvalError("there is no picture to name; draw at least one")
    counts = Counter(labels)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: counts[name] / len(labels) for name in order}


def label_units(
    model: Sequence[str],
    retrained: Sequence[str],
    pair: tuple[Sequence[str], Sequence[str]],
    *,
    seed: int,
) -> Units:
    """Total variation to the retrained model, over that of two seeds.

    Of N pictures two equal models differ by chance; the unit holds as much of it, as it is taken
    over as many pictures. It is at least one picture of N. Both errors are those of resampled
    pictures.

    Args:
        model: label of each picture.
        retrained: of the pictures of the same prompts and seeds.
        pair: those of the two seeds.

    Raises:
        EvalError: no picture, or the numbers differ.
    """
    columns = (model, retrained, *pair)
    if len({len(column) for column in columns}) != 1 or not model:
        raise EvalError(
            f"{' and '.join(str(len(c)) for c in columns)} labels do not pair; name one a picture "
            "and model"
        )
    names = sorted({name for column in columns for name in column})
    hot = torch.tensor([[[own == name for name in names] for own in column] for column in columns])
    one, other, first, second = hot.double()  # (N, L) each
    gaps = torch.stack([one - other, first - second])  # (2, N, L)
    value, unit = (float(gap) for gap in gaps.mean(1).abs().sum(-1) / 2)
    weights = resampled(len(model), seed=seed) / len(model)  # (R, N)
    again = (weights @ gaps).abs().sum(-1) / 2  # (2, R)
    error, unit_error = (float(deviation) for deviation in again.std(1))
    units = units_of_errors(value, error, unit, unit_error, least=1 / len(model))
    return replace(units, low=max(0.0, units.low))
