"""What a command writes is its own until the command ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path

from pipelines.process.one_voice import is_first

_claims: ContextVar[ExitStack] = ContextVar("claims")


@contextmanager
def claiming() -> Iterator[None]:
    """Let go, at the end of the block, of all that was claimed in it."""
    with ExitStack() as stack:
        token = _claims.set(stack)
        try:
            yield
        finally:
            _claims.reset(token)


def claim(*paths: Path | None) -> None:
    """Claim what the running command is to write, before it begins its work.

    Of several processes that share a run the first claims; None is nothing to claim.

    Raises:
        CheckpointError: another run has claimed one of them.
        DiskError: the disk refuses.
    """
    from erasure.storage.claims import claimed

    if is_first():
        for path in paths:
            if path is not None:
                _claims.get().enter_context(claimed(path))
