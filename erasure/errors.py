"""What can go wrong, one root; a message says what was found, what was wanted, what to do next.

A message that asks for a setting names it by a `Way`: whoever called a function reads the
parameter, whoever typed a command the option.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

Wording = Literal["option", "setting"]


class Worded(Protocol):
    """A part of a message whose words depend on who reads it."""

    def said(self, wording: Wording) -> str:
        """The part in these words."""
        ...


@dataclass(frozen=True, slots=True)
class Way:
    """A setting to change, as the next thing to do."""

    option: str
    """As it is typed: `--micro-batch 4`."""
    setting: str
    """As a call or a recipe has it: `micro_batch=4`, `method.micro_batch = 4`."""
    remark: str = ""
    """What stands behind either, such as ` (now 8)`."""

    def said(self, wording: Wording) -> str:
        """The setting in these words."""
        return f"{self.option if wording == 'option' else self.setting}{self.remark}"


def way(name: str, value: str | bool = "") -> Way:
    """The way of a parameter whose option has the same name, with dashes.

    Args:
        name: of the parameter, such as `allow_pickle`.
        value: to give; in capitals it stands for what the user has, and without one the setting is
            named alone.
    """
    option = f"--{name.replace('_', '-')}"
    if not value:
        return Way(option, name)
    if value is True:
        return Way(option, f"{name}=True")
    return Way(f"{option} {value}", f"{name}={value if value.isupper() else repr(value)}")


CONFIG: Final = way("config", "FOLDER")
"""The diffusers folder that has what a single file lacks."""
VAE: Final = way("vae", "FILE_OR_FOLDER")
"""The VAE of a model that has none."""
TEXT_ENCODER: Final = Way("--text-encoder", "text_encoders")
"""The text encoders of a model that has none."""
TEXT_ENCODER_FILE: Final = Way("--text-encoder FILE", "text_encoders=[FILE]")
"""The same, to be given."""


class ErasureError(Exception):
    """Root of every error this package raises on purpose.

    Its arguments are strings and `Worded` parts such as a `Way`; joined, they are the message.
    """

    def __str__(self) -> str:
        return self.said("setting")

    @property
    def typed(self) -> str:
        """The message for whoever typed a command: it names options, where `str` names
        parameters."""
        return self.said("option")

    def said(self, wording: Wording) -> str:
        """The message in these words; an error can be a part of another's."""
        parts = (part if isinstance(part, str) else part.said(wording) for part in self.args)
        return "".join(parts)


class ConfigError(ErasureError, ValueError):
    """A setting is outside its range or names something unknown."""


class CheckpointError(ErasureError):
    """A checkpoint is missing, damaged, of another architecture, or not what it claims to be."""


class InUseError(CheckpointError):
    """Another process writes there; nothing is wrong with the input."""


class DiskError(CheckpointError):
    """The disk refuses: full, read-only, no permission. Nothing is wrong with the input."""


class MaskError(ErasureError):
    """A mask does not fit: another base, other weights, another format."""


class PatchError(ErasureError):
    """A patch does not fit: another base, another architecture, damaged, or it cannot stack."""


class TrainingError(ErasureError):
    """A run cannot go on: the loss is not finite, the state belongs to another run."""


class OutOfMemoryError(TrainingError):
    """The device, or the machine, has too little memory for what was asked of it."""
