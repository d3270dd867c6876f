"""Every method by name; a new one is one file and one line here."""

from typing import Any, Final

from erasure.classifiers.methods.closed_form.fisher import FisherForgetting
from erasure.classifiers.methods.closed_form.influence import Influence
from erasure.classifiers.methods.closed_form.ssd import SelectiveDampening
from erasure.classifiers.methods.gradient.ascent import GradientAscent
from erasure.classifiers.methods.gradient.bad_teacher import BadTeacher
from erasure.classifiers.methods.gradient.boundary_expand import BoundaryExpand
from erasure.classifiers.methods.gradient.boundary_shrink import BoundaryShrink
from erasure.classifiers.methods.gradient.fine_tune import FineTune
from erasure.classifiers.methods.gradient.l1_sparse import L1Sparse
from erasure.classifiers.methods.gradient.random_label import RandomLabel
from erasure.classifiers.methods.gradient.retrain import Retrain
from erasure.classifiers.methods.gradient.salun import SalUn, SalUnSoft
from erasure.classifiers.methods.gradient.scrub import Scrub
from erasure.classifiers.protocol import Method
from erasure.known_names import looked_up, made_with

METHODS: Final[dict[str, type[Method]]] = {
    "retrain": Retrain,
    "ft": FineTune,
    "rl": RandomLabel,
    "ga": GradientAscent,
    "iu": Influence,
    "fisher": FisherForgetting,
    "be": BoundaryExpand,
    "bs": BoundaryShrink,
    "l1-sparse": L1Sparse,
    "salun": SalUn,
    "salun-soft": SalUnSoft,
    "scrub": Scrub,
    "ssd": SelectiveDampening,
    "bad-teacher": BadTeacher,
}


def make_method(name: str, **settings: Any) -> Method:  # noqa: ANN401
    """The method of a name, with these of its settings instead of its defaults.

    Args:
        name: key into `METHODS`.
        settings: fields of its class.

    Raises:
        ConfigError: no method or setting has such a name, or a value is outside its range.

    Examples:
        >>> make_method("ft", epochs=2).epochs
        2
    """
    return made_with(looked_up("method", name, METHODS), name, settings)
