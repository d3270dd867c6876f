"""Which other concepts lie nearest to an erased one, by the text encoder and by the judge."""

# D features of a text.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.errors import EvalError
from eval.judges.judge import Judgement


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One other concept."""

    label: str
    similarity: float
    """A cosine in [-1, 1], or a mean probability in [0, 1]."""


def ranked_by_text(concept: Tensor, others: Mapping[str, Tensor]) -> tuple[Neighbour, ...]:
    """Rank other concepts by the cosine of their texts with the concept's, nearest first.

    The encoder of the audited model itself says what is near for it. The mean of all texts is
    taken away first, as the texts of one encoder share most of their direction.

    Args:
        concept: (D,) what the model's text encoder makes of a prompt of the concept: its pooled
            output, or the hidden state at the end of the text.
        others: label -> the same of a prompt of that label in the same wording.

    Raises:
        EvalError: there is no other, shapes differ, or a value is not finite.
    """
    if not others:
        raise EvalError("there is no other concept to rank; name at least one")
    rows = [concept, *others.values()]
    if any(row.ndim != 1 or row.shape != concept.shape for row in rows):
        shapes = sorted({str(tuple(row.shape)) for row in rows})
        raise EvalError(f"texts have the shapes {', '.join(shapes)}; give one vector (D,) each")
    texts = torch.stack([row.detach().double().cpu() for row in rows])
    if not torch.isfinite(texts).all():
        raise EvalError("a text has values that are not finite; look at the text encoder's weights")
    texts = texts - texts.mean(0)
    cosines = torch.cosine_similarity(texts[1:], texts[:1], dim=1)
    return _nearest_first(dict(zip(others, cosines.tolist(), strict=True)))


def ranked_by_confusion(
    concept: str,
    asked: Sequence[str],
    judged: Sequence[Judgement],
    head: str,
) -> tuple[Neighbour, ...]:
    """Rank other labels by how easily the judge confuses them with the concept, nearest first.

    The similarity of a label is the mean of two probabilities, each a mean over pictures: that of
    the concept in pictures asked to show the label, and that of the label in pictures asked to show
    the concept. A judge tells its five best guesses; the others count as 0.

    Args:
        concept: a label of the head.
        asked: the label that each of the base's pictures was asked to show.
        judged: what the judge says of each.
        head: whose labels they are.

    Raises:
        EvalError: the lengths differ, or no picture was asked to show the concept or another label.
    """
    if len(asked) != len(judged):
        raise EvalError(
            f"{len(asked)} labels were asked for and {len(judged)} pictures were judged; give one "
            "of both a picture"
        )
    labels = [label for label in dict.fromkeys(asked) if label != concept]
    if concept not in asked or not labels:
        raise EvalError(
            f"the pictures show {sorted(set(asked))}; give some of {concept!r} and some of another"
        )
    return _nearest_first(
        {
            label: (
                _mean_probability(label, concept, asked, judged, head)
                + _mean_probability(concept, label, asked, judged, head)
            )
            / 2
            for label in labels
        }
    )


def _mean_probability(
    shown: str, guessed: str, asked: Sequence[str], judged: Sequence[Judgement], head: str
) -> float:
    """Mean probability of `guessed` in the pictures that were asked to show `shown`."""
    scores = [
        next((g.score for g in one.guesses.get(head, ()) if g.label == guessed), 0.0)
        for label, one in zip(asked, judged, strict=True)
        if label == shown
    ]
    return sum(scores) / len(scores)


def _nearest_first(similarities: Mapping[str, float]) -> tuple[Neighbour, ...]:
    """Among equals the earlier label comes first."""
    rows = sorted(similarities.items(), key=lambda row: -row[1])
    return tuple(Neighbour(label, value) for label, value in rows)
