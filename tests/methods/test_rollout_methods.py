"""What all methods that draw their own latents promise: the stream is one, however it is cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.threads import as_team

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.edit import component_of, erase
from erasure.diffusion.mask_finding import find_mask
from erasure.editing.proving import Edit
from erasure.masks.masks import SaliencyMask
from erasure.methods import METHODS
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.team import ALONE, Team

ROLLED = [name for name, kind in METHODS.items() if issubclass(kind, ByRollout)]


@pytest.fixture(scope="module")
def texts(tiny_checkpoint: Checkpoint) -> ConceptData:
    instead = {"a church": ["a castle"], "an image of a church": ["an image of a castle"]}
    lists = PromptLists(list(instead), ["a dog", "a cat"])
    return encode_concept(tiny_checkpoint, None, instead, prompts=lists)


@pytest.fixture(scope="module")
def masks(tiny_checkpoint: Checkpoint, texts: ConceptData) -> dict[str, SaliencyMask]:
    """Component -> a mask of it."""
    return {
        component: find_mask(tiny_checkpoint, texts, "random", density=0.3, component=component)
        for component in ("unet", "text_encoder")
    }


OWN: dict[str, dict[str, Any]] = {
    "ant": {"keep_steps": 1},
    "adv-unlearn": {"retain_batch": 1, "attack_steps": 1, "attack_warmup": 1},
}


def method_of(name: str) -> ByRollout:
    kind: type[ByRollout] = METHODS[name]  # type: ignore[assignment]
    own = OWN.get(name, {})
    return kind(steps=2, batch_size=3, learning_rate=1e-3, rollout_steps=3, optimizer="sgd", **own)


def moved(checkpoint: Checkpoint, edit: Edit) -> set[str]:
    base = checkpoint.components[edit.component]
    return {n for n, w in base.items() if not torch.equal(w, edit.network[n])}


@pytest.mark.default("leco")
@pytest.mark.parametrize("name", ROLLED)
def test_the_result_is_the_same_in_passes_of_one_and_on_a_team_of_two(
    name: str, tiny_checkpoint: Checkpoint, texts: ConceptData, masks: dict[str, SaliencyMask]
) -> None:
    method = method_of(name)
    mask = masks[component_of(method, tiny_checkpoint)]

    def edit(team: Team = ALONE, micro: int | None = None) -> Edit:
        return erase(tiny_checkpoint, texts, mask, replace(method, micro_batch=micro), team=team)

    whole = edit()
    assert moved(tiny_checkpoint, whole)
    assert moved(tiny_checkpoint, whole) <= set(mask.entries)
    first, second = as_team(edit)
    for other in (edit(micro=1), first, second):
        for key, weight in whole.network.items():
            step = (weight - tiny_checkpoint.components[whole.component][key]).abs().max()
            # Sums in another order differ by rounding, which each step carries on.
            torch.testing.assert_close(
                other.network[key], weight, rtol=0, atol=max(1e-2 * float(step), 1e-6)
            )
        for one, same in zip(whole.history, other.history, strict=True):
            assert one.loss == pytest.approx(same.loss, rel=1e-3)


@pytest.mark.default("leco")
@pytest.mark.parametrize("name", ROLLED)
def test_a_run_that_was_cut_ends_with_the_bits_of_an_unbroken_one(
    name: str,
    tiny_checkpoint: Checkpoint,
    texts: ConceptData,
    masks: dict[str, SaliencyMask],
    tmp_path: Path,
) -> None:
    method = replace(method_of(name), optimizer="adam", weight_decay=0.0)
    mask = masks[component_of(method, tiny_checkpoint)]
    unbroken = erase(tiny_checkpoint, texts, mask, method)

    class Stop(Exception):
        pass

    def stop(step: object) -> None:
        if getattr(step, "index", 0) == 1:
            raise Stop

    state = tmp_path / "state"
    with pytest.raises(Stop):
        erase(tiny_checkpoint, texts, mask, method, state=state, on_step=stop)
    resumed = erase(tiny_checkpoint, texts, mask, method, state=state)
    assert resumed.history == unbroken.history
    assert all(torch.equal(w, unbroken.network[n]) for n, w in resumed.network.items())
