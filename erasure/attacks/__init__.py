"""Attacks that try to bring an erased concept back, all behind one interface."""

from erasure.attacks.payload import Attempt, Case, Cost, Payload, Rows, Start
from erasure.attacks.protocol import Access, Attack, Need
from erasure.attacks.registry import ATTACKS, attack_kind, make_attack
from erasure.attacks.target import Budget, Concept, Material, Target, Wording

__all__ = [
    "ATTACKS",
    "Access",
    "Attack",
    "Attempt",
    "Budget",
    "Case",
    "Concept",
    "Cost",
    "Material",
    "Need",
    "Payload",
    "Rows",
    "Start",
    "Target",
    "Wording",
    "attack_kind",
    "make_attack",
]
