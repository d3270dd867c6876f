"""Every method by name; a new one is one file and one line here."""

import dataclasses
import difflib
from typing import Any, Final

from erasure.errors import ConfigError
from erasure.methods.ascent import GradientAscent
from erasure.methods.esd import Esd
from erasure.methods.protocol import Method
from erasure.methods.salun import SalUn
from erasure.methods.uce import Uce

METHODS: Final[dict[str, type[Method]]] = {
    "salun": SalUn,
    "ascent": GradientAscent,
    "esd": Esd,
    "uce": Uce,
}


def method_kind(name: str) -> type[Method]:
    """The class of a method's name.

    Raises:
        ConfigError: no method has such a name; the nearest is named.
    """
    if name not in METHODS:
        raise ConfigError(f"method {name!r} is unknown; {_known(name, list(METHODS))}")
    return METHODS[name]


def make_method(name: str, **settings: Any) -> Method:  # noqa: ANN401
    """The method of a name, with these of its settings instead of its defaults.

    Raises:
        ConfigError: no method or setting has such a name, or a value is outside its range.
    """
    kind: Any = method_kind(name)
    fields = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in fields:
            raise ConfigError(f"{name} has no setting {setting!r}; {_known(setting, fields)}")
    method: Method = kind(**settings)
    return method


def _known(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known are {', '.join(names)}"
