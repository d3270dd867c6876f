"""The pictures of one erasure: drawn by the checkpoint, from a folder, from a data set.

Where several processes share the run, all of them draw and the first does the rest.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from erasure.architectures.building import own_size
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.data.concept_data import ConceptData
from erasure.diffusion.data.encoding import encode_concept
from erasure.diffusion.data.prompted import AnchorPixels, PromptedPixels, PromptLists, Pull
from erasure.diffusion.data.shuffling import shuffled
from erasure.errors import ConfigError, Way
from erasure.methods import Need
from erasure.seeds import derived_seed
from erasure.storage.cache import TensorCache
from erasure.work import Tally
from pipelines.configs.settings import DataConfig, PicturesConfig
from pipelines.data.drawn_pictures import DrawnPictures
from pipelines.data.own_pictures import Role, mixed_said, own_pictures
from pipelines.data.prompt_checks import warn_of_prompts
from pipelines.process.processes import Processes
from pipelines.process.progress import Reporter
from pipelines.run.memory import enough_memory, of_encoding
from prompts.concepts.plan import ConceptPlan

_log = logging.getLogger(__name__)

MOST_PROMPTS: Final = 1024
"""Most prompts of either list, for methods that work with prompts: 240 MB of features at Stable
Diffusion 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Makes the data of one erasure."""

    checkpoint: Checkpoint
    plan: ConceptPlan
    config: DataConfig
    seed: int
    device: torch.device
    cache: TensorCache
    """Only the first process reads and writes it."""
    team: Processes
    reporter: Reporter
    needs: frozenset[Need] = frozenset({"pictures"})
    """What to make: pictures, the concept's prompts, or both."""
    retains: bool = True
    """Whether pictures to keep are looked at, where pictures are made."""
    tally: Tally = field(default_factory=Tally)
    """Counts what drawing the pictures takes, whether they were in the cache or not."""
    resumes: bool = False
    """Whether the command has `--resume`, which an answer to too little memory then names."""

    def gather(self) -> ConceptData:
        """Draw or read all pictures of the plan and encode them; the same in all processes.

        Raises:
            ConfigError: a source has no picture, or one that cannot be read.
            OutOfMemoryError: drawing or encoding needs less.
            TrainingError: the model draws one colour alone or what is not finite, or another
                process is gone.
        """
        anchors = self._anchors() if "anchors" in self.needs else None
        if "pictures" not in self.needs:
            return self.team.agreed(lambda: self._encoded(None, None, anchors))
        forget_source, retain_source = self.config.forget, self.config.retain
        # The user's own first: what is wrong with them is told before any picture is drawn.
        own = self._own("forget", forget_source)
        retained = self._own("retain", retain_source) if self.retains else []
        refuse_erased(retained, self.plan)
        captions = [text for part in (*own, *retained) for text in part.prompts]
        if captions:
            warn_of_prompts("captions", captions, self.checkpoint)
        if self.team.first:
            self.reporter.tell(mixed_said("forget", forget_source, own))
            self.reporter.tell(mixed_said("retain", retain_source, retained))
        forget = _joined([*self._drawn_of_each(forget_source.drawn), *own])
        if forget is None and self.team.first:
            raise ConfigError(
                f"data.forget.drawn is {forget_source.drawn}, and there is neither a folder nor a "
                "data set, so no picture shows what is to be forgotten; give ",
                Way("--forget-drawn 64 or --forget-folder", "data.forget.drawn = 64 or a folder"),
            )
        count = retain_source.drawn if self.retains else 0
        retain = _joined([*self._drawn("retain", self.plan.retain, count), *retained])
        return self.team.agreed(lambda: self._encoded(forget, retain, anchors))

    def _encoded(
        self,
        forget: PromptedPixels | None,
        retain: PromptedPixels | None,
        anchors: AnchorPixels | None,
    ) -> ConceptData:
        replacement = dict(self.plan.replacement)
        for prompt in forget.prompts if forget else ():  # those of the user's own pictures
            part = self.plan.each[self.plan.owner(prompt)]
            replacement.setdefault(prompt, next(iter(part.replacement.values())))
        for row in self.plan.rows:
            replacement.setdefault(row.target, (row.neutral,))
        prompts = self._prompts() if "prompts" in self.needs else None
        less = of_encoding(self._size, resumes=self.resumes)
        shown = sum(len(part.pixels) for part in (forget, anchors and anchors.drawn) if part)
        stage = "encode pictures" if shown else "encode prompts"
        with (
            self.reporter.stage(stage, shown or len(self.plan.forget)),
            enough_memory("encoding pictures", less, self.device),
        ):
            return encode_concept(
                self.checkpoint,
                forget,
                replacement,
                retain,
                prompts=prompts,
                anchors=anchors,
                owners=self._owners(forget),
                size=self.config.size,
                device=self.device,
                cache=self.cache,
            )

    def _prompts(self) -> PromptLists:
        """The concept's prompts; of long lists, as many as `MOST_PROMPTS`, drawn by the seed.

        Rows of a trainer's file stand in the place of the prompts to forget.
        """
        each = self.plan.each
        lists = [
            self._chosen("forget", part.forget, MOST_PROMPTS // len(each), *number)
            for part, number in zip(each, self._numbers, strict=True)
        ]
        retain = self._chosen("retain", self.plan.retain, MOST_PROMPTS)
        if self.plan.rows:
            pulls = [
                Pull(row.positive, row.unconditional, row.neutral, row.strength, row.weight)
                for row in self.plan.rows
            ]
            return PromptLists([row.target for row in self.plan.rows], retain, pulls=pulls)
        forget = [prompt for chosen in lists for prompt in chosen]
        numbers = [n for n, chosen in enumerate(lists) for _ in chosen] if self.plan.parts else ()
        return PromptLists(forget, retain, numbers)

    def _chosen(self, role: Role, prompts: Sequence[str], most: int, *number: int) -> list[str]:
        count = min(len(prompts), most)
        rows = sorted(shuffled(len(prompts), 0, count, self.seed, role, "texts", *number))
        return [prompts[row] for row in rows]

    @property
    def _numbers(self) -> list[tuple[int, ...]]:
        """What makes the draws of each concept its own; nothing where there is a single one."""
        return [(n,) for n in range(len(self.plan.parts))] or [()]

    def _owners(self, forget: PromptedPixels | None) -> dict[str, int] | None:
        """Prompt to forget, or caption of a picture -> which of several concepts it shows."""
        if not self.plan.parts:
            return None
        texts = [*self.plan.forget, *(forget.prompts if forget else ())]
        return {text: self.plan.owner(text) for text in texts}

    @property
    def _size(self) -> int:
        return self.config.size or own_size(self.checkpoint)[0]

    def _own(self, role: Role, source: PicturesConfig) -> list[PromptedPixels]:
        """The user's own pictures, in the first process alone."""
        if not self.team.first:
            return []
        return list(own_pictures(role, source, self.plan, size=self._size, seed=self.seed))

    def _drawn(self, role: Role, prompts: Sequence[str], count: int) -> list[PromptedPixels]:
        """Pictures that the checkpoint draws itself, as the paper does for nudity; they come in the
        first process alone."""
        if not count or not prompts:
            return []
        rows = shuffled(len(prompts), 0, count, self.seed, role, "prompts")
        return self._pictures(role, [prompts[row] for row in rows])

    def _drawn_of_each(self, count: int) -> list[PromptedPixels]:
        """As many pictures of every concept to forget."""
        prompts: list[str] = []
        for part, number in zip(self.plan.each, self._numbers, strict=True):
            rows = shuffled(len(part.forget), 0, count, self.seed, "forget", "prompts", *number)
            prompts += [part.forget[row] for row in rows]
        return self._pictures("forget", prompts) if prompts else []

    def _anchors(self) -> AnchorPixels | None:
        """Pictures of what stands in, and the prompt of the concept that each is for; in the first
        process alone."""
        seed, count = self.seed, self.config.anchors.drawn
        targets: list[str] = []
        for part, number in zip(self.plan.each, self._numbers, strict=True):
            rows = shuffled(len(part.forget), 0, count, seed, "anchors", "prompts", *number)
            targets += [part.forget[row] for row in rows]
        stand_ins = []
        for n, target in enumerate(targets):
            options = self.plan.replacement[target]
            stand_ins.append(options[derived_seed(seed, "anchors", "stand-in", n) % len(options)])
        drawn = _joined(self._pictures("anchors", stand_ins))
        return None if drawn is None else AnchorPixels(drawn, targets)

    def _pictures(self, role: str, prompts: Sequence[str]) -> list[PromptedPixels]:
        """One picture of each prompt, in the first process alone."""
        drawer = DrawnPictures(
            checkpoint=self.checkpoint,
            drawing=self.config.drawing,
            size=self._size,
            seed=self.seed,
            device=self.device,
            cache=self.cache,
            team=self.team,
            reporter=self.reporter,
            tally=self.tally,
            resumes=self.resumes,
        )
        drawn = drawer.of(role, prompts)
        return [] if drawn is None else [drawn]


def refuse_erased(retained: Sequence[PromptedPixels], plan: ConceptPlan) -> None:
    """Look at the captions of pictures to retain; what the model forgot before is told.

    Raises:
        ConfigError: a caption names what is to be forgotten.
    """
    captions = [text for part in retained for text in part.prompts]

    def named(one: ConceptPlan) -> str | None:
        shown = [(text, name) for text in captions if (name := one.shown_in(text))]
        if not shown:
            return None
        (text, name), count = shown[0], f"{len(shown)} of {len(captions)}"
        return f"{count} pictures to retain have captions that name {name!r}, {text[:80]!r} first"

    if said := named(plan):
        raise ConfigError(f"{said}, which is to be forgotten; take these pictures out")
    for one in plan.earlier:
        if said := named(one):
            _log.warning(
                "%s, which this model forgot before, and they will teach it again; take these "
                "pictures out",
                said,
            )


def _joined(parts: Sequence[PromptedPixels]) -> PromptedPixels | None:
    if not parts:
        return None
    pixels = torch.cat([part.pixels for part in parts])
    return PromptedPixels(pixels, [prompt for part in parts for prompt in part.prompts])
