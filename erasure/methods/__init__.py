"""Every method of erasing a concept: one file each, and one line in the registry."""

from erasure.methods.ant import Ant
from erasure.methods.ascent import GradientAscent
from erasure.methods.concept_ablation import ConceptAblation
from erasure.methods.erasediff import EraseDiff
from erasure.methods.esd import Esd
from erasure.methods.leco import Leco
from erasure.methods.protocol import Method, Need
from erasure.methods.registry import METHODS, make_method, method_kind
from erasure.methods.salun import SalUn
from erasure.methods.sdd import Sdd
from erasure.methods.uce import Uce

__all__ = [
    "METHODS",
    "Ant",
    "ConceptAblation",
    "EraseDiff",
    "Esd",
    "GradientAscent",
    "Leco",
    "Method",
    "Need",
    "SalUn",
    "Sdd",
    "Uce",
    "make_method",
    "method_kind",
]
