"""Every method of erasing a concept: one file each, and one line in the registry."""

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
from erasure.methods.protocol import Method, Need
from erasure.methods.registry import METHODS, make_method, method_kind

__all__ = [
    "METHODS",
    "AdvUnlearn",
    "Ant",
    "ConceptAblation",
    "EraseDiff",
    "Esd",
    "GradientAscent",
    "Leco",
    "Mace",
    "Method",
    "Need",
    "Rece",
    "SalUn",
    "Sdd",
    "Speed",
    "Uce",
    "make_method",
    "method_kind",
]
