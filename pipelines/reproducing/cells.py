"""From an experiment, a model and the user's options to the recipes of its erasures."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from erasure.architectures.building import own_size
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import CheckpointError, ConfigError
from erasure.local_paths import typed_path
from pipelines.configs.recipe_files import merge
from pipelines.configs.resolving import resolve
from pipelines.configs.settings import EraseRecipe, parse_seeds
from pipelines.evaluation.settings import EvaluateRecipe, resolve_evaluation
from pipelines.reproducing.protocol import Judging, Protocol, Settings, Task
from pipelines.reproducing.settings import DRAWN, ReproduceRecipe, at_most, chosen
from pipelines.run.models import is_canvas
from pipelines.run.preparing import plan_of
from prompts.suites.case import PromptSet
from prompts.suites.i2p import i2p_set
from prompts.suites.suites import load_suite

BASE: Final = "base"
"""Name of the cell in which the model is looked at before anything is erased."""
ERASED: Final = "erased"
JUDGED: Final = "judged"
_DRAWING: Final = {"steps": 50, "guidance": 7.5}
"""How the pictures are drawn that the model learns from; no protocol says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model of an experiment, and how it is looked at."""

    name: str
    task: Task | None
    """None for the model itself."""
    erase: EraseRecipe | None
    evaluate: EvaluateRecipe
    pictures: int
    """How many are drawn to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """An experiment, resolved for a model."""

    recipe: ReproduceRecipe
    protocol: Protocol
    checkpoint: Checkpoint
    out: Path
    tasks: tuple[Task, ...]
    stands_in: bool
    """Whether the embedded checkpoint stands in for the paper's model."""
    size: int | None
    """Pixels a side; None where the stand-in has its own."""
    judges: tuple[str, ...]

    @property
    def drawn(self) -> bool:
        """Whether the model draws the pictures that it learns from."""
        return self.stands_in or DRAWN in (self.protocol.pictures, self.recipe.data)

    @property
    def folder(self) -> Path:
        """Where the cells lie."""
        return self.out / "cells"

    def cells(self) -> Iterator[Cell]:
        """The model itself, then each of its erasures; ConfigError where a setting is wrong."""
        looked = self._evaluation(self.recipe.model, ())
        pictures = self._count(looked)
        yield Cell(name=BASE, task=None, erase=None, evaluate=looked, pictures=pictures)
        for task in self.tasks:
            folder = self.folder / task.name / ERASED
            looked = self._evaluation(str(folder), self._erased(task))
            yield Cell(
                name=task.name,
                task=task,
                erase=self._erasure(task),
                evaluate=looked,
                pictures=pictures,
            )

    def _count(self, recipe: EvaluateRecipe) -> int:
        """Pictures that an evaluation draws; as many of each model."""
        if self.protocol.prompts is not None and not self.stands_in:
            cases = user_prompts(self.recipe).cases
        else:
            seeds = parse_seeds(recipe.seeds) if recipe.seeds else None
            cases = load_suite(recipe.suite, seeds=seeds, samples=recipe.samples).cases
        return at_most(sum(1 for _ in cases), self.recipe.limit)

    def _erased(self, task: Task) -> tuple[str, ...]:
        return () if task.kind == "nudity" and not self.stands_in else (task.concept,)

    def _erasure(self, task: Task) -> EraseRecipe:
        tables: dict[str, Any] = {
            "model": self.recipe.model,
            "concept": task.concept,
            "seed": self.recipe.seed,
            **self.recipe.model_options(),
        }
        if self.recipe.cache is not None:
            tables["cache"] = self.recipe.cache
        tables = merge(tables, self._stand_in(task) if self.stands_in else self._protocol(task))
        if (micro := self.recipe.micro_batch) is not None:
            mask = min(micro, self.protocol.erase["saliency.batch_size"].value)
            smaller = {"method": {"micro_batch": micro}, "saliency": {"batch_size": mask}}
            tables = merge(tables, smaller)
        resolved = resolve(
            tables,
            canvas=is_canvas(self.checkpoint),
            scopes=self.checkpoint.architecture.scope_defaults,
        )
        shown = plan_of(resolved, self.checkpoint).forget[0]
        # The grid of a run is no part of a protocol: one pair of pictures tells what was erased.
        return replace(resolved, grid=replace(resolved.grid, prompts=(shown,), seeds="0"))

    def _protocol(self, task: Task) -> dict[str, Any]:
        """The tables of the protocol itself."""
        tables = nested(self.protocol.erase)
        forget, retain = (at_most(n, self.recipe.limit) for n in (task.forget, task.retain))
        batch = self.protocol.erase["method.batch_size"].value
        steps = self.protocol.epochs.value * -(-forget // batch)
        data: dict[str, Any] = {"size": self.size, "words": self.protocol.words}
        return merge(
            tables,
            {
                "method": {"steps": steps},
                "data": merge(data, self._pictures(task, forget, retain)),
            },
        )

    def _pictures(self, task: Task, forget: int, retain: int) -> dict[str, Any]:
        if self.drawn:
            return {
                "forget": {"drawn": forget},
                "retain": {"drawn": retain},
                "drawing": {**_DRAWING, "batch_size": self.recipe.batch_size},
            }
        if self.protocol.pictures == "unlearncanvas":
            folder = self.out / "pictures" / task.name
            return {
                role: {"drawn": 0, "folder": str(folder / role)} for role in ("forget", "retain")
            }
        assert self.protocol.dataset is not None
        name, config = self.protocol.dataset.value
        source = {"dataset": name, "dataset_config": config}
        if self.recipe.data is not None:
            source = {"dataset": self.recipe.data}
        return {
            "forget": {"drawn": 0, "limit": forget, **source},
            "retain": {"drawn": 0, "limit": retain, **source},
        }

    def _stand_in(self, task: Task) -> dict[str, Any]:
        """The embedded checkpoint's own settings; of the protocol's, density and method."""
        tables: dict[str, Any] = {"density": self.protocol.erase["density"].value}
        limit = self.recipe.limit
        if limit is None:
            return tables
        own = resolve({"concept": task.concept}, canvas=True)
        assert own.training is not None
        return merge(
            tables,
            {
                "method": {
                    "steps": min(own.training.steps, limit),
                    "warmup": min(own.training.warmup, limit // 4),
                },
                "data": {
                    "forget": {"drawn": min(own.data.forget.drawn, limit)},
                    "retain": {"drawn": min(own.data.retain.drawn, limit)},
                },
            },
        )

    def _evaluation(self, model: str, erased: tuple[str, ...]) -> EvaluateRecipe:
        own = self.recipe.model_options()
        if model != self.recipe.model:  # a folder of ours says all of itself
            own = {"device": self.recipe.device}
        tables: dict[str, Any] = {
            "model": model,
            "judges": self.judges,
            "limit": self.recipe.limit,
            **own,
        }
        if erased:
            tables["erased"] = erased
        if self.stands_in:
            tables["suite"] = "canvas"
        else:
            tables |= {key: one.value for key, one in self.protocol.evaluate.items()}
            tables |= {"size": self.size, "batch_size": self.recipe.batch_size}
            if self.recipe.samples is not None:
                tables["samples"] = self.recipe.samples
            if self.protocol.prompts is not None:
                tables["prompts"] = str(prompt_file(self.out))
        return resolve_evaluation({k: v for k, v in tables.items() if v is not None})


def user_prompts(recipe: ReproduceRecipe) -> PromptSet:
    """The prompts of the user's copy of I2P, or of the hub's; PromptError where there are none."""
    return i2p_set(None if recipe.prompts is None else typed_path(recipe.prompts))


def prompt_file(out: Path) -> Path:
    """The prompts of the user's file, as the protocol draws them."""
    return out / "prompts.csv"


def set_up(recipe: ReproduceRecipe, checkpoint: Checkpoint, out: Path) -> Setup:
    """Fit an experiment to a model.

    Raises:
        CheckpointError: the model is of a kind that the protocol cannot be run on.
        ConfigError: `only` names what is not erased, a judge or the pictures are missing.
    """
    protocol, stands_in = recipe.protocol, is_canvas(checkpoint)
    _require_kind(protocol, checkpoint)
    tasks = protocol.stand_in.tasks if stands_in else protocol.tasks
    if stands_in:
        for name in ("data", "prompts", "samples"):
            if getattr(recipe, name) is not None:
                raise ConfigError(
                    f"--{name} is {getattr(recipe, name)!r}, and the embedded checkpoint stands in "
                    "with pictures and prompts of its own; leave it out"
                )
        judges = recipe.judges or protocol.stand_in.judges
    else:
        judges = _judges(recipe, protocol.judging)
        if protocol.pictures == "unlearncanvas" and recipe.data is None:
            raise ConfigError(
                f"there is no --data; {protocol.name} learns from the pictures of UnlearnCanvas: "
                "give the folder that holds STYLE/OBJECT/1.jpg, or --data drawn for pictures that "
                "the model draws in their place"
            )
    size = None if stands_in else min(protocol.size.value, max(own_size(checkpoint)))
    return Setup(
        recipe=recipe,
        protocol=protocol,
        checkpoint=checkpoint,
        out=out,
        tasks=chosen(recipe, tasks),
        stands_in=stands_in,
        size=size,
        judges=judges,
    )


def _require_kind(protocol: Protocol, checkpoint: Checkpoint) -> None:
    key = checkpoint.architecture.key
    if checkpoint.classes:
        raise CheckpointError(
            f"the model is told classes by their numbers and reads no text, and {protocol.name} "
            f"is of prompts; give {protocol.model.value.split(',')[0]}, or a model of its kind"
        )
    if checkpoint.architecture.main != "unet":
        raise CheckpointError(
            f"the model is of the kind {key}, and {protocol.name} draws by a sampler that such "
            f"models have not; give {protocol.model.value.split(',')[0]}, or a model of its kind"
        )


def _judges(recipe: ReproduceRecipe, judging: Judging) -> tuple[str, ...]:
    """Those of the user or of the protocol; ConfigError where one is missing."""
    judges = recipe.judges or judging.judges
    covered = {judge.partition("=")[0] for judge in judges if "=" in judge}
    missing = [head for head in judging.heads if head not in covered]
    if missing:
        options = " and ".join(f"--judge {head}=FOLDER" for head in missing)
        raise ConfigError(
            f"there is no judge of {' and of '.join(missing)}; {recipe.experiment} wants "
            f"{judging.wanted}, so give {options}; any image classifier or CLIP of transformers "
            "may stand in, and the result says so"
        )
    return judges


def nested(settings: Settings) -> dict[str, Any]:
    """Dotted keys as tables: `method.alpha` -> `{"method": {"alpha": ...}}`."""
    tables: dict[str, Any] = {}
    for key, one in settings.items():
        *path, last = key.split(".")
        inner: dict[str, Any] = tables
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = one.value
    return tables
