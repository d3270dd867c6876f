"""What all cells of a benchmark share: the base, its plans, and the resolved recipe of each."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from erasure.checkpoints.checkpoint import Checkpoint
from erasure.errors import ConfigError
from erasure.storage.cache import content_key
from pipelines.audit.asking.asking import plan_of
from pipelines.bench.cell import Place
from pipelines.bench.contents import contents_of, hash_of_code
from pipelines.bench.rows import MODELS, Row, models_of
from pipelines.bench.settings import INTERSECTION, BenchRecipe
from pipelines.configs.recipe import as_tables
from pipelines.configs.resolving import published_text, resolve
from pipelines.configs.settings import EraseRecipe
from pipelines.distances.comparable import require_alike
from pipelines.distances.models import OPTIONS, Role, recorded_fit, require_distinct
from pipelines.distances.records import Holder
from pipelines.evaluation.settings import EvaluateRecipe, resolve_evaluation
from pipelines.jobs.intersected_mask import intersection_said, seeds_of
from pipelines.run.models import config_for, is_canvas, open_by, pick_device, texts_for
from prompts.concepts.plan import ConceptPlan

_PACKAGES: Final = ("diffusion-erasure", "torch", "diffusers", "transformers")
_OPENING: Final = ("config", "vae", "text_encoders", "prediction", "allow_pickle")
_DRAWING: Final = ("steps", "guidance", "size")


@dataclass(frozen=True, eq=False)
class World:
    """The base of a benchmark, opened, and what follows from it."""

    recipe: BenchRecipe
    opened: dict[str, Checkpoint] = field(default_factory=dict)
    """Name -> model that was opened already."""
    plans: dict[str, ConceptPlan] = field(default_factory=dict)
    """Concept -> its plan, made once."""

    @cached_property
    def base(self) -> Checkpoint:
        """The model before any erasure."""
        others = [
            other
            for concept in (*self.recipe.concepts, *self.recipe.tune_on)
            for other in models_of(self.recipe, concept).values()
        ]
        base = open_by(self.recipe, self.recipe.model, others=others)
        return self.opened.setdefault(self.recipe.model, base)

    @cached_property
    def canvas(self) -> bool:
        """Whether the base understands the prompts of the canvas."""
        return is_canvas(self.base)

    @cached_property
    def device(self) -> torch.device:
        """Where all is computed."""
        return pick_device(self.recipe.device)

    @cached_property
    def base_hashes(self) -> dict[str, str]:
        """Component -> hash of the base's weights; they are read once."""
        return dict(self.base.hashes())

    def open(self, model: str) -> Checkpoint:
        """A model by the options of the recipe, opened once."""
        if model not in self.opened:
            self.opened[model] = open_by(self.recipe, model)
        return self.opened[model]

    def plan(self, concept: str) -> ConceptPlan:
        """The concept in the words of the base; PromptError where it does not know it."""
        if concept not in self.plans:
            self.plans[concept] = plan_of(self.base, concept)
        return self.plans[concept]

    def erasure(self, row: Row, concept: str, seed: int) -> EraseRecipe:
        """The whole recipe of a cell's erasure; of an intersection the first measurement's, whose
        mask is to be joined with others.

        Raises:
            ConfigError: the method refuses the mask or a setting.
        """
        tables: dict[str, Any] = {
            "model": self.recipe.model,
            "concept": concept,
            "seed": seed,
            "mask": "salient" if row.mask in ("own", INTERSECTION) else row.mask,
            "device": self.recipe.device,
            "method": dict(row.settings),
            # The grid belongs to a run; the benchmark draws its own pictures.
            "grid": {
                "prompts": [self.plan(concept).forget[0]],
                "seeds": "0",
                "drawing": {"steps": 4},
            },
            **self._opening(),
        }
        if row.code is None:
            tables["method"] = {"name": row.name, **row.settings}
        else:
            tables["code"] = row.code
        if row.mask == "own":
            tables["saliency"] = {"loss": "own"}
        if row.density is not None:
            tables["density"] = row.density
        if self.recipe.cache is not None:
            tables["cache"] = self.recipe.cache
        family = self.base.architecture
        return resolve(
            tables,
            canvas=self.canvas,
            under=self.recipe.erase,
            shared=True,
            scopes=family.scope_defaults,
            guidance=family.own_guidance,
        )

    def evaluation(self, model: str, concept: str, **more: Any) -> EvaluateRecipe:  # noqa: ANN401
        """The recipe of the drawing and judging of a model's pictures."""
        tables: dict[str, Any] = {
            "model": model,
            "suite": self.recipe.suite,
            "prompts": self.recipe.prompts,
            "erased": [concept],
            "limit": self.recipe.limit,
            "judges": self.recipe.judges or None,
            "labels": self.recipe.labels,
            "device": self.recipe.device,
            **self._opening(),
            "config": config_for(model, self.recipe.config),
            "text_encoders": texts_for(model, self.recipe.text_encoders),
            **{name: getattr(self.recipe, name) for name in _DRAWING},
            **more,
        }
        return resolve_evaluation({k: v for k, v in tables.items() if v is not None})

    def key(self, row: Row, concept: str, seed: int) -> str:
        """Hash of all that decides a cell: the base, its recipe, how it is drawn and judged.

        A recipe that cannot be resolved has the hash of its row.
        """
        decides: dict[str, Any] = {
            "base": [self.base_hashes, self.base.description.digest()],
            "concept": concept,
            "row": asdict(row),
            "drawn": as_tables(self.evaluation(self.recipe.model, concept)) | {"model": "model"},
            "neighbours": self.recipe.neighbours,
        }
        decides["drawn"].pop("device")  # it changes rounding alone
        decides["drawn"].pop("text_encoders", None)  # the hashes of the base hold them
        decides["row"].pop("by_density")  # it names the row alone
        if row.kind in MODELS:
            model = self.open(models_of(self.recipe, concept)[row.kind])
            decides["model"] = [model.hashes(), model.description.digest()]
        if row.code is not None:
            decides["row"]["code"] = hash_of_code(row.code)
        if row.kind == "method":
            decides["erased_by"] = self.erased_by(row, concept, seed)
        if self._contents:
            decides["files"] = self._contents
        return content_key(**decides)

    @cached_property
    def _contents(self) -> dict[str, str]:
        """Hashes of what the recipe names by its path alone."""
        return contents_of(self.recipe)

    def erased_by(self, row: Row, concept: str, seed: int) -> str:
        """The recipe of a cell's erasure as others may see it, or why there is none."""
        try:
            recipe = self.erasure(row, concept, seed)
            text = published_text(recipe)
            if row.mask == INTERSECTION:
                return f"# {intersection_said(seeds_of(recipe))}\n{text}"
            return text
        except ConfigError as err:
            return f"seed {seed}: {err}"

    def place(self, row: Row, concept: str, seed: int, root: Path) -> Place:
        """Where a cell lies; rows in which nothing is drawn by chance have one seed."""
        return Place(row, concept, seed, self.key(row, concept, seed), root)

    def _opening(self) -> dict[str, Any]:
        values = {name: getattr(self.recipe, name) for name in _OPENING}
        return {name: value for name, value in values.items() if value}


def require_models(world: World, concept: str) -> tuple[str, ...]:
    """Refuse models that cannot stand beside the base as its retraining, or as another seed of it;
    returns what is taken for granted of them.

    Raises:
        CheckpointError: one is of another recipe, text encoder, tokenizer or VAE, or was trained
            without something else.
        ConfigError: two of them have the same weights.
    """
    opened = {kind: world.open(name) for kind, name in models_of(world.recipe, concept).items()}
    for kind in MODELS[1:]:
        if kind in opened:
            require_alike(opened["base"], opened[kind], f"--{kind}")
    holders: tuple[Holder, ...] = ("base", "retrained", "twin")
    there: dict[Role, Checkpoint] = {one: opened[one] for one in holders if one in opened}
    require_distinct(there, {**OPTIONS, "base": OPTIONS["audited"]})
    return recorded_fit(there, world.plan(concept).erased).notes


def versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return {name: version(name) for name in _PACKAGES}
