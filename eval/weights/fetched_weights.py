"""A published file of weights, fetched once into torch's hub folder and known by its hash."""

import logging
from pathlib import Path
from typing import Final

import torch

from eval.errors import EvalError

TORCHVISION: Final = "https://download.pytorch.org/models/"
"""Where torchvision's own weights lie."""

logger = logging.getLogger(__name__)


def fetch_weights(url: str, digest: str, *, otherwise: str) -> Path:
    """The file in torch's hub folder, downloaded if it is not there yet.

    Args:
        url: of the file.
        digest: start of its SHA-256; a download with another one is thrown away.
        otherwise: what the user can do instead, for the error.

    Raises:
        EvalError: the file is not there and cannot be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if path.is_file():
        return path
    logger.warning("fetching %s into %s, which may take a while", url, path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as err:
        raise EvalError(f"{url} cannot be fetched ({err}); {otherwise}") from err
    return path
