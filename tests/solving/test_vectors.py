"""Which places of prompts of different lengths a closed form rewrites, and which it keeps."""

from dataclasses import replace

import pytest
import torch
from support.tiny import toy_data
from torch import Tensor

from erasure.diffusion.data.concept_data import ConceptData, PromptRows
from erasure.diffusion.denoiser import Condition
from erasure.solving.vectors import Tokens, edit_vectors, first_token

# Row 1 is forgotten for 3, and row 2 for 4; row 5 is kept. Their last words are at:
LAST = torch.tensor([0, 2, 4, 1, 3, 3])


def numbered(*, zeros: bool = False) -> ConceptData:
    """Prompts of six tokens whose one feature is 10 times the row and the place, and 100."""
    table = (100 + 10 * torch.arange(6)[:, None] + torch.arange(6))[..., None].float()
    if zeros:
        table[0] = 0
    rows = PromptRows(torch.tensor([1, 2]), torch.tensor([[3], [4]]), torch.tensor([5]), LAST)
    return replace(toy_data(), prompts=Condition({"tokens": table}), texts=rows)


def places(columns: Tensor) -> list[int]:
    return (columns[0] - 100).int().tolist()


@pytest.mark.parametrize(
    ("tokens", "concept", "instead", "others"),
    [
        ("last", [12, 24], [31, 43], [0, 53]),
        (
            "tail",  # as many as both have behind their last words
            [12, 13, 14, 15, 24, 25],
            [31, 32, 33, 34, 43, 44],
            [0, 1, 2, 3, 4, 5, 53, 54, 55],
        ),
        (
            "all",
            [*range(10, 16), *range(20, 26)],
            [*range(30, 36), *range(40, 46)],
            [*range(6), *range(50, 56)],
        ),
    ],
)
def test_the_places_are_those_of_each_prompt(
    tokens: Tokens, concept: list[int], instead: list[int], others: list[int]
) -> None:
    vectors = edit_vectors(numbered(), tokens)
    assert places(vectors.concept) == concept
    assert places(vectors.instead) == instead
    assert places(vectors.others) == others
    assert vectors.names == [f"token {n % 10} of prompt {n // 10}" for n in (*concept, *others)]


@pytest.mark.parametrize(
    ("tokens", "others"), [("last", [53]), ("tail", [53, 54, 55]), ("all", [*range(50, 56)])]
)
def test_where_the_empty_prompt_is_zeros_the_token_that_begins_all_prompts_is_kept(
    tokens: Tokens, others: list[int]
) -> None:
    data = numbered(zeros=True)
    vectors = edit_vectors(data, tokens)
    assert places(vectors.others) == [10, *others]
    assert len(vectors.names) == vectors.concept.shape[1] + vectors.others.shape[1]
    assert first_token(data).tolist() == [110]
    assert first_token(numbered()).tolist() == [100]
