"""The base's values are in the network as long as somebody holds them there, and no longer."""

import torch
from support.tiny import (
    Toy,
    ToyDenoiser,
    assert_same_bits,
    copied,
    some_mask,
    toy_batches,
    toy_condition,
)
from torch import Tensor

from erasure.methods import SalUn
from erasure.training.train_config import TrainConfig
from erasure.training.trainer import MaskedTrainer
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights


def test_a_block_holds_the_base_after_an_answer_within_it_too() -> None:
    network = Toy()
    selected = SelectedWeights(network, some_mask(network))
    frozen = FrozenDenoiser(ToyDenoiser(network), selected, needed=True)
    base = copied(network)
    with torch.no_grad():
        for vector in selected.vectors.values():
            vector.add_(1.0)
    selected.write_back()
    moved = copied(network)
    with frozen.held():
        frozen(torch.zeros(2, 2, 4, 4), torch.zeros(2), toy_condition(rows=2))
        assert_same_bits(copied(network), base)
    assert_same_bits(copied(network), moved)


def test_an_origin_that_the_start_has_in_part_answers_when_the_weights_have_moved() -> None:
    network, other = Toy(), Toy()
    with torch.no_grad():
        other.mix.weight.add_(1.0)
    trainer = MaskedTrainer(
        network,
        ToyDenoiser,
        toy_batches(),
        some_mask(network),
        objective=SalUn(),
        config=TrainConfig(steps=2, batch_size=2, learning_rate=1e-2),
        needs_frozen=True,
        origin=copied(other),
    )
    x_t, t, condition = torch.ones(2, 2, 4, 4), torch.tensor([5, 900]), toy_condition(rows=2)
    wanted = ToyDenoiser(other)(x_t, t, condition)
    list(trainer.steps())
    assert torch.equal(trainer.frozen(x_t, t, condition), wanted)


def test_an_average_comes_out_also_where_no_method_asks_it() -> None:
    config = TrainConfig(steps=3, batch_size=2, learning_rate=1e-2)

    def trained(**more: bool) -> dict[str, Tensor]:
        network, batches = Toy(), toy_batches()
        trainer = MaskedTrainer(
            *(network, ToyDenoiser, batches, some_mask(network)),
            objective=SalUn(),
            config=config,
            average_decay=0.5,
            **more,
        )
        list(trainer.steps())
        assert trainer.values() is trainer.frozen.average
        return dict(trainer.trained())

    assert_same_bits(trained(), trained(needs_frozen=True))
