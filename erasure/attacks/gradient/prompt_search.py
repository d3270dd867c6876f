"""What the attacks that search for words share: rounds of steps, then attempts with the text."""

# P prompts, k open places.

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from erasure.attacks import trials
from erasure.attacks.payload import Attempt, Case, Cost, Payload
from erasure.attacks.protocol import Access, Need
from erasure.attacks.search.goals import Pictures
from erasure.attacks.search.problem import Found, Goal, PromptProblem, Search
from erasure.attacks.search.slots import OPEN, Slots, slots_of
from erasure.attacks.search.vocabulary import Pieces, Vocabulary, vocabulary_of
from erasure.attacks.target import Ledger, Target
from erasure.seeds import derived_seed
from erasure.setting_checks import require_choice, require_counts, require_not_negative


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSearch(ABC):
    """Settings of a search for words, and how its findings become attempts.

    The texts of several prompts are searched in the same passes. After each round the words are
    written into a prompt, which is drawn as text: whether the tokenizer cuts it into the words that
    were searched is noted with it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    access: ClassVar[Access]
    replaces: ClassVar[bool]
    """Whether the words stand in the prompt's place, and not before it."""
    asks_base: ClassVar[bool] = False
    sees_pictures: ClassVar[bool] = True

    tokens: int = 3
    """k, words that are searched for."""
    rounds: int = 10
    """Times that the text is drawn; in each, pictures have another noise level."""
    steps: int = 40
    """Steps a round."""
    batch_size: int = 1
    """Pictures a step and prompt."""
    prompts: int = 6
    """P, most different prompts that are searched; cases of others borrow the words in turn."""
    pieces: Pieces = "words"
    """`words` are cut again into themselves; `all` takes every piece, as released."""
    avoid: bool = True
    """Leave out the concept's own names."""

    def __post_init__(self) -> None:
        require_counts(self, "rounds", "steps", "batch_size", "prompts")
        require_not_negative(self, "tokens")
        require_choice(self, "pieces", "words", "all")

    @abstractmethod
    def search(self) -> Search:
        """How it looks for words."""

    @abstractmethod
    def goal(self, target: Target, ledger: Ledger, slots: Slots, prompts: list[str]) -> Goal:
        """What the words are to do."""

    def estimate(self, target: Target, /) -> Cost:
        """The steps, the comparisons and the drawings."""
        if target.budget.draws == 0:
            return trials.drawing_cost(target, 0)
        count = len(self._searched(target))
        rounds = self._rounds(target, count)
        drawing = trials.drawing_cost(target, rounds * len(trials.cases_within(target, rounds)))
        if not self.sees_pictures:
            return drawing
        reached = trials.turns_within(target, rounds)
        steps = reached * self.steps * count * self.batch_size
        compared = reached * self._compared_at(count)
        asked = 2 if self.asks_base else 1
        seen = len(target.pictures or ())
        return drawing + Cost(forwards=asked * (steps + compared), backwards=steps, pictures=seen)

    def _searched(self, target: Target) -> list[str]:
        return list(dict.fromkeys(case.prompt for case in target.cases))[: self.prompts]

    def _rounds(self, target: Target, count: int) -> int:
        """How many rounds the budget of passes allows."""
        if not self.sees_pictures or target.budget.passes is None:
            return self.rounds
        asked = 2 if self.asks_base else 1
        one = self.steps * count * self.batch_size * (asked + 2) + asked * self._compared_at(count)
        return min(self.rounds, target.budget.passes // one)

    def _compared_at(self, count: int) -> int:
        """Samples by which the words of all prompts are compared after a round."""
        return count * max(self.batch_size, self.rounds)

    @trials.within_budget
    def run(self, target: Target, /) -> Iterator[Attempt]:
        """The first round of all cases first."""
        ledger, prompts = Ledger(), self._searched(target)
        if self.sees_pictures:
            ledger.pictures += len(target.pictures or ())
        names = target.concept.called if self.avoid else ()
        words = vocabulary_of(target.text, pieces=self.pieces, without=names)
        templates = [OPEN if self.replaces else f"{OPEN} {prompt}" for prompt in prompts]
        slots = slots_of(target.text, templates, self.tokens, words, size=target.size)
        goal = self.goal(target, ledger, slots, prompts)
        problem = PromptProblem(slots, words, goal, target.device)
        steps = self._rounds(target, len(prompts)) * self.steps
        seed = derived_seed(target.seed, self.name)
        for state in self.search().run(problem, len(prompts), self.tokens, steps, seed):
            if self.sees_pictures:
                ledger.backwards += len(prompts) * self.batch_size
            if state.step % self.steps == 0:
                scores = self._compared(problem, state)
                yield from self._drawn(target, words, state, scores, ledger)

    def _compared(self, problem: PromptProblem, state: Found) -> list[float]:
        """The loss of each prompt's words on the same samples in every round."""
        which = torch.arange(len(state.words))
        with torch.no_grad():
            condition = problem.slots.filled(problem.vocabulary, state.words, which)
            condition = condition.to(problem.device, torch.float32)
            scores: list[float] = problem.goal(condition, which, -1).tolist()
        return scores

    def _drawn(
        self,
        target: Target,
        words: Vocabulary,
        state: Found,
        scores: list[float],
        ledger: Ledger,
    ) -> Iterator[Attempt]:
        searched = self._searched(target)
        payloads: dict[str, Payload] = {}
        borrowers, arm = 0, f"{state.step} steps"
        for case in trials.cases_within(target, self._rounds(target, len(searched))):
            if case.prompt in searched:
                row = searched.index(case.prompt)
            else:
                row, borrowers = borrowers % len(searched), borrowers + 1
            if case.prompt not in payloads:
                payloads[case.prompt] = self._payload(case, words, state, row)
            yield Attempt(
                case=case,
                payload=payloads[case.prompt],
                arm=arm,
                seed=trials.own_seed(target, self.name, case, arm),
                cost=ledger.since(),
                score=scores[row],
            )

    def _payload(self, case: Case, words: Vocabulary, state: Found, row: int) -> Payload:
        chosen = state.words[row].tolist()
        text = words.text(chosen)
        prompt = text if self.replaces else f"{text} {case.prompt}".strip()
        replay = {
            "step": state.step,
            "words": text,
            "pieces": words.ids[chosen].tolist() if chosen else [],
            "comes back": words.comes_back(chosen, prompt),
        }
        return Payload(prompt=prompt, replay=replay)

    def pictures(self, target: Target) -> Pictures:
        """Noisy pictures of the concept, from clean to noisy over the rounds.

        Raises:
            ConfigError: there is no picture.
        """
        pictures = trials.pictures_of(target)
        times = tuple(target.time((n + 0.5) / self.rounds) for n in range(self.rounds))
        return Pictures(
            pictures.mean,
            pictures.std,
            target.schedule,
            derived_seed(target.seed, self.name, "pictures"),
            target.device,
            times,
            self.steps,
            self.batch_size,
        )
