"""What a run of a recipe will hold in memory, stage by stage, how much it computes and writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from erasure.checkpoints.writing.folder import folder_size
from erasure.memory_bill import PROCESS, Held, Stage, merging_stage, moment_bytes
from pipelines.configs.settings import DrawingConfig, EraseRecipe, PicturesConfig
from pipelines.planning.drawing_stage import drawing_stage
from pipelines.planning.encoding_stages import encoding_stages
from pipelines.planning.run_sizes import DRAW, GRID, Planned, RunSizes
from pipelines.planning.training_stages import measuring_stages, method_stages


@dataclass(frozen=True, slots=True)
class Bill:
    """An estimate; the parts are told in docs/memory.md."""

    stages: tuple[Stage, ...]
    disk: Mapping[str, int]
    """What -> bytes."""
    notes: tuple[str, ...]
    """What was taken for granted, a sentence each."""
    apart: bool
    """Whether the device has a memory of its own."""

    def device(self, stage: Stage) -> int | None:
        """Bytes on a device with a memory of its own."""
        return stage.device + PROCESS if self.apart else None

    def main(self, stage: Stage) -> int:
        """Bytes of main memory."""
        return stage.main + PROCESS + (0 if self.apart else stage.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner(Planned):
    """Makes the bill of a recipe; what it counts once serves other settings of the same run."""

    def bill(self, recipe: EraseRecipe) -> Bill:
        """The whole bill.

        Raises:
            ConfigError: the recipe's scope or seeds are wrong.
        """
        sizes = RunSizes(self, recipe)
        return Bill(tuple(_stages(sizes)), _disk(sizes), tuple(_notes(sizes)), self.apart)

    def drawing(self, recipe: EraseRecipe, config: DrawingConfig, total: int, name: str) -> Stage:
        """The stage that draws `total` pictures of the recipe's size by the whole pipeline."""
        batch = min(config.batch_size, total)
        return drawing_stage(RunSizes(self, recipe), name, config, batch, total, (), shared=True)


def _stages(sizes: RunSizes) -> Iterator[Stage]:
    """Yield the stages of the run in their order."""
    recipe = sizes.recipe
    if sum(sizes.drawn):
        pixels = Held("pictures", 3 * sizes.side**2 * sum(sizes.drawn), main=True)
        batch = min(recipe.data.drawing.batch_size, max(sizes.drawn))
        total = sum(sizes.drawn)
        yield drawing_stage(sizes, DRAW, recipe.data.drawing, batch, total, (pixels,), shared=True)
    yield from encoding_stages(sizes)
    if sizes.measured:
        yield from measuring_stages(sizes)
    if sizes.planned.mask_of is not None:
        return
    yield from method_stages(sizes)
    half = recipe.training is not None and recipe.training.precision == "bf16-weights"
    each = 2 if half else 4
    yield merging_stage(sizes.chosen, sizes.stored(), each=each, stream=recipe.stream)
    pairs = sizes.pairs()
    held = (
        Held("merged, as stored", sizes.stored(), main=True),
        sizes.chosen.mask,
    )
    batch = min(recipe.grid.drawing.batch_size, pairs)
    yield drawing_stage(sizes, GRID, recipe.grid.drawing, batch, 2 * pairs, held)


def _disk(sizes: RunSizes) -> dict[str, int]:
    """What is written -> bytes."""
    training, height = sizes.recipe.training, sizes.latents[0]
    each = 8 * sizes.channels * height**2  # means and deviations
    latents = each * (sizes.forget + sizes.retain)
    pixels = 3 * sizes.side**2
    states = 0
    if training is not None:
        states = 4 * sizes.moving.selected + moment_bytes(training, sizes.moving.selected)
    saliency = sizes.recipe.saliency
    sums = 4 * sizes.chosen.covered if sizes.measured and saliency.mapped else 0
    mask = {
        **({"sums of the mask's gradients, while it is measured": sums} if sums else {}),
        "cache: pictures and latents": pixels * sum(sizes.drawn) + latents,
        "mask": -(-sizes.chosen.covered // 8),
    }
    if sizes.planned.mask_of is not None:
        return mask
    return {
        **mask,
        "states of the training, three while one is written": 3 * states,
        "model": folder_size(sizes.planned.checkpoint),
        "grid, at most": 2 * sizes.pairs() * pixels,
    }


def _notes(sizes: RunSizes) -> Iterator[str]:
    """What was taken for granted."""
    for role in ("forget", "retain"):
        source: PicturesConfig = getattr(sizes.recipe.data, role)
        looked = role == "forget" or sizes.recipe.retains
        if looked and "pictures" in sizes.recipe.needs and source.dataset and source.limit is None:
            yield (
                f"how many pictures to {role} {source.dataset} holds is not known before it is "
                "read, so none of them is counted"
            )
    if sum(sizes.drawn):
        yield "pictures that the cache already holds are not drawn again"
    if sizes.recipe.code is not None:
        yield "the passes of a method of your own are taken to be those of salun"
