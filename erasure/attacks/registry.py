"""Every attack by name; a new one is one file and one line here."""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Final

from erasure.attacks.forward.add_back import AddBack
from erasure.attacks.forward.completion import Completion
from erasure.attacks.forward.eta import Eta
from erasure.attacks.forward.inpainting import Inpainting
from erasure.attacks.forward.prefixes import Prefixes
from erasure.attacks.forward.pruning import Pruning
from erasure.attacks.forward.rounding import Rounding
from erasure.attacks.forward.seeds import Seeds
from erasure.attacks.forward.words import Words
from erasure.attacks.protocol import Attack
from erasure.errors import ConfigError

ATTACKS: Final[dict[str, type[Attack]]] = {
    "words": Words,
    "seeds": Seeds,
    "prefixes": Prefixes,
    "eta": Eta,
    "rounding": Rounding,
    "pruning": Pruning,
    "completion": Completion,
    "inpainting": Inpainting,
    "add-back": AddBack,
}


def attack_kind(name: str) -> type[Attack]:
    """The class of an attack's name.

    Raises:
        ConfigError: no attack has such a name; the nearest is named.
    """
    if name not in ATTACKS:
        raise ConfigError(f"attack {name!r} is unknown; {_known(name, ATTACKS)}")
    return ATTACKS[name]


def make_attack(name: str, **settings: Any) -> Attack:  # noqa: ANN401
    """The attack of a name, with these of its settings instead of its defaults.

    Raises:
        ConfigError: no attack or setting has such a name, or a value is outside its range.
    """
    kind: Any = attack_kind(name)
    names = [one.name for one in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in names:
            raise ConfigError(f"{name} has no setting {setting!r}; {_known(setting, names)}")
    attack: Attack = kind(**settings)
    return attack


def _known(name: str, names: Iterable[str]) -> str:
    listed = list(names)
    near = difflib.get_close_matches(name, listed, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known are {', '.join(listed)}"
