"""Asking a model that is told a class by its number: each prompt is the name of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure.errors import ConfigError, way
from prompts.compositions import Composition
from prompts.concepts.plan import ConceptPlan
from prompts.wordings.known import Phrase


@dataclass(frozen=True, slots=True)
class ByClass:
    """The classes of a plan."""

    plan: ConceptPlan

    def plain(self) -> tuple[str, ...]:
        """Name the class that was erased."""
        return self.plan.forget

    def phrases(self, tables: Sequence[str]) -> tuple[Phrase, ...]:
        """Give none: a class is told by its number, whatever it is called.

        Raises:
            ConfigError: there are tables.
        """
        if tables:
            raise ConfigError(
                way("wordings"),
                f" names {tables[0]}, a table of prompts, and this model is told a class and reads "
                "none; leave it out",
            )
        return ()

    def others(self) -> tuple[str, ...]:
        """Name every class that is retained."""
        return self.plan.retain

    def instead(self, label: str) -> list[str]:
        """Name the retained class that a judge calls so, in any case; of several names that are
        separated by commas, as ImageNet has them, each is one."""
        wanted = _spellings(label)
        return [name for name in self.plan.retain if wanted & _spellings(name)][:1]

    def beside(self, labels: Sequence[str]) -> tuple[Composition, ...]:
        """Give none: it is told one class a picture."""
        return ()

    @property
    def no_beside(self) -> str:
        """Why there is none."""
        return "the model is told one class a picture, and nothing beside it"


def _spellings(name: str) -> set[str]:
    lowered = name.lower()
    return {lowered, *(part.strip() for part in lowered.split(","))}
