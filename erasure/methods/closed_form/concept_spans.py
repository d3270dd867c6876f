"""Where concepts stand in their prompts: the tokens that what stands in for them has not."""

from collections.abc import Mapping

from erasure.attention.spans import Span, span_of
from erasure.diffusion.data.concept_data import PromptRows
from erasure.diffusion.task import Task
from erasure.errors import ConfigError, Way


def concept_spans(task: Task) -> dict[int, Span]:
    """Row of each prompt to forget whose stand-in lacks some of its tokens -> where these are.

    Raises:
        ConfigError: the words of the prompts are not known, or a concept has no such prompt.
    """
    texts = task.data.require_texts()
    if not texts.words:
        raise ConfigError("the words of the prompts are not known; encode them by encode_concept")
    tokenizer = task.checkpoint.architecture.build_tokenizers(task.checkpoint)[0]
    length = task.data.prompts.tokens.shape[1]
    ids = tokenizer(
        list(texts.words), padding="max_length", max_length=length, truncation=True
    ).input_ids
    spans = {}
    for row, stand_in in zip(texts.forget.tolist(), texts.replacements[:, 0].tolist(), strict=True):
        span = span_of(ids[row], ids[stand_in], tokenizer.eos_token_id)
        if span.own:
            spans[row] = span
    groups = by_concept(task, spans)
    for row, concept in _numbered(texts):
        if concept not in groups:
            raise ConfigError(
                f"no prompt to forget that shows what {texts.word(row)} does has a token that its "
                "stand-in has not, so there is no attention to put out; give another ",
                Way("--instead", "replacement"),
            )
    return spans


def by_concept(task: Task, spans: Mapping[int, Span]) -> dict[int, list[int]]:
    """Number of a concept -> rows of its prompts."""
    groups: dict[int, list[int]] = {}
    for row, concept in _numbered(task.data.require_texts()):
        if row in spans:
            groups.setdefault(concept, []).append(row)
    return groups


def _numbered(texts: PromptRows) -> list[tuple[int, int]]:
    """Row of each prompt to forget, and the number of its concept."""
    numbers = [0] * len(texts.forget) if texts.concepts is None else texts.concepts.tolist()
    return list(zip(texts.forget.tolist(), numbers, strict=True))
