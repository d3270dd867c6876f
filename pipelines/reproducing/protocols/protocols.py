"""All experiments by name."""

from collections.abc import Mapping
from typing import Final

from erasure.errors import ConfigError
from pipelines.reproducing.protocol import Protocol
from pipelines.reproducing.protocols import (
    salun_imagenette,
    salun_nudity,
    salun_style,
    unlearncanvas,
)
from prompts.nearest import nearest

PROTOCOLS: Final[Mapping[str, Protocol]] = {
    one.PROTOCOL.name: one.PROTOCOL
    for one in (salun_imagenette, salun_nudity, salun_style, unlearncanvas)
}


def protocol_of(name: str) -> Protocol:
    """The experiment of that name; ConfigError, which names the nearest, where there is none."""
    if name not in PROTOCOLS:
        raise ConfigError(f"there is no experiment {name!r}; {nearest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
