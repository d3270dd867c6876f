"""What can go wrong, one root; a message says what was found, what was wanted, what to do next."""


class ErasureError(Exception):
    """Root of every error this package raises on purpose."""


class ConfigError(ErasureError, ValueError):
    """A setting is outside its range or names something unknown."""


class CheckpointError(ErasureError):
    """A checkpoint is missing, damaged, of another architecture, or not what it claims to be."""


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
