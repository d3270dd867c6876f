"""Painters and targets of the lines of an audit, made when they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from erasure.architectures.encoders import Codec
from erasure.attacks import Budget, Case, Concept, Material, Target
from erasure.attacks.opening import parts_of
from erasure.errors import ConfigError
from erasure.storage.bare_names import bare
from erasure.storage.tensors.hashing import weights_hash
from pipelines.audit.asking.asking import cases_of, concept_of, plan_of
from pipelines.audit.drawing import pixels_of
from pipelines.audit.lines import Line, guard_on
from pipelines.audit.made_by import Versions
from pipelines.audit.material import Shown, gather, pictures_given
from pipelines.audit.settings import AuditRecipe
from pipelines.configs.settings import DrawingConfig
from pipelines.drawing.generation import Painter
from pipelines.drawing.guards import Guard
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge, cell_judge
from pipelines.run.models import own_judge

_SMALL: Final = 50_000_000
"""Weights of a main component of which all lines stay in memory; of larger ones the base and one
other."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What attacks and traces see of a concept."""

    concept: Material | None = None
    turned: Material | None = None
    """The same pictures upside down."""
    others: Material | None = None
    """Pictures of other things."""


@dataclass(slots=True)
class Workshop:
    """Everything that the cells of one audit share."""

    recipe: AuditRecipe
    lines: Mapping[str, Line]
    folder: Path
    device: torch.device
    reporter: Reporter
    painters: dict[str, Painter] = field(default_factory=dict)
    concepts: dict[str, Concept] = field(default_factory=dict)
    judges: dict[str, CellJudge] = field(default_factory=dict)
    shown: dict[str, Shown] = field(default_factory=dict)
    hashed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Line -> hash of each of its parts."""
    encoded: dict[object, Encoded] = field(default_factory=dict)
    """Concept and what encodes pictures -> what attacks see."""
    gates: dict[str, object] = field(default_factory=dict)
    """Concept -> its quality gate, or None where there is none; see `damage.gate`."""
    made_by: dict[str, Versions] = field(default_factory=dict)
    """File of what was read or made, relative to the audit -> versions of what made it."""

    def note(self, path: Path, made_by: Versions) -> None:
        """Remember by which packages a file of the audit was made."""
        self.made_by[path.relative_to(self.folder).as_posix()] = made_by

    def painter(self, line: str) -> Painter:
        """The painter of a line; lines of one checkpoint share it."""
        checkpoint = self.lines[line].checkpoint
        key = "audited" if self.lines[line].role == "kept" else line
        if key not in self.painters:
            if self.is_large(line):
                for other in [name for name in self.painters if name != "base"]:
                    del self.painters[other]
            drawing = DrawingConfig(
                steps=self.recipe.steps,
                guidance=self.recipe.guidance,
                batch_size=self.recipe.batch_size,
                stream=self.recipe.stream,
            )
            size, guard = self.recipe.size, self.guard(line)
            painter = Painter(checkpoint, drawing, self.device, size, guard=guard)
            base = self.painters.get("base")
            if base is not None and self.read_alike(line) == self.read_alike("base"):
                painter.read_words_as(base)
            self.painters[key] = painter
        return self.painters[key]

    def is_large(self, line: str) -> bool:
        """Whether the networks of all lines together might not fit into memory."""
        weights = self.lines[line].checkpoint.network.values()
        return sum(weight.numel() for weight in weights) > _SMALL

    def hashes(self, line: str) -> Mapping[str, str]:
        """Part -> `weights_hash` of the line's model, taken once: it reads all weights."""
        key = "audited" if self.lines[line].role == "kept" else line
        if key not in self.hashed:
            parts = self.lines[line].checkpoint.components
            self.hashed[key] = {name: weights_hash(part) for name, part in parts.items()}
        return self.hashed[key]

    def network_hash(self, line: str) -> str | None:
        """That of its network; None where there is no such line."""
        if line not in self.lines:
            return None
        return self.hashes(line)[self.lines[line].checkpoint.architecture.main]

    def read_alike(self, line: str) -> tuple[tuple[str, str], ...]:
        """What lines of equal text encoders and codecs have in common: the hashes of all parts but
        the network."""
        main = self.lines[line].checkpoint.architecture.main
        return tuple(sorted((k, v) for k, v in self.hashes(line).items() if k != main))

    def guard(self, line: str) -> Guard | None:
        """What stands before the drawings of a line."""
        one = self.lines[line]
        return guard_on(self.recipe, one.checkpoint) if one.is_guarded else None

    def guarded(self, line: str) -> dict[str, str]:
        """The guard of a line for a key of what was drawn; empty where there is none."""
        guard = self.guard(line)
        return {} if guard is None else {"guard": guard.described()}

    def concept(self, line: str) -> Concept:
        """In the words of the line's model; a wording is held out where the eraser of the audited
        model is known not to have seen it, on whichever line it is drawn."""
        one = self.lines[line]
        if one.concept not in self.concepts:
            plan = plan_of(one.checkpoint, one.concept)
            trained = plan.forget if _erased_here(self.lines["audited"], one.concept) else ()
            self.concepts[one.concept] = concept_of(self.recipe, plan, trained_on=trained)
        return self.concepts[one.concept]

    def judge(self, line: str) -> CellJudge:
        """The judge of the line's concept.

        Raises:
            ConfigError: none is at hand, or it cannot tell the concept.
        """
        one = self.lines[line]
        if one.concept not in self.judges:
            plan = plan_of(one.checkpoint, one.concept)
            judge = cell_judge(self.recipe, plan, own=own_judge(one.checkpoint))
            if judge is None:
                raise ConfigError(
                    f"no judge is at hand that tells {one.concept!r} in pictures of this model; "
                    "give one by --judge, such as imagenet or the id of a CLIP with --labels"
                )
            self.judges[one.concept] = judge
        return self.judges[one.concept]

    @property
    def drawer(self) -> str:
        """The line that draws pictures of a concept: the base where there is one."""
        return "base" if "base" in self.lines else "audited"

    def pictures_given(self) -> list[tuple[Image.Image, str]]:
        """Those of the recipe's folder, which show what was erased, with their prompts; ConfigError
        where one cannot be read."""
        reads_text = self.lines[self.drawer].checkpoint.classes is None
        concept, painter = self.concept("audited"), self.painter(self.drawer)
        return pictures_given(self.recipe, concept, painter, reads_text=reads_text)

    def material(self, line: str) -> Shown:
        """Pictures of the line's concept, drawn by the base where there is one."""
        one = self.lines[line]
        if one.concept not in self.shown:
            drawer, recipe = self.drawer, self.recipe
            # A folder shows what was erased; the base draws what was kept.
            from_folder = recipe.pictures is not None and one.role != "kept"
            self.shown[one.concept] = gather(
                recipe,
                self.concept(line),
                self.painter(drawer),
                self.judge(line),
                self.folder / "material" / bare(one.concept),
                drawn_by="the base" if drawer == "base" else "the audited model",
                drawn_of={
                    "weights": dict(self.hashes(drawer)),
                    "description": self.lines[drawer].checkpoint.description.digest(),
                    "drawing": [recipe.steps, recipe.guidance, recipe.size, recipe.batch_size],
                    **self.guarded(drawer),
                },
                of_folder=self.pictures_given() if from_folder else None,
                reporter=self.reporter,
                note=self.note,
            )
        return self.shown[one.concept]

    def _understood(self, line: str, shown: Shown | None) -> Concept:
        """The concept with the wordings that the base understands; all of them where nobody looked
        or there is no base."""
        concept = self.concept(line)
        if shown is None or "base" not in self.lines:
            return concept
        pairs = zip(concept.wordings, shown.understood, strict=True)
        return replace(concept, wordings=tuple(one for one, known in pairs if known))

    def cases(self, line: str) -> tuple[Case, ...]:
        """Plain prompts and seeds."""
        return cases_of(self.concept(line).prompts, self.recipe.cases)

    def target(self, line: str, *, gathered: bool = True) -> Target:
        """What an attack sees of a line.

        Args:
            gathered: whether to draw the pictures that attacks are shown; without, it has none.
        """
        painter = self.painter(line)
        default = painter.default
        assert default.width is not None
        assert default.height is not None
        size = (default.height, default.width)
        parts = parts_of(painter.parts, self.lines[line].checkpoint, size)
        shown = self.material(line) if gathered else None
        seen = self._encoded(line, shown, parts.codec) if shown else Encoded()
        base = None
        if line != "base" and "base" in self.lines:
            base = self.target("base", gathered=False)
        target = Target(
            **parts.fields(),
            name=line,
            size=size,
            concept=self._understood(line, shown),
            cases=self.cases(line),
            budget=Budget(self.recipe.draws, self.recipe.passes),
            seed=self.recipe.seed,
            device=self.device,
            steps=self.recipe.steps,
            guidance=self.recipe.guidance,
            draw=partial(pixels_of, painter),
            base=base,
            pictures=seen.concept,
            turned_pictures=seen.turned,
            other_pictures=seen.others,
        )
        if line == "base":
            object.__setattr__(target, "base", target)
        return target

    def _encoded(self, line: str, shown: Shown, codec: Codec) -> Encoded:
        """The pictures of all kinds; encoded once for all attacks and lines of equal codecs."""
        key = self.lines[line].concept, self.read_alike(line)
        if key not in self.encoded:
            kinds = (shown.searched(codec), shown.turned(codec), shown.others(codec))
            self.encoded[key] = Encoded(*kinds)
        return self.encoded[key]


def _erased_here(line: Line, concept: str) -> bool:
    """Whether a record of this package says that the model forgot this concept."""
    made = line.checkpoint.provenance
    return made is not None and concept in made.concepts
