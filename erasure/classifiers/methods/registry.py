"""Every method by name; a new one is one file and one line here."""

import dataclasses
import difflib
from typing import Any, Final

from erasure.classifiers.methods.ascent import GradientAscent
from erasure.classifiers.methods.bad_teacher import BadTeacher
from erasure.classifiers.methods.boundary_expand import BoundaryExpand
from erasure.classifiers.methods.boundary_shrink import BoundaryShrink
from erasure.classifiers.methods.fine_tune import FineTune
from erasure.classifiers.methods.fisher import FisherForgetting
from erasure.classifiers.methods.influence import Influence
from erasure.classifiers.methods.l1_sparse import L1Sparse
from erasure.classifiers.methods.random_label import RandomLabel
from erasure.classifiers.methods.retrain import Retrain
from erasure.classifiers.methods.salun import SalUn, SalUnSoft
from erasure.classifiers.methods.scrub import Scrub
from erasure.classifiers.methods.ssd import SelectiveDampening
from erasure.classifiers.protocol import Method
from erasure.errors import ConfigError

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

    Raises:
        ConfigError: no method or setting has such a name, or a value is outside its range.
    """
    kind: Any = METHODS.get(name)
    if kind is None:
        raise ConfigError(f"method {name!r} is unknown; {_known(name, list(METHODS))}")
    fields = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in fields:
            raise ConfigError(f"{name} has no setting {setting!r}; {_known(setting, fields)}")
    method: Method = kind(**settings)
    return method


def _known(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known are {', '.join(names) or 'none'}"
