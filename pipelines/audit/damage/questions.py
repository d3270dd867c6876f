"""What is drawn to see what else was lost: the concept, its neighbours, companions, and pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from erasure.attacks import Concept, Cost
from erasure.seeds import derived_seed
from eval.damage.neighbours import Neighbour
from pipelines.audit.asking.asking import asking_of, plan_of
from pipelines.audit.damage.levels import LEVELS, Level, level_name
from pipelines.audit.damage.nearness import ranked_labels
from pipelines.audit.damage.vocabulary import Vocabulary, vocabulary_of
from pipelines.audit.workshop import Workshop

LINES = ("base", "audited")


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture."""

    group: str
    """What it should show beside the concept or in its place; empty where nothing is named."""
    prompt: str
    seed: int


Asks = tuple[Ask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """All pictures of one level, part by part."""

    vocabulary: Vocabulary | None
    ranking: tuple[Neighbour, ...]
    """Other labels by how near the model reads them; empty where the judge names none that can be
    asked for."""
    parts: Mapping[str, tuple[Ask, ...]]
    """`concept`: its plain prompts; `kept`: neighbours, or other things; `companions`: the concept
    and a neighbour; `without`: the neighbour alone by the same seeds; `again`: `kept` by other
    seeds, which the base alone draws."""
    left: Mapping[str, str]
    """Part -> why nothing of it is asked, where nothing is."""

    def of(self, line: str) -> dict[str, tuple[Ask, ...]]:
        """The parts that a line draws."""
        own = set(self.parts) if line == "base" else {"concept", "kept", "companions"}
        return {name: asks for name, asks in self.parts.items() if name in own and asks}


def questions_of(shop: Workshop, *, ranked: bool = True) -> Questions | None:
    """What to draw; None where nothing is to be, or there is no base to compare with.

    Args:
        ranked: whether the neighbours are those that the model reads as the nearest; without, as
            many are in the judge's order, which is enough to count.
    """
    name = level_name(shop.recipe)
    if name == "none" or "base" not in shop.lines:
        return None
    level, line = LEVELS[name], shop.lines["audited"]
    asking = asking_of(plan_of(line.checkpoint, line.concept))
    vocabulary = vocabulary_of(shop.judge("audited"))
    concept = shop.concept("audited")
    plain = concept.prompts
    labels = () if vocabulary is None else vocabulary.others
    asked = {label: prompts for label in labels if (prompts := asking.instead(label))}
    ranking = tuple(Neighbour(label, 0.0) for label in asked)
    if asked and ranked:
        first = {label: prompts[0] for label, prompts in asked.items()}
        ranking = ranked_labels(shop.painter("audited"), line.checkpoint, plain[0], first)
    nearest = [one.label for one in ranking[: level.neighbours]]
    seed = shop.recipe.seed
    others = _others(concept, level, nearest, asked)
    some = plain[: level.plain]
    beside = asking.beside(nearest[: level.companions])
    return Questions(
        vocabulary=vocabulary,
        ranking=ranking,
        parts={
            "concept": _filled("", some, level.plain * level.plain_seeds, seed, "concept"),
            "kept": _kept(others, level, seed, "kept"),
            "again": _kept(others, level, seed, "again"),
            "companions": _spread(
                [(one.companion, one.prompt) for one in beside], level.companion_seeds, seed, "c"
            ),
            "without": _spread(
                [(one.companion, one.without) for one in beside], level.companion_seeds, seed, "c"
            ),
        },
        left={"companions": asking.no_beside},
    )


def costs(shop: Workshop) -> dict[str, Cost]:
    """Line -> what its pictures take, told before anything is drawn; empty where none are."""
    questions = questions_of(shop, ranked=False)
    if questions is None:
        return {}
    family = shop.lines["audited"].checkpoint.architecture
    passes = shop.recipe.steps * family.passes(shop.recipe.guidance)
    made = {}
    for line in LINES:
        asks = {(a.prompt, a.seed) for part in questions.of(line).values() for a in part}
        made[line] = Cost(forwards=passes * len(asks), draws=len(asks), judged=len(asks))
    return made


def _others(
    concept: Concept, level: Level, nearest: Sequence[str], asked: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Label -> prompts of what should have stayed; other things where the judge names none."""
    if not nearest:
        count = level.neighbours * level.prompts
        stride = max(1, len(concept.others) // count)
        return {"": list(concept.others[::stride][:count])}
    return {label: _turned(asked[label], n)[: level.prompts] for n, label in enumerate(nearest)}


def _kept(others: Mapping[str, Sequence[str]], level: Level, seed: int, name: str) -> Asks:
    """Each label by as many pictures."""
    count = level.prompts * level.seeds * (1 if "" not in others else level.neighbours)
    return tuple(
        ask
        for label, prompts in others.items()
        for ask in _filled(label, prompts, count, seed, name)
    )


def _filled(group: str, prompts: Sequence[str], pictures: int, seed: int, name: str) -> Asks:
    """Each prompt by the same seeds, of which few prompts take more, as one class is."""
    return _drawn(group, prompts, pictures // max(1, len(prompts)), seed, name)


def _turned(prompts: Sequence[str], by: int) -> list[str]:
    """Begun elsewhere, so that few prompts a label still show every style."""
    at = by % len(prompts)
    return [*prompts[at:], *prompts[:at]]


def _spread(prompts: Sequence[tuple[str, str]], count: int, seed: int, name: str) -> Asks:
    return tuple(
        ask for group, prompt in prompts for ask in _drawn(group, [prompt], count, seed, name)
    )


def _drawn(group: str, prompts: Sequence[str], count: int, seed: int, name: str) -> Asks:
    """Each prompt by the same seeds."""
    return tuple(
        Ask(group, prompt, derived_seed(seed, "damage", name, n))
        for prompt in prompts
        for n in range(count)
    )
