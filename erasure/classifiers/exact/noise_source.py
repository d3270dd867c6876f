"""Where the noise comes from on which a bound rests, in words: for those who must judge it."""

from typing import Final, Protocol, runtime_checkable

GENERATOR: Final = "torch's ordinary generator, which is not cryptographically secure"


@runtime_checkable
class Noisy(Protocol):
    """A model whose bound rests on noise."""

    @property
    def noise_source(self) -> str:
        """Where its noise came from, in words."""
        ...


def source_in_words(seeded: bool | None) -> str:
    """What may be said of noise that a seed, or a secret of the operating system, began.

    Args:
        seeded: whether the seed was given; None where that is not known.
    """
    if seeded is None:
        return f"{GENERATOR}; whether from a seed that was given, the file does not say"
    if seeded:
        return (
            f"{GENERATOR}, from a seed that was given: the bound does not hold against those who "
            "know the seed"
        )
    return f"{GENERATOR}, from 62 secret bits of the operating system"
