"""Guards: the formula of safe latent diffusion, negative prompts, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.deprecated.stable_diffusion_safe.pipeline_stable_diffusion_safe import (
    StableDiffusionPipelineSafe,
)
from support.models.tiny_sdxl import write_sdxl
from support.tiny import CPU, seeded

from erasure.architectures.building import build_text_encoder
from erasure.architectures.text.text_encoders import with_size
from erasure.checkpoints import Checkpoint, read_checkpoint
from erasure.diffusion.denoiser import Condition, join
from erasure.errors import ConfigError
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.conditions import Conditions
from pipelines.drawing.generation import Painter
from pipelines.drawing.guards import (
    GUARDS,
    PRESETS,
    UNSAFE,
    Guard,
    GuardName,
    SafeGuidance,
    Safety,
    guard_of,
)
from pipelines.drawing.requests import Request

Array = np.ndarray[tuple[int, ...], np.dtype[np.int16]]


def drawn(checkpoint: Checkpoint, guard: Guard | None, steps: int = 4) -> Array:
    config = DrawingConfig(steps=steps, guidance=7.5, batch_size=2)
    painter = Painter(checkpoint, config, CPU, guard=guard)
    images = painter.draw([Request("a church", 3), Request("a dog", 4)])
    return np.stack([np.asarray(image, dtype=np.int16) for image in images])


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_the_formula_of_diffusers(name: GuardName) -> None:
    own, momentum = PRESETS[name], None
    guidance = SafeGuidance(own)
    for step in range(20):
        u, p, s = torch.randn(3, 2, 4, 8, 8, generator=seeded(step)) * 0.05
        lead, momentum = StableDiffusionPipelineSafe.perform_safety_guidance(
            None,
            True,
            momentum,
            p - u,
            (p, u, s),
            step,
            own.scale,
            own.warmup,
            own.threshold,
            own.momentum,
            own.decay,
        )
        torch.testing.assert_close(guidance(u, p, s, torch.tensor(7.5)), u + 7.5 * lead)


def test_without_a_difference_or_before_the_warmup_the_picture_is_as_without_guard() -> None:
    u, p, s = torch.randn(3, 1, 4, 8, 8, generator=seeded())
    plain = u + 2.0 * (p - u)
    same = SafeGuidance(Safety(0, 1000, 0.01, 0.0, 0.0))
    torch.testing.assert_close(same(u, p, u, torch.tensor(2.0)), plain)
    late = SafeGuidance(Safety(1, 1000, 0.01, 0.3, 0.4))
    assert torch.equal(late(u, p, s, torch.tensor(2.0)), u + torch.tensor(2.0) * (p - u))
    assert float(late.momentum.abs().sum()) > 0  # it builds during the warm-up
    assert not torch.equal(late(u, p, s, torch.tensor(2.0)), plain)


def test_a_guard_changes_pictures_from_its_warmup_on(tiny_checkpoint: Checkpoint) -> None:
    plain = drawn(tiny_checkpoint, None)
    assert np.array_equal(drawn(tiny_checkpoint, Guard("sld-weak", "a church")), plain)
    strongest = drawn(tiny_checkpoint, Guard("sld-max", "a church"))
    assert np.abs(strongest - plain).max() > 1
    negative = drawn(tiny_checkpoint, Guard("negative-prompt", "a church"))
    assert np.abs(negative - plain).max() > 1


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_guidance_leads_from_what_is_kept_out_or_from_the_empty_prompt(
    family: str, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    xl = family == "sdxl"
    model = read_checkpoint(write_sdxl(tmp_path / "xl")) if xl else tiny_checkpoint
    text, request = build_text_encoder(model), Request("a dog", 0, width=16, height=16)
    nothing = text.unguided(text([""]))

    def led(guard: Guard) -> Condition:
        parts = (model.architecture, text, CPU, torch.float32, guard)
        return Conditions(*parts).of([request], guided=True)

    for guard, wanted in (
        (Guard("negative-prompt", "a church"), [text(["a church"]), text(["a dog"])]),
        (Guard("sld-max", "a church"), [nothing, text(["a dog"]), text(["a church"])]),
    ):
        made = led(guard)
        expected = join([with_size(one, 16, 16) for one in wanted])
        assert made.tensors.keys() == expected.tensors.keys()
        assert len(made.tensors) == (3 if xl else 1)  # the pooled features and the size too
        for name, value in expected.tensors.items():
            assert torch.equal(made.tensors[name], value), name


def test_an_empty_negative_prompt_would_be_the_plain_pipeline(tiny_checkpoint: Checkpoint) -> None:
    guard = Guard("negative-prompt", "a church")
    object.__setattr__(guard, "text", "")  # which a guard refuses, as it does nothing
    assert np.array_equal(drawn(tiny_checkpoint, guard), drawn(tiny_checkpoint, None))


def test_the_prompt_as_its_own_negative_leaves_no_guidance(tiny_checkpoint: Checkpoint) -> None:
    negative = drawn(tiny_checkpoint, Guard("negative-prompt", "a church"))[0]
    config = DrawingConfig(steps=4, guidance=1.0)
    (image,) = Painter(tiny_checkpoint, config, CPU).draw([Request("a church", 3)])
    # e(p) + g (e(p) - e(p)) rounds otherwise than e(p): a step of a byte.
    assert np.abs(negative - np.asarray(image, dtype=np.int16)).max() <= 1


def test_a_picture_without_guidance_cannot_be_guarded(tiny_checkpoint: Checkpoint) -> None:
    config = DrawingConfig(steps=2, guidance=7.5)
    painter = Painter(tiny_checkpoint, config, CPU, guard=Guard("sld-max", "a church"))
    with pytest.raises(ConfigError, match=r"that of 'a dog' is 1.0; give more than 1"):
        painter.paint([Request("a dog", 0, guidance=1.0)])


def test_a_filter_refuses_its_words_and_changes_no_other_picture(
    tiny_checkpoint: Checkpoint,
) -> None:
    plain = drawn(tiny_checkpoint, None)
    filtered = drawn(tiny_checkpoint, Guard("prompt-filter", "chapel, church"))
    assert not filtered[0].any()  # a church
    assert np.array_equal(filtered[1], plain[1])  # a dog
    assert Guard("prompt-filter", "church").refuses("two CHURCHES at night")
    assert not Guard("prompt-filter", "church").refuses("a churchyard, a place of worship")
    assert not Guard("sld-max", "church").refuses("a church")


def test_a_filter_reads_words_alone_and_needs_no_guidance(tiny_checkpoint: Checkpoint) -> None:
    config = DrawingConfig(steps=2, guidance=1.0)
    guarded = Painter(tiny_checkpoint, config, CPU, guard=Guard("prompt-filter", "church"))
    condition = guarded.text(["a church"])
    (refused, seen) = guarded.paint([Request("a church", 3), Request(condition, 3)])
    (plain,) = Painter(tiny_checkpoint, config, CPU).paint([Request("a church", 3)])
    assert not np.asarray(refused.image).any()
    assert seen.image.tobytes() == plain.image.tobytes()


def test_a_guard_leads_away_from_what_is_named_then_erased_then_published() -> None:
    assert guard_of(None, None, ["church"]) is None
    assert guard_of("sld-max", "a hat", ["church"]) == Guard("sld-max", "a hat")
    assert guard_of("sld-max", None, ["church", "dog"]) == Guard("sld-max", "church, dog")
    assert guard_of("prompt-filter", None, ["church"]) == Guard("prompt-filter", "church")
    kept_out = guard_of("prompt-filter", None, ["Van_Gogh"])  # as UnlearnCanvas spells it
    assert kept_out is not None
    assert kept_out.refuses("A Bears image in Van Gogh style.")
    assert guard_of("sld-medium", None, []) == Guard("sld-medium", UNSAFE)
    with pytest.raises(ConfigError, match="nothing to keep out; give --erased"):
        guard_of("negative-prompt", None, [])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("sld-huge", "a", "guard is 'sld-huge'; give one of"),
        ("sld-max", " ", "guard_text is empty"),
    ],
)
def test_bad_guards_are_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Guard(name, text)  # type: ignore[arg-type]
    assert len(GUARDS) == 6
