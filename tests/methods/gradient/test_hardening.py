"""Training against an adversary: what it looks for, what is trained, and what it leaves alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.models.tiny_sdxl import write_sdxl
from support.tiny import CPU, random_pictures
from torch import Tensor

from erasure.architectures.building import build_network
from erasure.attacks.search.noisy import Noisy, squared_error
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.batches import RolloutBatches
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.task import Task
from erasure.errors import ConfigError
from erasure.methods import make_method
from erasure.methods.gradient.hardening import (
    Adversary,
    HardenedPictures,
    HardenedRollouts,
    adversary_of,
    template_of,
)
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.train_config import TrainConfig
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights

FORGET = ["a church at night", "a church"]
INSTEAD = {"a church at night": ["a castle at night"], "a church": ["a castle"]}


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path
) -> Checkpoint:
    if request.param == "sd1":
        return read_checkpoint(tiny_folder)
    return read_checkpoint(write_sdxl(tmp_path_factory.mktemp("hardened") / "model"))


def encoded(checkpoint: Checkpoint) -> ConceptData:
    return encode_concept(
        checkpoint,
        random_pictures(FORGET * 2),
        INSTEAD,
        random_pictures(["a dog", "a castle"], seed=1),
        prompts=PromptLists(FORGET),
    )


@pytest.fixture(scope="module")
def task(checkpoint: Checkpoint) -> Task:
    data = encoded(checkpoint)
    mask = find_mask(checkpoint, data, "all", scope="xattn")
    return Task(checkpoint=checkpoint, data=data, mask=mask, device=CPU)


@pytest.fixture(scope="module")
def adversary(task: Task) -> Adversary:
    return adversary_of(task, task.data.forget.prompt, 3, 0)


def student_of(task: Task) -> Denoiser:
    return task.checkpoint.architecture.denoiser(build_network(task.checkpoint))


def frozen_of(task: Task) -> FrozenDenoiser:
    network = build_network(task.checkpoint)
    selected = SelectedWeights(network, task.mask.entries)
    return FrozenDenoiser(task.checkpoint.architecture.denoiser(network), selected, needed=True)


def shown(task: Task, position: int = 0, count: int = 4) -> Noisy:
    batch = task.pictures(TrainConfig()).at(position, count, student_of(task), frozen_of(task))
    return Noisy(batch.forget.x_t, batch.forget.t, batch.forget.target)


@pytest.mark.parametrize(
    ("prompt", "instead", "template", "name"),
    [
        ("a church at night", "a castle at night", "a {} at night", "church"),
        ("a church", "a castle", "a {}", "church"),
        ("a church", "sky", "{}", "a church"),
        ("in the style of van Gogh", "in the style of a child", "in the style of {}", "van Gogh"),
        ("a", "a a", "a {}", ""),
    ],
)
def test_the_open_place_is_where_the_replacement_differs(
    prompt: str, instead: str, template: str, name: str
) -> None:
    assert template_of(prompt, instead) == (template, name)


@pytest.mark.default("sd1")
def test_the_search_begins_at_the_concept_in_even_places_and_at_a_word_in_odd_ones(
    task: Task, adversary: Adversary
) -> None:
    which = torch.tensor([0, 1, 0, 1])
    starts = adversary._start(which, [6, 7, 8, 9])
    for start, (_, network) in zip(starts, adversary.slots.text.towers, strict=True):
        table = network.get_input_embeddings().weight.detach()
        assert torch.equal(start[::2, 0], table[adversary.own[which[::2]]])
        assert not torch.equal(start[1::2, 0], table[adversary.own[which[1::2]]])


@pytest.mark.default("sd1")
def test_each_of_several_concepts_is_attacked_in_its_own_prompts_and_from_its_own_word(
    task: Task,
) -> None:
    data = task.data
    owners = [FORGET.index(word) if word in FORGET else -1 for word in data.words]
    two = replace(task, data=replace(data, owners=torch.tensor(owners)))
    adversary = adversary_of(two, data.forget.prompt, 1, 0)
    samples = two.pictures(TrainConfig()).at(0, 16, student_of(two), frozen_of(two))
    at_night = data.prompts.tokens[data.words.index("a church at night")]
    which = torch.tensor([adversary._template(place) for place in range(16)])
    assert ["night" in adversary.slots.prompts[n] for n in which.tolist()] == [
        torch.equal(tokens, at_night) for tokens in samples.forget.condition.tokens
    ]
    begun = adversary._start(which, range(16))[0][:, 0]
    table = adversary.slots.text.towers[0][1].get_input_embeddings().weight.detach()
    own = (begun == table[adversary.own[which]]).all(1).tolist()
    assert own[::2] == own[1::2] == [True, False] * 4  # half of the samples of each


@pytest.mark.default("sd1")
def test_the_adversary_makes_the_network_answer_better(task: Task, adversary: Adversary) -> None:
    student, samples = student_of(task), shown(task)

    def losses(one: Adversary) -> Tensor:
        with torch.no_grad():
            return squared_error(student, samples, one.told(student, samples, 0))

    start, end = losses(replace(adversary, steps=0)), losses(replace(adversary, steps=8))
    assert float(end.mean()) < float(start.mean())


def test_its_rows_are_no_longer_than_a_word_and_no_weight_gets_a_gradient(
    task: Task, adversary: Adversary
) -> None:
    network = build_network(task.checkpoint).requires_grad_(True)
    rows: list[list[Tensor]] = []

    class Watched(type(adversary.slots)):  # type: ignore[misc]
        __slots__ = ()

        def told(self, vectors: list[Tensor], which: Tensor) -> Condition:
            rows.append([row.detach() for row in vectors])
            condition: Condition = super().told(vectors, which)
            return condition

    slots = adversary.slots
    watched = Watched(**{name: getattr(slots, name) for name in slots.__dataclass_fields__})
    student = task.checkpoint.architecture.denoiser(network)
    replace(adversary, slots=watched).told(student, shown(task), 0)
    assert len(rows) == 4
    for vectors in rows:
        for row, limit in zip(vectors, slots.limits, strict=True):
            assert float(row.norm(dim=-1).max()) <= limit * (1 + 1e-5)
    assert all(weight.grad is None for weight in network.parameters())


@pytest.mark.default("sd1")
def test_a_sample_s_text_is_the_same_however_the_stream_is_cut(
    task: Task, adversary: Adversary
) -> None:
    student = student_of(task)
    whole = adversary.told(student, shown(task), 0)
    parts = [adversary.told(student, shown(task, n, 1), n) for n in range(4)]
    for name, value in whole.tensors.items():
        both = torch.cat([part.tensors[name] for part in parts])
        # Other sums round otherwise, and each step follows the gradient's direction.
        torch.testing.assert_close(both, value, rtol=1e-2, atol=1e-3)


@pytest.mark.default("sd1")
def test_pictures_come_twice_and_the_retain_samples_once(task: Task, adversary: Adversary) -> None:
    plain = task.pictures(TrainConfig()).at(2, 3, student_of(task), frozen_of(task))
    hardened = HardenedPictures(task.pictures(TrainConfig()), adversary)
    batch = hardened.at(2, 3, student_of(task), frozen_of(task))
    assert hardened.shape == task.pictures(TrainConfig()).shape
    assert len(batch.forget) == len(batch.replacement) == 6
    first = torch.arange(3)
    for name in plain.forget.condition.tensors:
        conditions = batch.forget.condition.tensors[name]
        assert torch.equal(conditions[:3], plain.forget.condition.tensors[name])
    assert torch.equal(batch.forget.x_t[:3], plain.forget.x_t)
    assert torch.equal(batch.forget.x_t[3:], plain.forget.x_t)
    assert torch.equal(batch.replacement[first].tokens, plain.replacement.tokens)
    assert torch.equal(batch.replacement[first + 3].tokens, plain.replacement.tokens)
    assert not torch.allclose(batch.forget.condition.tokens[3:], batch.forget.condition.tokens[:3])
    assert batch.retain is not None
    assert plain.retain is not None
    assert torch.equal(batch.retain.x_t, plain.retain.x_t)


@pytest.mark.default("sd1")
def test_rollouts_come_twice_and_are_asked_by_what_was_found(
    task: Task, adversary: Adversary
) -> None:
    source = RolloutBatches(task.data, task.schedule, 0, CPU, steps=2)
    frozen = frozen_of(task)
    plain = source.at(0, 2, student_of(task), frozen)
    batch = HardenedRollouts(source, adversary).at(0, 2, student_of(task), frozen)
    assert batch.asked is not None
    assert len(batch) == len(batch.asked) == len(batch.empty) == 4
    assert torch.equal(batch.concept.tokens[:2], batch.concept.tokens[2:])
    assert torch.equal(batch.asked.tokens[:2], plain.concept.tokens)
    assert not torch.allclose(batch.asked.tokens[2:], plain.concept.tokens)


@pytest.fixture(scope="module")
def small(tiny_checkpoint: Checkpoint) -> Task:
    data = encoded(tiny_checkpoint)
    mask = find_mask(tiny_checkpoint, data, "all", scope="xattn")
    return Task(checkpoint=tiny_checkpoint, data=data, mask=mask, device=CPU)


@pytest.mark.default("salun")
@pytest.mark.parametrize("name", ["salun", "esd"])
def test_a_hardened_erasure_is_seeded_keeps_its_mask_and_is_another_one(
    name: str, small: Task
) -> None:
    own = {"rollout_steps": 2} if name == "esd" else {}
    results = {}
    for harden in (0, 1, 1):
        method = make_method(name, steps=2, batch_size=2, learning_rate=1e-3, harden=harden, **own)
        edit = erase(small.checkpoint, small.data, small.mask, method)
        assert edit.unselected_identical
        results.setdefault(harden, set()).add(weights_hash(edit.network))
    assert [len(hashes) for hashes in results.values()] == [1, 1]
    assert results[0] != results[1]


@pytest.mark.slow
def test_a_hardened_run_goes_on_where_it_was_cut(small: Task, tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    def stop(step: object) -> None:
        raise Cut

    method = make_method("salun", steps=3, batch_size=2, learning_rate=1e-3, harden=1)
    unbroken = erase(small.checkpoint, small.data, small.mask, method)
    state = tmp_path / "state.safetensors"
    with pytest.raises(Cut):
        erase(small.checkpoint, small.data, small.mask, method, state=state, on_step=stop)
    resumed = erase(small.checkpoint, small.data, small.mask, method, state=state)
    assert weights_hash(resumed.network) == weights_hash(unbroken.network)


@pytest.mark.parametrize("name", ["salun", "esd"])
def test_less_than_no_step_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="harden is -1; give 0 or more"):
        make_method(name, harden=-1)


def test_prompts_that_are_not_known_as_text_are_named(task: Task) -> None:
    nameless = replace(task, data=replace(task.data, words=()))
    with pytest.raises(ConfigError, match="harden needs the concept's prompts as text; set harden"):
        adversary_of(nameless, nameless.data.forget.prompt, 1, 0)
