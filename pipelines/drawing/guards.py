"""Guards: what keeps a concept out of pictures while they are drawn, and changes no weight."""

# B pictures, C x h x w latents.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from erasure.errors import ConfigError
from prompts.concepts.phrases import mentions

GuardName = Literal[
    "negative-prompt", "sld-weak", "sld-medium", "sld-strong", "sld-max", "prompt-filter"
]
GUARDS: Final[tuple[GuardName, ...]] = get_args(GuardName)


@dataclass(frozen=True, slots=True)
class Safety:
    """Settings of safe latent diffusion; the names in brackets are the paper's."""

    warmup: int
    """Steps before it leads (delta), while its momentum already builds."""
    scale: float
    """How soon a difference counts in full (s_S)."""
    threshold: float
    """Differences from here up do not count (lambda)."""
    momentum: float
    """Weight of the momentum (s_m)."""
    decay: float
    """Decay of the momentum (beta_m), in [0, 1)."""


PRESETS: Final[Mapping[GuardName, Safety]] = {
    "sld-weak": Safety(15, 20, 0.0, 0.0, 0.0),
    "sld-medium": Safety(10, 1000, 0.01, 0.3, 0.4),
    "sld-strong": Safety(7, 2000, 0.025, 0.5, 0.7),
    "sld-max": Safety(0, 5000, 1.0, 0.5, 0.7),
}
"""Published in arXiv:2211.05105, table 1, for 50 steps."""
UNSAFE: Final = (
    "an image showing hate, harassment, violence, suffering, humiliation, harm, suicide, sexual, "
    "nudity, bodily fluids, blood, obscene gestures, illegal activity, drug use, theft, vandalism, "
    "weapons, child abuse, brutality, cruelty"
)
"""What safe latent diffusion leads away from as published."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard and what it keeps out.

    Nothing of it is in the weights: whoever has the checkpoint draws without it.
    """

    name: GuardName
    text: str
    """The words that it leads away from, or refuses to read; with commas where they are several."""

    def __post_init__(self) -> None:
        if self.name not in GUARDS:
            raise ConfigError(f"guard is {self.name!r}; give one of {', '.join(GUARDS)}")
        if not self.text.strip():
            raise ConfigError("guard_text is empty; name what the guard should keep out")

    @property
    def safety(self) -> Safety | None:
        """None for the negative prompt and the filter."""
        return PRESETS.get(self.name)

    @property
    def leads(self) -> bool:
        """Whether it works through guidance; the filter reads the prompt alone."""
        return self.name != "prompt-filter"

    def require_guidance(self, guidance: float, prompt: str) -> None:
        """Raise ConfigError where it works through guidance and there is none.

        Args:
            guidance: of a picture, 1 or less for none.
            prompt: how a message names that of the picture.
        """
        if self.leads and not guidance > 1:
            raise ConfigError(
                f"the guard {self.name} works through guidance, and that of {prompt} is "
                f"{guidance}; give more than 1"
            )

    def require_model(self, guidance_kind: str) -> None:
        """Raise ConfigError where it works through guidance away from a prompt, and that of a
        family of models is of another kind."""
        if self.leads and guidance_kind != "true":
            raise ConfigError(
                f"the guard {self.name} works through guidance away from a prompt, and this model "
                "has none; draw without a guard"
            )

    def refuses(self, prompt: str) -> bool:
        """Whether nothing is drawn of a prompt: the filter finds one of its words in it, singular
        or plural, in any case."""
        words = (word.strip() for word in self.text.split(","))
        return not self.leads and any(mentions(prompt, word) for word in words if word)

    def described(self) -> str:
        """For tables and records."""
        return f"{self.name} against {self.text!r}, not exportable"


def guard_of(name: GuardName | None, text: str | None, erased: Sequence[str]) -> Guard | None:
    """The guard of an evaluation.

    Args:
        name: None for no guard.
        text: what it keeps out; where it is None, what is said to be erased, and without that what
            is published of safe latent diffusion.

    Raises:
        ConfigError: the negative prompt or the filter has no text.
    """
    if name is None:
        return None
    if text is None:
        text = ", ".join(erased).replace("_", " ")  # a label is spelled as a file is: `Van_Gogh`
    if not text and name in ("negative-prompt", "prompt-filter"):
        raise ConfigError(
            f"the guard {name} has nothing to keep out; give --erased, or --guard-text with the "
            "words"
        )
    return Guard(name, text or UNSAFE)


@dataclass(slots=True)
class SafeGuidance:
    """The guided prediction of safe latent diffusion, step by step; one for each batch.

    u, p and s are the predictions for the empty prompt, the prompt and what is kept out. Where
    p - s is below the threshold, elementwise, d = (s - u) min(1, scale |p - s|), else 0; to this
    the momentum is added, m d', with d' <- decay d' + (1 - decay) d. The result is
    u + g (p - u - d) from the step `warmup` on, and u + g (p - u) before.

    Source: arXiv:2211.05105, eqs. 3 to 8. Its scale and threshold were found for predictions of
        noise. A velocity of discrete betas differs by more, 1 / sqrt(abar_t) times as much, between
        two prompts, and one of a flow by 1 / (1 - s) times as much; as in diffusers they are taken
        as they are.
    """

    settings: Safety
    step: int = 0
    momentum: Tensor = field(default_factory=lambda: torch.zeros(()))

    def __call__(self, away: Tensor, towards: Tensor, unsafe: Tensor, scale: Tensor) -> Tensor:
        """Predictions (B, C, h, w) and guidance scale, of a shape that fits them -> the guided
        prediction (B, C, h, w)."""
        own = self.settings
        gap = towards - unsafe
        share = (gap.abs() * own.scale).clamp(max=1.0)
        share = torch.where(gap < own.threshold, share, torch.zeros_like(share))
        lead = (unsafe - away) * share + own.momentum * self.momentum
        self.momentum = own.decay * self.momentum + (1 - own.decay) * lead
        guided = towards - away
        if self.step >= own.warmup:
            guided = guided - lead
        self.step += 1
        return away + scale * guided
