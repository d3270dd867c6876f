"""Every method by name; a new one is one file and one line here."""

from typing import Any, Final

from erasure.known_names import looked_up, made_with
from erasure.methods.closed_form.mace import Mace
from erasure.methods.closed_form.rece import Rece
from erasure.methods.closed_form.speed import Speed
from erasure.methods.closed_form.uce import Uce
from erasure.methods.gradient.adv_unlearn import AdvUnlearn
from erasure.methods.gradient.ant import Ant
from erasure.methods.gradient.ascent import GradientAscent
from erasure.methods.gradient.concept_ablation import ConceptAblation
from erasure.methods.gradient.erasediff import EraseDiff
from erasure.methods.gradient.esd import Esd
from erasure.methods.gradient.leco import Leco
from erasure.methods.gradient.salun import SalUn
from erasure.methods.gradient.sdd import Sdd
from erasure.methods.protocol import Method

METHODS: Final[dict[str, type[Method]]] = {
    "salun": SalUn,
    "ascent": GradientAscent,
    "concept-ablation": ConceptAblation,
    "erasediff": EraseDiff,
    "esd": Esd,
    "sdd": Sdd,
    "leco": Leco,
    "ant": Ant,
    "adv-unlearn": AdvUnlearn,
    "uce": Uce,
    "rece": Rece,
    "speed": Speed,
    "mace": Mace,
}


def method_kind(name: str) -> type[Method]:
    """The class of a method's name.

    Args:
        name: key into `METHODS`.

    Raises:
        ConfigError: no method has such a name; the nearest is named.

    Examples:
        >>> method_kind("uce").title
        'rewrite cross-attention in closed form; seconds, no pictures'
    """
    return looked_up("method", name, METHODS)


def make_method(name: str, **settings: Any) -> Method:  # noqa: ANN401
    """The method of a name, with these of its settings instead of its defaults.

    Args:
        name: key into `METHODS`.
        settings: fields of its class.

    Raises:
        ConfigError: no method or setting has such a name, or a value is outside its range.

    Examples:
        >>> make_method("salun", steps=100, alpha=0.5).alpha
        0.5
    """
    return made_with(method_kind(name), name, settings)
