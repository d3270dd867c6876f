"""Every method that trains moves factors, and every closed form has factors of its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.threads import as_team

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import Anchors, ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import component_of, erase
from erasure.diffusion.mask_finding import find_mask
from erasure.editing.proving import Edit
from erasure.errors import MaskError
from erasure.lora.module_mask import module_mask
from erasure.masks.masks import SaliencyMask
from erasure.methods import METHODS, Method
from erasure.team import ALONE, Team
from erasure.training.train_config import TrainConfig
from erasure.training.weights.low_rank import LowRank

HOW = LowRank(rank=2)
TRAINED = [name for name, kind in METHODS.items() if issubclass(kind, TrainConfig)]
SMALL = {"steps": 2, "batch_size": 2, "learning_rate": 1e-2}
OWN: dict[str, dict[str, Any]] = {
    "ant": {"keep_steps": 1},
    "erasediff": {"rule": "computed"},
    "adv-unlearn": {"retain_weight": 0, "attack_steps": 1},
}


@pytest.fixture(scope="module")
def texts(tiny_checkpoint: Checkpoint) -> ConceptData:
    instead = {"a church": ["a castle"], "an image of a church": ["an image of a castle"]}
    return encode_concept(tiny_checkpoint, None, instead, prompts=PromptLists(list(instead)))


@pytest.fixture(scope="module")
def mask(tiny_checkpoint: Checkpoint, texts: ConceptData) -> SaliencyMask:
    every = find_mask(tiny_checkpoint, texts, "all", scope="attn")
    return module_mask(every, tiny_checkpoint.network, HOW).mask


def method_of(name: str) -> Method:
    more = {"rollout_steps": 2} if hasattr(METHODS[name], "rollout_steps") else {}
    return METHODS[name](**SMALL, **more, **OWN.get(name, {}))


def data_of(method: Method, texts: ConceptData, tiny_data: ConceptData) -> ConceptData:
    if "anchors" in method.needs:
        drawn = tiny_data.forget
        return replace(tiny_data, anchors=Anchors(drawn, torch.zeros_like(drawn.prompt)))
    return tiny_data if "pictures" in method.needs else texts


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_moves_factors_and_no_other_layer(
    name: str,
    tiny_checkpoint: Checkpoint,
    texts: ConceptData,
    tiny_data: ConceptData,
    mask: SaliencyMask,
) -> None:
    method = method_of(name)
    data = data_of(method, texts, tiny_data)
    component = component_of(method, tiny_checkpoint)
    base = tiny_checkpoint.components[component]
    if component != "unet":
        every = find_mask(tiny_checkpoint, texts, "all", scope="layers", component=component)
        mask = module_mask(every, base, HOW).mask
    edit = erase(tiny_checkpoint, data, mask, method, low_rank=HOW)
    chosen = {key for key, entry in mask.entries.items() if entry.any()}
    assert edit.factors.keys() == chosen
    moved = {key for key, weight in base.items() if not torch.equal(weight, edit.network[key])}
    assert moved
    assert moved <= chosen
    assert edit.unselected_identical
    for key, one in edit.factors.items():
        assert one.up.shape[1] <= 2
        merged = (base[key].double() + one.change().view(base[key].shape)).float()
        # Rounded once here, and there too.
        torch.testing.assert_close(edit.network[key], merged, rtol=0, atol=0)


@pytest.mark.slow
def test_factors_on_a_team_of_two_take_the_steps_of_one(
    tiny_checkpoint: Checkpoint, texts: ConceptData, mask: SaliencyMask
) -> None:
    method = replace(method_of("esd"), optimizer="sgd")  # type: ignore[type-var]

    def edit(team: Team = ALONE) -> Edit:
        return erase(tiny_checkpoint, texts, mask, method, low_rank=HOW, team=team)

    one = edit()
    for other in as_team(edit):
        for key, factors in one.factors.items():
            change = factors.change()
            # Sums in another order differ by rounding, which each step carries on.
            atol = max(1e-2 * float(change.abs().max()), 1e-7)
            torch.testing.assert_close(other.factors[key].change(), change, rtol=0, atol=atol)


def test_a_mask_of_single_weights_is_refused_where_layers_move(
    tiny_checkpoint: Checkpoint, texts: ConceptData
) -> None:
    random = find_mask(tiny_checkpoint, texts, "random", density=0.3, scope="xattn-kv")
    with pytest.raises(MaskError, match="factors move a layer as a whole"):
        erase(tiny_checkpoint, texts, random, method_of("esd"), low_rank=HOW)


def test_factors_that_a_mask_cuts_leave_the_sign_of_the_zeros_outside_of_it(
    tiny_checkpoint: Checkpoint, texts: ConceptData
) -> None:
    names = [name for name in tiny_checkpoint.network if name.endswith("attn2.to_v.weight")]
    zeros = {name: torch.full_like(tiny_checkpoint.network[name], -0.0) for name in names[:1]}
    model = tiny_checkpoint.having("unet", {**tiny_checkpoint.network, **zeros})
    some = find_mask(model, texts, "random", density=0.5, scope="xattn-kv")
    method = method_of("esd")
    edit = erase(model, texts, some, method, low_rank=LowRank(rank=2, masked="dense"))
    left = edit.network[names[0]][~some.entries[names[0]]]
    assert left.signbit().all()
    assert not left.any()
