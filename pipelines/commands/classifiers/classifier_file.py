"""The file that a command writes a classifier to."""

from pathlib import Path

from pipelines.commands.options import refuse_taken
from pipelines.run.claims import claim


def claim_file(out: Path, *, force: bool) -> None:
    """Claim the file of a classifier; refuse another kind of file, and one that is there."""
    from erasure.errors import ConfigError

    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; give a file whose name ends in .safetensors")
    claim(out)
    refuse_taken([out], force=force)
