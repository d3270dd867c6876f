"""Shadow models for the likelihood-ratio attack: trained like the original, on random halves."""

# S shadow models, N examples: the forget set and then as many test examples.

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from erasure.classifiers import Batches, train_classifier
from erasure.errors import ConfigError
from erasure.seeds import derived_seed, generator_for
from eval.rates.likelihood_ratio import likelihood_ratio, report, scaled_confidence
from eval.rates.predictions import first_places
from pipelines.classifiers.data.data import ClassifierData
from pipelines.classifiers.measuring import Split, answers
from pipelines.classifiers.model_file import LoadedClassifier
from pipelines.classifiers.networks.architectures import make_model
from pipelines.classifiers.training import steps_of_training
from pipelines.process.progress import Reporter


def require_enough(count: int) -> None:
    """Raise ConfigError for fewer than four shadow models: too few for a variance on each side."""
    if count < 4:
        raise ConfigError(f"{count} shadow models are too few; give 4 or more")


def shadow_attack(
    loaded: LoadedClassifier,
    data: ClassifierData,
    split: Split,
    count: int,
    *,
    device: torch.device,
    reporter: Reporter,
) -> dict[str, Any]:
    """LiRA on the forget set: can an attacker tell it from test data, example by example?

    Each shadow model trains on a random half of the retain, forget and test examples together, so
    that every example is in about half of them.

    Returns:
        Area under the curve, 50 for a perfect forgetting, and the share of the forget set that
        is found at 1 % false alarms; both in per cent, online and offline.

    Raises:
        ConfigError: fewer than four shadow models, too few for a variance on each side, or no test
            example of the class that was forgotten.
    """
    require_enough(count)
    test = _test_part(data, split)
    asked = [(data.train, split.forget), (data.test, test)]
    pool: ConcatDataset[Any] = ConcatDataset(
        [
            Subset(data.train, torch.cat([split.forget, split.retain]).tolist()),
            Subset(data.test, test.tolist()),
        ]
    )
    size = len(split.forget) + len(split.retain)
    places = torch.cat([torch.arange(len(split.forget)), size + torch.arange(len(test))])
    shadows, inside = [], []
    for number, chosen in enumerate(_halves(len(pool), count, loaded.record.seed), 1):
        # Not the first weights of the model that is attacked, whatever its seed.
        seed = derived_seed(loaded.record.seed, "shadow model", number)
        model = make_model(loaded.record.model, data.facts, seed).to(device)
        samples = Batches(pool, loaded.record.training.batch_size, chosen.nonzero()[:, 0])
        total = steps_of_training(loaded.record.training, len(samples))
        with reporter.stage(f"shadow model {number} of {count}", total) as tick:
            for _ in train_classifier(model, samples, loaded.record.training, seed):
                tick()
        shadows.append(_confidences(model, asked))
        inside.append(chosen[places].numpy())
    observed = _confidences(loaded.model.to(device), asked)
    return _reports(observed, np.stack(shadows), np.stack(inside), len(split.forget))


def _halves(total: int, count: int, seed: int) -> list[Tensor]:
    """`count` random halves, (total,) bool; in pairs that complete each other, so that every
    example is in exactly half of an even number of them."""
    halves: list[Tensor] = []
    for pair in range(-(-count // 2)):
        order = torch.randperm(total, generator=generator_for(seed, "shadow", pair))
        half = torch.zeros(total, dtype=torch.bool)
        half[order[: total // 2]] = True
        halves += [half, ~half]
    return halves[:count]


def _test_part(data: ClassifierData, split: Split) -> Tensor:
    """Test examples to tell the forget set from, at most as many; of the same class where one is
    forgotten, else of all.

    Raises:
        ConfigError: there is none.
    """
    labels = data.test.tensors[-1]
    places = torch.arange(len(labels))
    if split.forgotten_class is not None:
        places = (labels == split.forgotten_class).nonzero()[:, 0]
    if not len(places):
        raise ConfigError(
            "the test part has no example of the class that was forgotten, so there is nothing to "
            "tell the forget set from; leave --shadows out"
        )
    count = min(len(places), len(split.forget))
    return places[torch.from_numpy(first_places(labels[places].numpy(), count))]


def _confidences(
    model: torch.nn.Module, asked: Sequence[tuple[TensorDataset, Tensor]]
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    return np.concatenate(
        [scaled_confidence(answers(model, dataset, part)) for dataset, part in asked]
    )


def _reports(
    observed: "np.ndarray[Any, np.dtype[np.float64]]",
    shadows: "np.ndarray[Any, np.dtype[np.float64]]",
    inside: "np.ndarray[Any, np.dtype[np.bool_]]",
    members: int,
) -> dict[str, Any]:
    result: dict[str, Any] = {"shadow models": len(shadows)}
    for mode in ("online", "offline"):
        scores = likelihood_ratio(observed, shadows, inside, mode=mode)
        attack = report(scores[:members], scores[members:])
        result[f"AUC, {mode}"] = round(100 * attack.auc, 2)
        result[f"found at 1% false alarms, {mode}"] = round(attack.true_positives, 2)
    return result
