"""What all methods that draw their own latents promise: the stream is one, however it is cut."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.threads import as_team

from erasure.checkpoints import Checkpoint
from erasure.diffusion.edit import Edit, erase, find_mask
from erasure.diffusion.encoding import PromptLists, encode_concept
from erasure.diffusion.latents import ConceptData
from erasure.masks.masks import SaliencyMask
from erasure.methods import METHODS
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.team import ALONE, Team

ROLLED = [name for name, kind in METHODS.items() if issubclass(kind, ByRollout)]


@pytest.fixture(scope="module")
def texts(tiny_checkpoint: Checkpoint) -> ConceptData:
    instead = {"a church": ["a castle"], "an image of a church": ["an image of a castle"]}
    return encode_concept(tiny_checkpoint, None, instead, prompts=PromptLists(list(instead)))


@pytest.fixture(scope="module")
def mask(tiny_checkpoint: Checkpoint, texts: ConceptData) -> SaliencyMask:
    return find_mask(tiny_checkpoint, texts, "random", density=0.3)


def method_of(name: str) -> ByRollout:
    kind: type[ByRollout] = METHODS[name]  # type: ignore[assignment]
    own = {"keep_steps": 1} if name == "ant" else {}
    return kind(steps=3, batch_size=4, learning_rate=1e-3, rollout_steps=4, optimizer="sgd", **own)


def moved(checkpoint: Checkpoint, edit: Edit) -> set[str]:
    return {n for n, w in checkpoint.network.items() if not torch.equal(w, edit.network[n])}


@pytest.mark.parametrize("name", ROLLED)
def test_the_result_is_the_same_in_passes_of_one_and_on_a_team_of_two(
    name: str, tiny_checkpoint: Checkpoint, texts: ConceptData, mask: SaliencyMask
) -> None:
    method = method_of(name)

    def edit(team: Team = ALONE, micro: int | None = None) -> Edit:
        return erase(tiny_checkpoint, texts, mask, replace(method, micro_batch=micro), team=team)

    whole = edit()
    assert moved(tiny_checkpoint, whole)
    assert moved(tiny_checkpoint, whole) <= set(mask.entries)
    first, second = as_team(edit)
    for other in (edit(micro=1), first, second):
        for key, weight in whole.network.items():
            step = (weight - tiny_checkpoint.network[key]).abs().max()
            # Sums in another order differ by rounding, which each step carries on.
            torch.testing.assert_close(
                other.network[key], weight, rtol=0, atol=max(1e-2 * float(step), 1e-6)
            )
        for one, same in zip(whole.history, other.history, strict=True):
            assert one.loss == pytest.approx(same.loss, rel=1e-3)


@pytest.mark.parametrize("name", ROLLED)
def test_a_run_that_was_cut_ends_with_the_bits_of_an_unbroken_one(
    name: str, tiny_checkpoint: Checkpoint, texts: ConceptData, mask: SaliencyMask, tmp_path: Path
) -> None:
    method = replace(method_of(name), optimizer="adam", weight_decay=0.0)
    unbroken = erase(tiny_checkpoint, texts, mask, method)

    class Stop(Exception):
        pass

    def stop(step: object) -> None:
        if getattr(step, "index", 0) == 2:
            raise Stop

    state = tmp_path / "state"
    with pytest.raises(Stop):
        erase(tiny_checkpoint, texts, mask, method, state=state, on_step=stop)
    resumed = erase(tiny_checkpoint, texts, mask, method, state=state)
    assert resumed.history == unbroken.history
    assert all(torch.equal(w, unbroken.network[n]) for n, w in resumed.network.items())
