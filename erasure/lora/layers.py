"""Which weights of a network can have thin factors: those of linear and convolution layers."""

from typing import Final

from torch import Tensor

_TABLES: Final = ("embedding", "embeddings", "embedding_table", "classes_emb", "pos_embed")
"""Last words of the names of tables, which are looked up and not multiplied."""


def has_factors(name: str, weight: Tensor) -> bool:
    """Whether a weight is that of a linear or convolution layer, by its name and shape."""
    place, _, kind = name.rpartition(".")
    table = place.rpartition(".")[2].endswith(_TABLES)
    return kind == "weight" and weight.dim() in (2, 4) and not table
