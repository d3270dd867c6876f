"""ESD: its target, its limits, and what it moves."""

from dataclasses import replace

import pytest
import torch
from support.rolled import answers, batches_of, rollout
from support.tiny import Toy, ToyDenoiser, seeded
from torch import Tensor

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.edit import erase
from erasure.diffusion.mask_finding import find_mask
from erasure.errors import ConfigError
from erasure.methods import Esd
from erasure.methods.gradient.esd import shifted


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_the_loss_is_its_formula(strength: float) -> None:
    student, base, batch = Toy(1), Toy(), rollout()
    loss = Esd(strength=strength)(ToyDenoiser(student), ToyDenoiser(base), batch)
    empty, concept = answers(base, batch, batch.empty), answers(base, batch, batch.concept)
    wanted = empty - strength * (concept - empty)
    expected = (answers(student, batch, batch.concept) - wanted).square().mean()
    torch.testing.assert_close(loss.forget, expected)
    assert float(loss.retain) == 0


def test_the_student_is_asked_what_an_adversary_asks_and_the_base_the_concept() -> None:
    student, base, batch = Toy(1), Toy(), rollout()
    batch = replace(batch, asked=batch.replacement)
    loss = Esd()(ToyDenoiser(student), ToyDenoiser(base), batch)
    empty, concept = answers(base, batch, batch.empty), answers(base, batch, batch.concept)
    expected = (answers(student, batch, batch.replacement) - (2 * empty - concept)).square().mean()
    torch.testing.assert_close(loss.forget, expected)


def pooled(size: float) -> Denoiser:
    """e = size * mean of the pooled features, whatever the tokens of SD XL are."""

    def answer(x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        features = condition.named("text_embeds").mean(1)[:, None, None, None]
        return size * features.expand_as(x_t)

    return answer


def test_pooled_features_are_told_with_their_own_prompt() -> None:
    # Of the empty prompt they are zeros, so the target is -n 3 c and the answer c, c = 2, 4 and 6.
    batch = rollout()
    features = torch.tensor([[2.0], [4.0], [6.0]])
    batch = replace(
        batch,
        concept=batch.concept.having(text_embeds=features),
        empty=batch.empty.having(text_embeds=torch.zeros(3, 1)),
    )
    loss = Esd(strength=2.0)(pooled(1.0), pooled(3.0), batch)
    torch.testing.assert_close(loss.forget, torch.tensor((1 + 2 * 3) ** 2 * (4.0 + 16 + 36) / 3))


@pytest.mark.parametrize("rollout", ["student", "frozen"])
def test_whoever_is_named_draws(rollout: str) -> None:
    method = Esd(rollout=rollout, rollout_steps=5)  # type: ignore[arg-type]
    assert batches_of(method).by == rollout


def test_without_strength_the_target_is_the_empty_prompt_s_answer() -> None:
    empty, concept = torch.randn(2, 3, 2, 4, 4, generator=seeded(0))
    assert torch.equal(shifted(empty, concept, 0.0), empty)


@pytest.mark.parametrize("guidance", [1.0, 2.0, 3.5])
def test_the_target_of_the_later_release_is_that_of_a_strength_of_one_less(guidance: float) -> None:
    empty, concept = torch.randn(2, 3, 2, 4, 4, generator=seeded(0))
    published = concept - guidance * (concept - empty)
    torch.testing.assert_close(shifted(empty, concept, guidance - 1), published)


def test_a_strength_of_minus_one_asks_for_what_is_already_there() -> None:
    network, batch = Toy(), rollout()
    loss = Esd(strength=-1.0)(ToyDenoiser(network), ToyDenoiser(network), batch)
    assert float(loss.forget.detach()) < 1e-12


def test_no_gradient_reaches_the_base() -> None:
    student, base = Toy(1), Toy()
    Esd()(ToyDenoiser(student), ToyDenoiser(base), rollout()).total.backward()
    assert all(weight.grad is None for weight in base.parameters())
    assert all(weight.grad is not None for weight in student.parameters())


@pytest.mark.default("frozen")
@pytest.mark.parametrize("by", ["student", "frozen"])
def test_it_moves_the_scope_alone_and_goes_on_where_it_was_cut(
    tiny_checkpoint: Checkpoint, tmp_path: object, by: str
) -> None:
    data = encode_concept(
        tiny_checkpoint, None, {"a church": ["a castle"]}, prompts=PromptLists(["a church"])
    )
    mask = find_mask(tiny_checkpoint, data, "all", scope="xattn")
    method = Esd(steps=3, batch_size=2, learning_rate=1e-3, rollout_steps=4, rollout=by)
    unbroken = erase(tiny_checkpoint, data, mask, method)
    moved = {
        n for n, w in tiny_checkpoint.network.items() if not torch.equal(w, unbroken.network[n])
    }
    assert moved
    assert moved <= set(mask.entries)

    class Stop(Exception):
        pass

    def stop(step: object) -> None:
        if getattr(step, "index", 0) == 2:
            raise Stop

    state = tmp_path / "state"  # type: ignore[operator]
    with pytest.raises(Stop):
        erase(tiny_checkpoint, data, mask, method, state=state, on_step=stop)
    resumed = erase(tiny_checkpoint, data, mask, method, state=state)
    assert resumed.history == unbroken.history
    assert all(torch.equal(w, unbroken.network[n]) for n, w in resumed.network.items())


def test_the_loss_falls(tiny_checkpoint: Checkpoint) -> None:
    data = encode_concept(
        tiny_checkpoint, None, {"a church": ["a castle"]}, prompts=PromptLists(["a church"])
    )
    mask = find_mask(tiny_checkpoint, data, "all", scope="full")
    method = Esd(steps=12, batch_size=2, learning_rate=3e-3, rollout_steps=2, strength=3.0)
    losses = [step.loss for step in erase(tiny_checkpoint, data, mask, method).history]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rollout": "teacher"}, "rollout is 'teacher'"),
        ({"rollout_steps": 0}, "rollout_steps is 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_settings_of_esd_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Esd(**settings)  # type: ignore[arg-type]
