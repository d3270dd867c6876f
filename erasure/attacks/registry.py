"""Every attack by name; a new one is one file and one line here."""

from typing import Any, Final

from erasure.attacks.diagnostics.inversion import Inversion
from erasure.attacks.forward.add_back import AddBack
from erasure.attacks.forward.completion import Completion
from erasure.attacks.forward.eta import Eta
from erasure.attacks.forward.inpainting import Inpainting
from erasure.attacks.forward.prefixes import Prefixes
from erasure.attacks.forward.pruning import Pruning
from erasure.attacks.forward.rounding import Rounding
from erasure.attacks.forward.seeds import Seeds
from erasure.attacks.forward.words import Words
from erasure.attacks.gradient.concept_vector import ConceptVector
from erasure.attacks.gradient.matching_prefix import MatchingPrefix
from erasure.attacks.gradient.pooled_text import PooledText
from erasure.attacks.gradient.prefix import Prefix
from erasure.attacks.gradient.soft_token import SoftToken
from erasure.attacks.protocol import Attack
from erasure.attacks.tuning.relearning import BenignTuning, Relearning
from erasure.known_names import looked_up, require_settings
from erasure.storage.tables import build

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
    "concept-vector": ConceptVector,
    "pooled-text": PooledText,
    "soft-token": SoftToken,
    "prefix": Prefix,
    "prefix-match": MatchingPrefix,
    "benign-tuning": BenignTuning,
    "relearning": Relearning,
    "inversion": Inversion,
}


def attack_kind(name: str) -> type[Attack]:
    """The class of an attack's name.

    Args:
        name: key into `ATTACKS`.

    Raises:
        ConfigError: no attack has such a name; the nearest is named.

    Examples:
        >>> attack_kind("seeds").name
        'seeds'
    """
    return looked_up("attack", name, ATTACKS)


def make_attack(name: str, **settings: Any) -> Attack:  # noqa: ANN401
    """The attack of a name, with these of its settings instead of its defaults.

    Args:
        name: key into `ATTACKS`.
        settings: fields of its class, as a person may have written them.

    Raises:
        ConfigError: no attack or setting has such a name, or a value is of another type or outside
            its range.

    Examples:
        >>> make_attack("seeds", draws=9).draws
        9
    """
    kind = attack_kind(name)
    require_settings(kind, name, settings)
    return build(kind, settings, name)
