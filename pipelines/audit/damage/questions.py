"""What is drawn to see what else was lost: the concept, its neighbours, companions, and pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from erasure.attacks import Cost
from erasure.diffusion.denoiser import TOKENS
from erasure.seeds import derived_seed
from eval.damage.neighbours import Neighbour, ranked_by_text
from pipelines.audit.asking import plan_of
from pipelines.audit.damage.levels import LEVELS, Level, level_name
from pipelines.audit.damage.vocabulary import Vocabulary, vocabulary_of
from pipelines.audit.workshop import Workshop
from pipelines.drawing.generation import Painter
from prompts.compositions import companions
from prompts.concepts.phrases import noun_phrase, swap
from prompts.concepts.plan import ConceptPlan

_POOLED = "text_embeds"
LINES = ("base", "audited")


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture."""

    group: str
    """What it should show beside the concept or in its place; empty where nothing is named."""
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """All pictures of one level, part by part."""

    vocabulary: Vocabulary | None
    ranking: tuple[Neighbour, ...]
    """Other labels by the model's own text encoder; empty where the judge names none."""
    parts: Mapping[str, tuple[Ask, ...]]
    """`concept`: its plain prompts; `kept`: neighbours, or other things; `companions`: the concept
    and a neighbour; `without`: the neighbour alone by the same seeds; `again`: `kept` by other
    seeds, which the base alone draws."""

    def of(self, line: str) -> dict[str, tuple[Ask, ...]]:
        """The parts that a line draws."""
        own = set(self.parts) if line == "base" else {"concept", "kept", "companions"}
        return {name: asks for name, asks in self.parts.items() if name in own and asks}


def questions_of(shop: Workshop, *, ranked: bool = True) -> Questions | None:
    """What to draw; None where nothing is to be, or there is no base to compare with.

    Args:
        ranked: whether the neighbours are chosen by the text encoder; without, as many are in the
            judge's order, which is enough to count.
    """
    name = level_name(shop.recipe)
    if name == "none" or "base" not in shop.lines:
        return None
    level = LEVELS[name]
    vocabulary = vocabulary_of(shop.judge("audited"))
    plain = shop.concept("audited").prompts
    ranking: tuple[Neighbour, ...] = ()
    if vocabulary is not None:
        names = _names(shop)
        ranking = (
            ranked_labels(shop.painter("audited"), vocabulary, plain, names)
            if ranked
            else tuple(Neighbour(label, 0.0) for label in vocabulary.others)
        )
    nearest = [one.label for one in ranking[: level.neighbours]]
    seed = shop.recipe.seed
    others = _kept(shop, level, nearest)
    beside = _beside(shop, level, nearest)
    return Questions(
        vocabulary=vocabulary,
        ranking=ranking,
        parts={
            "concept": _drawn("", plain[: level.plain], level.plain_seeds, seed, "concept"),
            "kept": _spread(others, level.seeds, seed, "kept"),
            "again": _spread(others, level.seeds, seed, "again"),
            "companions": _spread([pair[:2] for pair in beside], level.companion_seeds, seed, "c"),
            "without": _spread(
                [(label, without) for label, _, without in beside], level.companion_seeds, seed, "c"
            ),
        },
    )


def costs(shop: Workshop) -> dict[str, Cost]:
    """Line -> what its pictures take, told before anything is drawn; empty where none are."""
    questions = questions_of(shop, ranked=False)
    if questions is None:
        return {}
    passes = shop.recipe.steps * (2 if shop.recipe.guidance > 1 else 1)
    made = {}
    for line in LINES:
        asks = {(a.prompt, a.seed) for part in questions.of(line).values() for a in part}
        made[line] = Cost(forwards=passes * len(asks), draws=len(asks), judged=len(asks))
    return made


def ranked_labels(
    painter: Painter, vocabulary: Vocabulary, plain: Sequence[str], names: Sequence[str]
) -> tuple[Neighbour, ...]:
    """Other labels in the wording of the concept's first prompt, nearest first.

    Args:
        painter: of the model whose text encoder says what is near.
        vocabulary: of the judge.
        plain: prompts of the concept, at least one.
        names: what the concept is called in them.
    """

    def vector(prompt: str) -> Tensor:
        condition = painter.text([prompt])
        if _POOLED in condition.tensors:
            return condition.named(_POOLED)[0]
        # The last position has seen all of the text, in each of these encoders.
        return condition.named(TOKENS)[0, -1]

    others = {label: vector(_put(plain[:1], names, label)[0]) for label in vocabulary.others}
    return ranked_by_text(vector(plain[0]), others)


def _kept(shop: Workshop, level: Level, nearest: Sequence[str]) -> list[tuple[str, str]]:
    """Label and prompt of what should have stayed; other things where the judge names none."""
    concept = shop.concept("audited")
    if not nearest:
        count = level.neighbours * level.prompts
        stride = max(1, len(concept.others) // count)
        return [("", prompt) for prompt in concept.others[::stride][:count]]
    names = _names(shop)
    return [
        (label, prompt)
        for n, label in enumerate(nearest)
        for prompt in _turned(_put(concept.prompts, names, label), n)[: level.prompts]
    ]


def _beside(shop: Workshop, level: Level, nearest: Sequence[str]) -> list[tuple[str, str, str]]:
    """Companion, prompt with the concept, and prompt without; none of a style."""
    plan = _plan(shop)
    if plan.kind == "style" or not nearest:
        return []
    return [
        (one.companion, one.prompt, one.without)
        for one in companions(plan.erased[0], nearest[: level.companions])
    ]


def _put(prompts: Sequence[str], names: Sequence[str], label: str) -> list[str]:
    """Prompts of the concept with a label in its place; a plain one where none names it."""
    noun = label.split(",")[0].strip()  # `tench, Tinca tinca` of ImageNet
    put = (
        next((made for name in names if (made := swap(prompt, name, noun)) is not None), None)
        for prompt in prompts
    )
    replaced = list(dict.fromkeys(prompt for prompt in put if prompt is not None))
    return replaced or [f"an image of {noun_phrase(noun)}"]


def _turned(prompts: Sequence[str], by: int) -> list[str]:
    """Begun elsewhere, so that few prompts a label still show every style."""
    at = by % len(prompts)
    return [*prompts[at:], *prompts[:at]]


def _spread(
    prompts: Sequence[tuple[str, str]], count: int, seed: int, name: str
) -> tuple[Ask, ...]:
    return tuple(
        ask for group, prompt in prompts for ask in _drawn(group, [prompt], count, seed, name)
    )


def _drawn(group: str, prompts: Sequence[str], count: int, seed: int, name: str) -> tuple[Ask, ...]:
    """Each prompt by the same seeds."""
    return tuple(
        Ask(group, prompt, derived_seed(seed, "damage", name, n))
        for prompt in prompts
        for n in range(count)
    )


def _plan(shop: Workshop) -> ConceptPlan:
    line = shop.lines["audited"]
    return plan_of(line.checkpoint, line.concept)


def _names(shop: Workshop) -> tuple[str, ...]:
    plan = _plan(shop)
    return (*plan.erased, plan.concept)
