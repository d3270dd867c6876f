"""What `--until-unseen` looks at, and how often."""

from dataclasses import dataclass

from erasure.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class UnseenConfig:
    """When a judge looks at the training; the pictures are drawn as those of the grid."""

    every: int = 25
    """Steps between two looks."""
    times: int = 3
    """Looks in a row in which the concept is recognised in no picture, after which the training
    ends."""
    pictures: int = 8
    """Pictures of each concept."""
    neighbours: int = 16
    """Pictures of what is kept, by which the damage is measured."""

    def __post_init__(self) -> None:
        for name in ("every", "times", "pictures", "neighbours"):
            if getattr(self, name) < 1:
                raise ConfigError(f"unseen.{name} is {getattr(self, name)}; give 1 or more")

    def require_within(self, steps: int) -> None:
        """Raise ConfigError where a training of so many steps would be over before the looks."""
        if self.every * self.times > steps:
            raise ConfigError(
                f"until_unseen needs {self.times} looks, one every {self.every} steps, and the "
                f"training takes {steps} steps; give {self.every * self.times} or more, or a "
                "smaller unseen.every"
            )
