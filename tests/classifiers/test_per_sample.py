"""Per-sample gradients equal those of a slow loop, whatever the model takes and answers."""

import pytest
import torch
import torch.nn.functional as F
from support.tiny_classifiers import CASES, Mlp
from torch import Tensor, nn

from erasure.classifiers import Batches, make_method, unlearn
from erasure.classifiers.curvature import per_sample
from erasure.classifiers.curvature.per_sample import (
    fisher_diagonal,
    in_pieces,
    per_sample_gradients,
)
from erasure.classifiers.data.batches import logits_of
from erasure.classifiers.weights import trainable
from erasure.errors import TrainingError


def one_by_one(model: nn.Module, data: Batches) -> dict[str, Tensor]:
    rows = []
    for n in range(len(data)):
        (batch,) = data.subset(torch.tensor([n])).ordered()
        loss = F.cross_entropy(logits_of(model, batch.inputs), batch.labels)
        rows.append(torch.autograd.grad(loss, list(model.parameters())))
    names = [name for name, _ in model.named_parameters()]
    return {name: torch.stack([row[i] for row in rows]) for i, name in enumerate(names)}


@pytest.mark.parametrize("name", CASES)
def test_all_at_once_is_one_by_one(name: str) -> None:
    data, model = Batches.of(CASES[name].forget), CASES[name].model().eval()
    (batch,) = Batches(data.dataset, 7).ordered()
    gradients = per_sample_gradients(model, trainable(model), batch)
    expected = one_by_one(model, data)
    assert gradients.keys() == expected.keys()
    for key, value in expected.items():
        # Other kernels and orders of summation, in float32.
        torch.testing.assert_close(gradients[key], value, rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_the_asked_weights_are_differentiated() -> None:
    case = CASES["mlp"]
    (batch,) = Batches.of(case.forget).subset(torch.arange(3)).ordered()
    model = case.model().eval()
    gradients = per_sample_gradients(model, {"head.bias": model.head.bias}, batch)
    assert {name: value.shape for name, value in gradients.items()} == {"head.bias": (3, 3)}


@pytest.mark.parametrize(("memory", "size"), [(1, 1), (800, 3), (2**28, 4)])
def test_the_memory_limit_cuts_batches_and_changes_no_result(
    memory: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES["cnn"]
    model, data = case.model().eval(), Batches.of(case.forget)
    weights = trainable(model)

    def measured() -> dict[str, Tensor]:
        passing = fisher_diagonal(model, weights, data)
        while True:
            try:
                next(passing)
            except StopIteration as end:
                return end.value

    whole = measured()
    monkeypatch.setattr(per_sample, "MEMORY", memory)
    assert in_pieces(data, weights).batch_size == size
    parts = measured()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value)


class Choosy(Mlp):
    """Its path depends on the numbers, which no batch of samples can share."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if float(x.sum()) > 0 else -x)


@pytest.mark.parametrize("name", ["iu", "fisher", "ssd"])
def test_a_model_that_cannot_be_batched_is_told_what_else_to_use(name: str) -> None:
    case = CASES["mlp"]
    with pytest.raises(TrainingError, match=r"cannot differentiate Choosy sample by sample \(.+\)"):
        unlearn(Choosy(), case.forget, case.retain, make_method(name))


def test_the_exact_influence_step_asks_for_no_sample_alone() -> None:
    case = CASES["mlp"]
    method = make_method("iu", inverse="newton", damping=1.0, alpha=1.0)
    assert unlearn(Choosy(), case.forget, case.retain, method).moved > 0


@pytest.mark.parametrize("name", CASES)
def test_the_exact_influence_step_works_on_every_model(name: str) -> None:
    case = CASES[name]
    method = make_method("iu", inverse="newton", damping=1.0, alpha=1.0, iterations=5)
    assert unlearn(case.model(), case.forget, case.retain, method).moved > 0
