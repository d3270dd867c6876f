"""Say that the hub is asked for something, before the wait for a hub that may not be there."""

import logging
import os
from functools import cache
from typing import Final

log = logging.getLogger(__name__)

_YES: Final = ("1", "ON", "YES", "TRUE")


def announce_hub(name: str) -> None:
    """Log, once a process, that the hub is asked for `name`; nothing for what lies here.

    Nothing is said either where the hub is switched off, as then there is no wait.
    """
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES
    if not offline and not os.path.exists(os.path.expanduser(name)):
        _announce(name)


@cache
def _announce(name: str) -> None:
    log.warning(
        "asking the hub for %s; where it cannot be reached this takes up to some minutes "
        "(HF_HUB_OFFLINE=1 takes what was downloaded before without asking)",
        name,
    )
