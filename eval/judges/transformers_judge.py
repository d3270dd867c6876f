"""Any image classifier of `transformers`, or zero-shot CLIP, with the classes a user cares for."""

# B pictures, K classes of the model, L labels of the user, D dimensions of CLIP's space.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import torch
from PIL import Image
from torch import Tensor

from eval.errors import EvalError
from eval.judges.judge import Judgement
from eval.judges.labels import FORMS, Labels, read_labels
from eval.judges.networks.clip_model import Clip, load_clip
from eval.rates.ranking import best_guesses
from eval.weights.hashing import weights_sha256
from eval.weights.pretrained import load_network, load_part, short_name
from prompts.canvas import with_article
from prompts.nearest import nearest

TEMPLATE: Final = "a photo of {}"
"""What CLIP compares a picture with where a label has no text of its own.

Source: arXiv:2103.00020, section 3.1.4, `A photo of a {label}.`, here with the article that the
label has or needs and without the full stop.
"""
_ARTICLES: Final = ("a ", "an ", "the ")


@dataclass(frozen=True, slots=True)
class TransformersJudge:
    """A model's opinion on one head, its probabilities summed over what stands for a label."""

    name: str
    protocol: Mapping[str, str | int | float]
    labels: tuple[str, ...]
    probabilities: Callable[[Sequence[Image.Image]], Tensor]
    """Pictures -> (B, L)."""
    head: str = "class"
    batch_size: int = 16

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image], /) -> list[Judgement]:
        """The best five labels of each picture."""
        return [
            Judgement(guesses={self.head: guesses})
            for start in range(0, len(images), self.batch_size)
            for guesses in best_guesses(
                self.probabilities(images[start : start + self.batch_size]), self.labels
            )
        ]


def open_transformers(
    source: str,
    *,
    labels: str | Labels | None = None,
    head: str = "class",
    device: str | torch.device = "cpu",
    batch_size: int = 16,
) -> TransformersJudge:
    """A judge from a folder or a hub id; its name is the model's.

    Args:
        source: an image classifier, or a CLIP for zero-shot classification.
        labels: see `read_labels`; a CLIP needs at least two. A classifier's classes that no label
            claims keep their own names; without labels all do.
        head: what the labels are of, such as `object`.
        device: where the model runs.
        batch_size: pictures at a time.

    Raises:
        EvalError: the model cannot be had or is neither, or the labels do not fit it.
    """
    from transformers import AutoConfig

    wanted = read_labels(labels) if isinstance(labels, str) else labels
    config = load_part(AutoConfig, source)
    classifies = any(kind.endswith("ForImageClassification") for kind in config.architectures or ())
    make = _zero_shot if config.model_type == "clip" and not classifies else _classifier
    names, probabilities, protocol = make(source, wanted, device)
    return TransformersJudge(
        name=short_name(source),
        protocol=protocol,
        labels=names,
        probabilities=probabilities,
        head=head,
        batch_size=batch_size,
    )


Parts = tuple[
    tuple[str, ...], Callable[[Sequence[Image.Image]], Tensor], dict[str, str | int | float]
]


def _zero_shot(source: str, labels: Labels | None, device: str | torch.device) -> Parts:
    """Softmax over the labels of the scaled cosine between picture and text.

    Several texts of one label are averaged as unit vectors. Source: arXiv:2103.00020, section
    3.1.4.
    """
    if not labels or len(labels) < 2:
        raise EvalError(f"the CLIP {source} needs two labels or more to choose from; {FORMS}")
    clip = load_clip(source, device=device)
    texts = {name: phrases or (_phrase(name),) for name, phrases in labels.items()}
    directions = torch.stack([_direction(clip, listed) for listed in texts.values()])  # (L, D)

    def probabilities(images: Sequence[Image.Image]) -> Tensor:
        return (clip.scale * clip.images(images) @ directions.T).softmax(1)

    return tuple(texts), probabilities, {**clip.described, "labels": _shown(texts)}


def _phrase(label: str) -> str:
    articled = label.lower().startswith(_ARTICLES)
    return TEMPLATE.format(label if articled else with_article(label))


def _shown(labels: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name}: {' | '.join(texts)}" for name, texts in labels.items())


def _direction(clip: Clip, texts: Sequence[str]) -> Tensor:
    return torch.nn.functional.normalize(clip.texts(texts).mean(0), dim=0)  # (D,)


def _classifier(source: str, labels: Labels | None, device: str | torch.device) -> Parts:
    """Softmax of the logits, added up over the model's classes that stand for one label."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network = load_network(AutoModelForImageClassification, source)
    sha256 = weights_sha256(network)
    network.to(device)
    processor = load_part(AutoImageProcessor, source, backend="pil")
    own = [str(network.config.id2label[index]) for index in range(network.config.num_labels)]
    names, places = _merged(own, labels, source)

    def probabilities(images: Sequence[Image.Image]) -> Tensor:
        inputs = processor(images=[i.convert("RGB") for i in images], return_tensors="pt")
        logits = network(pixel_values=inputs["pixel_values"].to(device)).logits  # (B, K)
        shares = logits.float().softmax(1).cpu()
        return torch.zeros(len(shares), len(names)).index_add_(1, places, shares)

    protocol: dict[str, str | int | float] = {
        "model": short_name(source),
        "sha256": sha256,
        "package": f"transformers {version('transformers')}",
        "preprocessing": f"{type(processor).__name__} of the model",
    }
    if labels:
        members = (
            [kind for kind, place in zip(own, places.tolist(), strict=True) if place == index]
            for index in range(len(labels))
        )
        protocol["labels"] = _shown(dict(zip(names, members, strict=False)))
    return names, probabilities, protocol


def _merged(
    own: Sequence[str], labels: Labels | None, source: str
) -> tuple[tuple[str, ...], Tensor]:
    """Names after merging, and for each class of the model its place among them.

    Classes of one name count together.
    """
    labels = labels or {}
    if len(labels) == len(own) and _unnamed(own) and not any(labels.values()):
        return tuple(labels), torch.arange(len(own))
    claimed: dict[int, str] = {}
    for label, texts in labels.items():
        for text in texts or (label,):
            index = _index(text, own, source)
            if claimed.setdefault(index, label) != label:
                raise EvalError(
                    f"the class {own[index]!r} of {source} is claimed by {claimed[index]!r} and "
                    f"by {label!r}; take it from one"
                )
    after = [claimed.get(index, name) for index, name in enumerate(own)]
    names = tuple(dict.fromkeys([*labels, *after]))
    return names, torch.tensor([names.index(name) for name in after])


def _unnamed(own: Sequence[str]) -> bool:
    return all(name == f"LABEL_{index}" for index, name in enumerate(own))


def _index(text: str, own: Sequence[str], source: str) -> int:
    """The model's class by its name, by one of the synonyms in it, or by its number."""
    asked = text.strip().lower()
    known: dict[str, int] = {}
    for index, name in enumerate(own):
        known.setdefault(name.lower(), index)
    for index, name in enumerate(own):
        for synonym in name.lower().split(", "):
            known.setdefault(synonym, index)
    if asked in known:
        return known[asked]
    if asked.isdecimal() and int(asked) < len(own):
        return int(asked)
    raise EvalError(f"{source} has no class {text!r}; {nearest(text, own)}")
