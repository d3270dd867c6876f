"""Every method by name; a new one is one file and one line here."""

from typing import Any, Final

from erasure.known_names import looked_up, made_with
from erasure.methods.ant import Ant
from erasure.methods.ascent import GradientAscent
from erasure.methods.concept_ablation import ConceptAblation
from erasure.methods.erasediff import EraseDiff
from erasure.methods.esd import Esd
from erasure.methods.leco import Leco
from erasure.methods.mace import Mace
from erasure.methods.protocol import Method
from erasure.methods.rece import Rece
from erasure.methods.salun import SalUn
from erasure.methods.sdd import Sdd
from erasure.methods.speed import Speed
from erasure.methods.uce import Uce

METHODS: Final[dict[str, type[Method]]] = {
    "salun": SalUn,
    "ascent": GradientAscent,
    "concept-ablation": ConceptAblation,
    "erasediff": EraseDiff,
    "esd": Esd,
    "sdd": Sdd,
    "leco": Leco,
    "ant": Ant,
    "uce": Uce,
    "rece": Rece,
    "speed": Speed,
    "mace": Mace,
}


def method_kind(name: str) -> type[Method]:
    """The class of a method's name.

    Raises:
        ConfigError: no method has such a name; the nearest is named.
    """
    return looked_up("method", name, METHODS)


def make_method(name: str, **settings: Any) -> Method:  # noqa: ANN401
    """The method of a name, with these of its settings instead of its defaults.

    Raises:
        ConfigError: no method or setting has such a name, or a value is outside its range.
    """
    return made_with(method_kind(name), name, settings)
