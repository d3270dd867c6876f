"""The frozen base's answers, by swapping selected values, are those of a deep copy: bit by bit."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models.tiny_flow import write_flux, write_sd3
from support.models.tiny_labels import SIDE, write_ddpm
from support.models.tiny_sdxl import write_sdxl
from support.tiny import assert_same_bits, random_pictures
from torch import Tensor, nn

from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import PromptLists
from erasure.diffusion.denoiser import Condition, Denoiser
from erasure.diffusion.edit import component_of, erase
from erasure.diffusion.mask_finding import find_mask
from erasure.methods import METHODS
from erasure.methods.protocol import Method
from erasure.training import trainer
from erasure.training.weights.frozen import FrozenDenoiser
from erasure.training.weights.trainables import Trainables

OWN: dict[str, dict[str, Any]] = {
    "salun": {"target": "frozen", "kept": "base"},
    "ant": {"keep_steps": 1},
    "adv-unlearn": {"retain_batch": 1, "attack_steps": 1, "attack_warmup": 2},
}
WRITERS: dict[str, Callable[[Path], Path]] = {
    "sdxl": write_sdxl,
    "sd35_medium": lambda folder: write_sd3(folder, "sd35_medium", t5=False),
    "flux_dev": write_flux,
    "ddpm": write_ddpm,
}
WORDS = ("a church", "a dog", "a castle")
"""To forget, to keep, and what stands in."""
CLASSES = ("sneaker", "shirt", "T-shirt")


def method_of(name: str) -> Method:
    """Two steps, so that the second asks a base that the first has moved away from."""
    kind, own = METHODS[name], OWN.get(name, {})
    usual = {"steps": 2, "batch_size": 1, "learning_rate": 1e-2, "rollout_steps": 2}
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: v for k, v in usual.items() if k in known}, **own)


ASKING = [name for name in METHODS if "frozen" in method_of(name).needs]
CASES = [
    *(("sd1", name) for name in ASKING),
    ("sdxl", "esd"),
    ("sd35_medium", "esd"),
    ("sd35_medium", "sdd"),
    ("flux_dev", "esd"),
    ("ddpm", "salun"),
]


def networks_of(denoise: Denoiser) -> list[nn.Module]:
    """The networks behind a denoiser, which is a dataclass around others."""
    seen: list[nn.Module] = []
    parts = [denoise]
    while parts:
        part: Any = parts.pop()
        if isinstance(part, nn.Module):
            seen.append(part)
        elif is_dataclass(part):
            parts += [getattr(part, field.name) for field in fields(part)]
    return seen


class DeepCopied(FrozenDenoiser):
    """Answers by a second network, which was copied before the first step."""

    answers = 0

    def __init__(
        self,
        denoise: Denoiser,
        selected: Trainables,
        *,
        needed: bool,
        decay: float = 1.0,
        origin: Mapping[nn.Parameter, Tensor] | None = None,
    ) -> None:
        super().__init__(denoise, selected, needed=needed, decay=decay, origin=origin)
        self.other = copy.deepcopy(denoise)
        own, theirs = networks_of(denoise), networks_of(self.other)
        assert own
        assert not {id(one) for one in own} & {id(one) for one in theirs}
        self.pairs = [
            (mine, name, parameter)
            for one, two in zip(own, theirs, strict=True)
            for (name, parameter), mine in zip(
                two.named_parameters(), one.parameters(), strict=True
            )
        ]

    def follow(self) -> None:
        """Let the copy follow where an average is kept."""
        super().follow()
        for _, name, parameter in self.pairs:
            if name in self.average:
                rows: Any = self._selected
                places = rows.rows[name].indices().long()
                parameter.data.view(-1)[places] = self.average[name]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the network in training have every value of the copy."""
        type(self).answers += 1
        before = [(mine, mine.data) for mine, _, _ in self.pairs]
        for mine, _, parameter in self.pairs:
            mine.data = parameter.data
        try:
            yield
        finally:
            for mine, data in before:
                mine.data = data

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition, /) -> Tensor:
        type(self).answers += 1
        return self.other(x_t, t, condition)


@pytest.fixture(scope="module")
def models(
    tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Checkpoint]:
    """Reads the tiny model of a family, once."""
    made = {"sd1": tiny_checkpoint}

    def read(family: str) -> Checkpoint:
        if family not in made:
            folder = tmp_path_factory.mktemp("families") / family
            made[family] = read_checkpoint(WRITERS[family](folder))
        return made[family]

    return read


@pytest.mark.default("sd1-esd", "sd1-adv-unlearn", "sd35_medium-sdd", "ddpm")
@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_swapped_base_answers_as_a_deep_copy_of_it(
    family: str,
    name: str,
    models: Callable[[str], Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint, method = models(family), method_of(name)
    forget, keep, instead = CLASSES if family == "ddpm" else WORDS
    side = SIDE if family == "ddpm" else 16
    data = encode_concept(
        checkpoint,
        random_pictures([forget] * 2, side=side),
        {forget: [instead]},
        random_pictures([keep] * 2, seed=1, side=side),
        prompts=PromptLists([forget], [keep]),
    )
    component = component_of(method, checkpoint)
    mask = find_mask(checkpoint, data, "random", density=0.3, component=component)
    swapped = erase(checkpoint, data, mask, method)
    monkeypatch.setattr(trainer, "FrozenDenoiser", DeepCopied)
    monkeypatch.setattr(DeepCopied, "answers", 0)
    copied = erase(checkpoint, data, mask, method)
    assert DeepCopied.answers > 0
    assert_same_bits(dict(swapped.network), dict(copied.network))
    base = checkpoint.components[component]
    assert any(not torch.equal(swapped.network[n], base[n]) for n in mask.entries)
