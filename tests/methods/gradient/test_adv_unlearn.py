"""AdvUnlearn's parity facts, and that a text encoder alone moves, exactly and resumably."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.console import erasure
from support.models.tiny_sdxl import write_sdxl
from support.tiny import CPU, assert_same_bits, outside, random_pictures, write_tiny_pipeline

from erasure.architectures.building import build_text_encoder
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.reading.reading import read_checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Denoiser
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.diffusion.scores.saliency import SaliencyConfig
from erasure.diffusion.task import Task
from erasure.editing.run_key import run_key
from erasure.errors import ConfigError, MaskError
from erasure.masks.masks import SaliencyMask
from erasure.methods import AdvUnlearn, Esd, make_method
from erasure.methods.gradient.adv_unlearn import AttackedRollouts, prefix_attack
from erasure.moving.component import Moving, data_for, moving_of
from erasure.storage.tensors.hashing import weights_hash
from erasure.training.step import Step
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.selected import SelectedWeights

FORGET = ["a church at night", "a church"]
INSTEAD = {"a church at night": ["a castle at night"], "a church": ["a castle"]}
RETAIN = ["a dog", "a cat"]
QUICK = AdvUnlearn(
    steps=2,
    batch_size=2,
    learning_rate=1e-2,
    rollout_steps=2,
    retain_batch=2,
    attack_steps=2,
    attack_warmup=0,
    fresh=False,
)
KINDS = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path
) -> Checkpoint:
    folder = tmp_path_factory.mktemp("unlearned") / "model"
    if request.param == "sd1":
        return read_checkpoint(tiny_folder)
    if request.param == "sd2":
        return read_checkpoint(write_tiny_pipeline(folder, "v_prediction"))
    return read_checkpoint(write_sdxl(folder))


def encoded(checkpoint: Checkpoint) -> ConceptData:
    lists = PromptLists(FORGET, RETAIN)
    pictures = random_pictures(FORGET)
    return encode_concept(checkpoint, pictures, INSTEAD, prompts=lists)


def task_of(checkpoint: Checkpoint, component: str = "text_encoder") -> Task:
    data = data_for(checkpoint, component, encoded(checkpoint))
    mask = find_mask(checkpoint, data, "all", scope="layers", component=component)
    return Task(checkpoint=checkpoint, data=data, mask=mask, device=CPU)


@pytest.fixture(scope="module")
def task(checkpoint: Checkpoint) -> Task:
    return task_of(checkpoint)


class Model:
    """What a training of a task works with, before its first step."""

    def __init__(self, task: Task) -> None:
        self.moving: Moving = moving_of(task.checkpoint, task.component, CPU)
        self.student: Denoiser = self.moving.denoiser(self.moving.network)
        self.selected = SelectedWeights(self.moving.network, task.mask.entries)
        self.frozen = FrozenDenoiser(self.student, self.selected, needed=True)


def source(task: Task, method: AdvUnlearn) -> AttackedRollouts:
    forget = method.rollouts(task, "frozen")
    attack = prefix_attack(task, method, forget) if method.attack_steps else None
    return AttackedRollouts(forget, method._retained(task, forget), attack, method)


@pytest.mark.default("sd1")
def test_prompts_that_are_read_anew_are_told_as_those_that_were_encoded(task: Task) -> None:
    plain = encoded(task.checkpoint).prompts  # row 0 is the empty one, of which SD XL is told zeros
    model = Model(task)
    read = model.student.read(task.data.prompts)  # type: ignore[attr-defined]
    assert read.tensors.keys() == plain.tensors.keys()
    for name, value in plain.tensors.items():
        torch.testing.assert_close(read.tensors[name].detach(), value, rtol=1e-5, atol=1e-6)


def test_without_an_attack_it_is_esd_on_the_text_encoder(task: Task) -> None:
    method = replace(QUICK, attack_steps=0, strength=1.5)
    model = Model(task)
    batch = source(task, method).at(0, 2, model.student, model.frozen)
    assert batch.forget.asked is None
    esd = Esd(strength=1.5)(model.student, model.frozen, batch.forget)
    mine = method(model.student, model.frozen, batch)
    torch.testing.assert_close(mine.forget, esd.forget)
    assert mine.forget.item() > 0


@pytest.mark.default("sd1")
def test_the_retain_term_is_zero_at_the_base_and_not_after_a_step(task: Task) -> None:
    model = Model(task)
    batch = source(task, QUICK).at(0, 2, model.student, model.frozen)
    loss = QUICK(model.student, model.frozen, batch)
    assert loss.forget.item() > 0
    assert loss.retain.item() <= 1e-6 * loss.forget.item()  # rounding, where batches differ
    with torch.no_grad():
        for vector in model.selected.vectors.values():
            vector.add_(0.05)
    model.selected.write_back()
    moved = QUICK(model.student, model.frozen, batch)
    assert moved.retain.item() > 0
    double = replace(QUICK, retain_weight=2 * QUICK.retain_weight)
    again = double(model.student, model.frozen, batch)
    torch.testing.assert_close(again.retain, 2 * moved.retain)


@pytest.mark.default("sd1")
def test_equal_weights_of_another_text_encoder_are_another_run(task: Task) -> None:
    def key(checkpoint: Checkpoint) -> str:
        return run_key(checkpoint, task.data, task.mask, QUICK)

    checkpoint = task.checkpoint
    config = {**checkpoint.description.components["text_encoder"], "layer_norm_eps": 1e-3}
    other = replace(checkpoint, description=checkpoint.description.having(text_encoder=config))
    assert key(checkpoint) == key(replace(checkpoint)) != key(other)


@pytest.mark.default("sd1")
def test_the_gradient_reaches_the_text_encoder_and_no_other_weight(task: Task) -> None:
    model = Model(task)
    batch = source(task, QUICK).at(0, 2, model.student, model.frozen)
    torch.autograd.backward(QUICK(model.student, model.frozen, batch).total)
    slopes = [vector.grad for vector in model.selected.vectors.values()]
    assert any(slope is not None and bool(slope.any()) for slope in slopes)
    assert all(weight.grad is None for weight in model.moving.main.parameters())


@pytest.mark.default("sd1")
def test_the_attack_brings_the_answer_nearer_to_the_base_s_and_leaves_the_weights(
    task: Task,
) -> None:
    method = replace(QUICK, attack_steps=6, attack_rate=0.1, attack_words=2)
    model = Model(task)
    with torch.no_grad():  # else the prompt itself answers as the base does
        for n, vector in enumerate(model.selected.vectors.values()):
            vector.add_(0.3 * torch.randn(vector.shape, generator=torch.Generator().manual_seed(n)))
    model.selected.write_back()
    shown = method.rollouts(task, "frozen").at(0, 2, model.student, model.frozen)
    wanted = model.frozen(shown.x_t, shown.t, shown.concept)

    def distance(steps: int) -> float:
        attack = prefix_attack(
            task, replace(method, attack_steps=steps), method.rollouts(task, "frozen")
        )
        condition = attack.told(model.student, model.frozen, shown, 0)
        with torch.no_grad():
            answer = model.student(shown.x_t, shown.t, condition)
        return float((answer - wanted).square().mean())

    assert distance(6) < distance(0)
    assert all(vector.grad is None for vector in model.selected.vectors.values())


@pytest.mark.default("sd1")
def test_the_vectors_stand_right_before_the_words_of_each_prompt(task: Task) -> None:
    method = replace(QUICK, attack_words=2)
    attack = prefix_attack(task, method, method.rollouts(task, "frozen"))
    assert attack.places.tolist() == [[1, 2]] * len(FORGET)
    plain = build_text_encoder(task.checkpoint).tokenize(FORGET)
    for words, own in zip(attack.tokens, plain, strict=True):  # pieces of a word stay together
        assert torch.equal(words.ids[:, 3:], own.ids[:, 1:-2])


@pytest.mark.default("sd1")
def test_the_base_draws_what_is_forgotten_what_is_kept_and_what_the_attack_sees(
    task: Task,
) -> None:
    asked: list[AttackedRollouts] = []
    names = ("checkpoint", "data", "schedule", "device", "tally")
    known = {name: getattr(task, name) for name in names}

    def train(settings: object, batches: AttackedRollouts, *a: object, **k: object) -> list[Step]:
        asked.append(batches)
        return []

    list(QUICK.run(SimpleNamespace(**known, train=train)))  # type: ignore[arg-type]
    (made,) = asked
    assert made.retain is not None
    assert made.attack is not None
    assert {one.by for one in (made.forget, made.retain, made.attack.rollouts)} == {"frozen"}


@pytest.mark.default("sd1")
def test_latents_of_the_attack_are_its_own_and_of_the_same_prompts(task: Task) -> None:
    model, seen = Model(task), []
    method = replace(QUICK, fresh=True)
    attack = prefix_attack(task, method, method.rollouts(task, "frozen"))
    shown = attack.rollouts.at(0, 2, model.student, model.frozen)

    def student(x_t: torch.Tensor, t: torch.Tensor, condition: object) -> torch.Tensor:
        seen.append(x_t)
        return model.student(x_t, t, condition)  # type: ignore[arg-type]

    attack.told(student, model.frozen, shown, 0)  # type: ignore[arg-type]
    assert len(seen) == 2
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], shown.x_t)


@pytest.mark.default("sd1")
def test_the_first_steps_are_not_attacked(task: Task) -> None:
    model = Model(task)
    batches = source(task, replace(QUICK, attack_warmup=1))
    assert batches.at(0, 2, model.student, model.frozen).forget.asked is None
    assert batches.at(2, 2, model.student, model.frozen).forget.asked is not None


@pytest.fixture(scope="module")
def small(tiny_checkpoint: Checkpoint) -> tuple[ConceptData, SaliencyMask]:
    data = encoded(tiny_checkpoint)
    config = SaliencyConfig(loss="plain")
    mask = find_mask(tiny_checkpoint, data, scope="layers", component="text_encoder", config=config)
    return data, mask


def test_only_selected_weights_of_the_text_encoder_move_and_the_run_is_seeded(
    small: tuple[ConceptData, SaliencyMask], tiny_checkpoint: Checkpoint
) -> None:
    data, mask = small
    before = tiny_checkpoint.hash_of("text_encoder")
    edit = erase(tiny_checkpoint, data, mask, QUICK, concept="church")
    assert tiny_checkpoint.hash_of("text_encoder") == before  # the base is not what moved
    assert edit.component == "text_encoder"
    base = tiny_checkpoint.components["text_encoder"]
    assert edit.network.keys() == base.keys()
    chosen = outside(mask.entries)
    assert_same_bits({n: edit.network[n] for n in chosen}, {n: base[n] for n in chosen}, chosen)
    rest = {n: w for n, w in base.items() if n not in chosen}
    assert_same_bits({n: edit.network[n] for n in rest}, rest)
    made = edit.provenance.last
    assert made.component == "text_encoder"
    assert made.base_hash == before == mask.info.base
    assert made.result_hash == weights_hash(edit.network) != before
    assert 0 < made.moved <= made.selected < made.total
    again = erase(tiny_checkpoint, data, mask, replace(QUICK, micro_batch=1), concept="church")
    for name, value in edit.network.items():
        torch.testing.assert_close(again.network[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_cut(
    small: tuple[ConceptData, SaliencyMask], tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    class Cut(Exception):
        pass

    def stop(step: object) -> None:
        raise Cut

    state = tmp_path / "state.safetensors"
    unbroken = erase(tiny_checkpoint, *small, QUICK)
    with pytest.raises(Cut):
        erase(tiny_checkpoint, *small, QUICK, state=state, on_step=stop)
    resumed = erase(tiny_checkpoint, *small, QUICK, state=state)
    assert weights_hash(resumed.network) == weights_hash(unbroken.network)


def test_a_mask_of_its_own_loss_is_of_the_text_encoder(
    small: tuple[ConceptData, SaliencyMask], tiny_checkpoint: Checkpoint
) -> None:
    mask = find_mask(
        tiny_checkpoint,
        small[0],
        density=0.25,
        scope="attn",
        component="text_encoder",
        config=SaliencyConfig(loss="own"),
        method=QUICK,
    )
    assert mask.info.component == "text_encoder"
    assert mask.info.loss == "own loss of adv-unlearn"
    assert mask.info.base == tiny_checkpoint.hash_of("text_encoder")
    assert all(".self_attn." in name for name in mask.entries)
    assert mask.selected == max(1, int(mask.total * 0.25))


def test_each_text_encoder_of_sd_xl_can_be_trained_and_the_first_says_that_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = read_checkpoint(write_sdxl(tmp_path / "xl"))
    data = encoded(checkpoint)
    method = replace(QUICK, steps=1, batch_size=1, retain_batch=1, attack_steps=1)
    for component in ("text_encoder", "text_encoder_2"):
        mask = find_mask(checkpoint, data, "all", scope="layers", component=component)
        edit = erase(checkpoint, data, mask, replace(method, component=component))
        assert edit.component == component
        assert edit.provenance.last.moved > 0
        after = checkpoint.having(component, edit.network)
        checkpoint = replace(after, provenance=edit.provenance)
    (warned,) = [record.getMessage() for record in caplog.records]  # the second leaves none
    assert "text_encoder_2 too, which this run leaves as it is" in warned
    assert "again with the setting component=text_encoder_2" in warned


@pytest.mark.slow
def test_two_runs_train_both_text_encoders_and_the_first_says_that_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, runs = write_sdxl(tmp_path / "xl"), [tmp_path / "one", tmp_path / "two"]
    few = ("attack_warmup=0", "attack_steps=1", "rollout_steps=2", "retain_batch=1")
    more = [part for s in (*few, "grid.drawing.steps=1") for part in ("--set", s)]
    line = ("--concept", "church", "--method", "adv-unlearn", "--steps", 1, "--seeds", 0, *more)
    said = erasure("erase", base, *line, "--batch-size", 1, "--out", runs[0])
    assert said.code == 0, said.err
    (warned,) = [record.getMessage() for record in caplog.records]
    assert "text_encoder_2 too, which this run leaves as it is" in warned
    assert "again with the setting component=text_encoder_2" in warned
    caplog.clear()
    second = ("--batch-size", 1, "--set", "component=text_encoder_2", "--out", runs[1])
    assert erasure("erase", runs[0], *line, *second).code == 0
    assert caplog.records == []  # none is left
    before, after = read_checkpoint(base), read_checkpoint(runs[1] / "model")
    moved = [name for name, value in before.hashes().items() if after.hashes()[name] != value]
    assert moved == ["text_encoder", "text_encoder_2"]
    assert [edit.component for edit in after.edits] == moved
    assert erasure("verify", runs[1]).code == 0
    patch = tmp_path / "patch.safetensors"
    export = ("export", runs[1], "--to", "patch", "--base", base, "--out", patch)
    assert erasure(*export).code == 0
    back = tmp_path / "back"
    assert erasure("patch", "apply", base, patch, "--out", back).code == 0
    assert read_checkpoint(back).hashes() == after.hashes()


def test_masks_of_another_component_are_refused_both_ways(
    small: tuple[ConceptData, SaliencyMask], tiny_checkpoint: Checkpoint
) -> None:
    data, mask = small
    with pytest.raises(MaskError, match=r"of the component 'text_encoder', but one of unet is"):
        erase(tiny_checkpoint, data, mask, Esd(steps=1))
    other = find_mask(tiny_checkpoint, data, "all", scope="xattn")
    with pytest.raises(MaskError, match=r"of the component 'unet', but one of text_encoder is"):
        erase(tiny_checkpoint, data, other, QUICK)


def test_what_cannot_be_is_refused_in_one_sentence(
    small: tuple[ConceptData, SaliencyMask], tiny_checkpoint: Checkpoint
) -> None:
    data, mask = small
    with pytest.raises(
        ConfigError,
        match="has no component 'text_encoder_2' that can be edited; did you mean 'text_encoder'",
    ):
        erase(tiny_checkpoint, data, mask, replace(QUICK, component="text_encoder_2"))
    with pytest.raises(
        ConfigError, match="has no component 'vae' that can be edited; known are unet, text_encoder"
    ):
        find_mask(tiny_checkpoint, data, "all", component="vae")
    with pytest.raises(ConfigError, match="scope 'xattn' is unknown"):
        find_mask(tiny_checkpoint, data, "all", scope="xattn", component="text_encoder")
    alone = encode_concept(tiny_checkpoint, None, INSTEAD, prompts=PromptLists(FORGET))
    with pytest.raises(
        ConfigError, match="there is none; give prompts with some to retain, or set retain_w"
    ):
        erase(tiny_checkpoint, alone, mask, QUICK)
    with pytest.raises(ConfigError, match="not trained in; give fp32 or bf16"):
        erase(tiny_checkpoint, data, mask, replace(QUICK, precision="bf16-weights"))
    with pytest.raises(ConfigError, match="needs the concept's prompts as text"):
        erase(tiny_checkpoint, replace(data, words=()), mask, QUICK)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"retain_weight": -1.0}, "retain_weight is -1.0; give 0 or more"),
        ({"retain_batch": 0}, "retain_batch is 0; give 1 or more"),
        ({"attack_words": 0}, "attack_words is 0; give 1 or more"),
        ({"attack_rate": 0.0}, "attack_rate is 0.0; give more than 0"),
        ({"component": "vae"}, "component is 'vae'; give 'text_encoder' or"),
    ],
)
def test_a_setting_outside_its_range_is_named(setting: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_method("adv-unlearn", **setting)
