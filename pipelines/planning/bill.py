"""What a run of a recipe will hold in memory, stage by stage, how much it computes and writes."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from erasure.architectures.architecture import Part
from erasure.architectures.building import own_size
from erasure.architectures.text.apart import TOGETHER, stays_apart, text_names
from erasure.architectures.text.clip_towers import CLIP_WINDOW
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.checkpoints.writing.folder import folder_size
from erasure.diffusion.edit import component_of
from erasure.diffusion.encoding import pictures_a_pass
from erasure.lora.layers import has_factors
from erasure.lora.module_mask import module_mask
from erasure.masks.masks import SaliencyMask
from erasure.masks.selection import selected_count
from erasure.memory_bill import (
    PASSING,
    PROCESS,
    Chosen,
    Held,
    Stage,
    chosen_weights,
    mask_stages,
    merging_stage,
    moment_bytes,
    network_parts,
    training_stage,
)
from erasure.methods import GradientAscent, Need
from erasure.methods.gradient.by_gradient import ByRollout
from erasure.pass_costs import PassCost, decoder_cost, encoder_cost, network_cost, text_cost
from eval.pictures.picture_files import is_picture, visible
from pipelines.configs.settings import DrawingConfig, EraseRecipe, PicturesConfig, parse_seeds
from pipelines.run.run_result import grid_prompts
from prompts.concepts.plan import ConceptPlan

DRAW: Final = "draw pictures"
GRID: Final = "draw the grid"
LOOKS: Final = "look for the concept"
MASK: Final = ("find the mask", "rank the weights")
TRAIN: Final = ("train",)


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
class Planner:
    """Makes the bill of a recipe; what it counts once serves other settings of the same run."""

    checkpoint: Checkpoint
    plan: ConceptPlan
    mask: SaliencyMask | None
    """That of a mask file; None where one is still to be made."""
    apart: bool
    """Whether the device has a memory of its own."""
    processes: int = 1

    mask_of: str | None = None
    """The component of which a mask is all that is made; None for a whole run."""

    def bill(self, recipe: EraseRecipe) -> Bill:
        """The whole bill.

        Raises:
            ConfigError: the recipe's scope or seeds are wrong.
        """
        count = _Count(self, recipe)
        return Bill(tuple(count.stages()), count.disk(), tuple(count.notes()), self.apart)

    def drawing(self, recipe: EraseRecipe, config: DrawingConfig, total: int, name: str) -> Stage:
        """The stage that draws `total` pictures of the recipe's size by the whole pipeline."""
        batch = min(config.batch_size, total)
        return _Count(self, recipe)._drawing(name, config, batch, total, ())


class _Count:
    """The numbers of one recipe."""

    def __init__(self, planner: Planner, recipe: EraseRecipe) -> None:
        self.planner, self.recipe = planner, recipe
        described = planner.checkpoint.description
        self.side = recipe.data.size or own_size(planner.checkpoint)[0]
        shape = planner.checkpoint.architecture.latent_shape(described, self.side, self.side)
        self.channels, self.latents = shape[0], shape[1:]
        self.tokens = 1  # a label
        if (encoder := described.components.get("text_encoder")) is not None:
            place = "max_position_embeddings"
            self.tokens = whole_number(encoder, place, "text_encoder", CLIP_WINDOW)
        self.codec = described.components.get("vae")
        self.component = planner.mask_of or component_of(recipe.method, planner.checkpoint)
        self.chosen = _chosen(planner, recipe, self.component)
        self.moving = _moving(planner, recipe, self.chosen, self.component)
        self.measured = planner.mask is None and recipe.mask in ("salient", "inverse")
        needs = mask_needs(recipe) if planner.mask_of is not None else recipe.needs
        pictures = "pictures" in needs
        self.drawn, self.own = (0, 0), (0, 0)
        if pictures:
            sources = recipe.data.forget, recipe.data.retain
            self.drawn = len(recipe.names) * sources[0].drawn, sources[1].drawn
            self.own = _own(sources[0]), _own(sources[1])
        if "anchors" in needs:  # they are forgotten, and kept where the method says so
            anchors = len(recipe.names) * recipe.data.anchors.drawn
            self.drawn = self.drawn[0] + anchors, self.drawn[1]
        self.forget, self.retain = (a + b for a, b in zip(self.drawn, self.own, strict=True))

    def stages(self) -> Iterator[Stage]:
        """Yield the stages of the run in their order."""
        recipe = self.recipe
        if sum(self.drawn):
            pixels = Held("pictures", 3 * self.side**2 * sum(self.drawn), main=True)
            batch = min(recipe.data.drawing.batch_size, max(self.drawn))
            yield self._drawing(DRAW, recipe.data.drawing, batch, sum(self.drawn), (pixels,))
        yield from self._encoding()
        if self.measured:
            yield from self._mask()
        if self.planner.mask_of is not None:
            return
        yield from self._method()
        half = recipe.training is not None and recipe.training.precision == "bf16-weights"
        each = 2 if half else 4
        yield merging_stage(self.chosen, self._stored(), each=each, stream=recipe.stream)
        pairs = self._pairs()
        held = (
            Held("merged, as stored", self._stored(), main=True),
            self.chosen.mask,
        )
        batch = min(recipe.grid.drawing.batch_size, pairs)
        yield self._drawing(GRID, recipe.grid.drawing, batch, 2 * pairs, held)

    def _drawing(
        self,
        name: str,
        config: DrawingConfig,
        batch: int,
        total: int,
        more: tuple[Held, ...],
    ) -> Stage:
        """The whole pipeline; the network's passes come before the decoder's."""
        network, decoder = self._network("full", config.precision), PassCost(0, 0)
        if self.codec is not None:
            decoder = decoder_cost(self.codec, self.latents)
        each, guided = 4 if config.precision == "fp32" else 2, 2 if config.guidance > 1 else 1
        guided = guided if self.planner.checkpoint.architecture.guidance == "true" else 1
        active = batch * max(guided * network.live, decoder.live) * each // 4
        held = (
            *self._drawing_weights(network, config, each),
            Held("activations", active),
            *more,
        )
        passes = total * config.steps * guided
        flops = passes * network.flops + total * decoder.flops
        rounds = -(-total // batch) * config.steps if config.stream else 0
        bus = rounds * self._traversal(network, each)
        return Stage(name, held).working(*self._shared(passes, flops), half=each == 2, bus=bus)

    def _traversal(self, network: PassCost, each: int) -> int:
        """Bytes of all blocks of the main component, which come to the device for a pass."""
        return each * (self._weights(self.planner.checkpoint.architecture.main) - network.loose)

    def _drawing_weights(
        self, network: PassCost, config: DrawingConfig, each: int
    ) -> tuple[Held, ...]:
        """The weights of all that draws; large text encoders have read and are gone by then."""
        checkpoint, kind = self.planner.checkpoint, "fp32" if each == 4 else "bf16"
        main = self._weights(checkpoint.architecture.main)
        apart = stays_apart(checkpoint)
        if not config.stream and not apart:
            weights = each * sum(map(self._weights, checkpoint.components))
            beside = "" if self.codec is None else ", VAE and text encoders"
            return (Held(f"{self._main.title}{beside}, {kind}", weights),)
        parts = network_parts(main, network, each, stream=config.stream)
        if self.codec is None:
            return parts
        others = self._weights("vae") + (0 if apart else self._text_weights())
        what = f"VAE{'' if apart else ' and text encoders'}, {kind}"
        return (*parts, Held(what, each * others))

    def _encoding(self) -> Iterator[Stage]:
        total = self.forget + self.retain
        pixels = Held("pictures", 3 * self.side**2 * total, main=True)
        if total and self.codec is not None:
            cost = encoder_cost(self.codec, (self.side, self.side))
            at_once = min(pictures_a_pass(self.side, self.side), total)
            held = (
                Held("VAE, fp32", 4 * self._weights("vae")),
                Held("activations", at_once * cost.live),
                pixels,
            )
            yield Stage("encode pictures", held).working(total, total * cost.flops)
        yield self._prompts(pixels)

    def _prompts(self, pixels: Held) -> Stage:
        """The text encoders, one after the other."""
        checkpoint = self.planner.checkpoint
        stages = [Stage("encode prompts", (pixels,))]
        for name in text_names(checkpoint):
            part, config = checkpoint.architecture.part(name), self._config(name)
            tokens = self._tokens_of(config)
            cost = text_cost(part, config, tokens)
            held = (
                Held(f"{part.title}, fp32", 4 * self._weights(name)),
                Held("activations", max(1, TOGETHER // tokens) * cost.live),
                pixels,
            )
            stages.append(Stage("encode prompts", held))
        return max(stages, key=lambda stage: stage.device)

    def _tokens_of(self, config: Mapping[str, Any]) -> int:
        """Tokens that a text encoder reads: as many as it has places for, or T5, which has no
        places, as many as the main component is told."""
        places = config.get("max_position_embeddings")
        if isinstance(places, int):
            return places
        family = self.planner.checkpoint.architecture
        main = self._config(family.main)
        with torch.device("meta"):
            _, _, condition = family.sample(
                main, (self.latents[0], self.latents[1]), self._told(wide=False)
            )
        return condition.tokens.shape[1]

    def _text_weights(self) -> int:
        components = self.planner.checkpoint.components
        return sum(self._weights(name) for name in components if name.startswith("text_encoder"))

    def _mask(self) -> Iterator[Stage]:
        saliency = self.recipe.saliency
        network = self._network(self._scope(), saliency.precision)
        total = self.forget * saliency.draws
        each = 2 if saliency.loss == "guided" else 1
        samples = each * min(saliency.batch_size, -(-total // self.planner.processes))
        search, ranked = mask_stages(self.chosen, network, saliency, samples=samples)
        search = replace(search, held=(*search.held, *self._beside()))
        recomputed = saliency.checkpointing or saliency.stream
        passes = total * each * saliency.groups
        flops = (3 + recomputed) * passes * network.flops  # a backward pass costs two forward
        half, width = saliency.precision != "fp32", 2 if saliency.precision != "fp32" else 4
        rounds = saliency.groups * -(-total // (saliency.batch_size * self.planner.processes))
        bus = rounds * 2 * self._traversal(network, width) if saliency.stream else 0
        if saliency.groups == 1 and (saliency.offload or saliency.mapped):
            bus += rounds * width * self.chosen.covered
        yield search.working(*self._shared(passes, flops), half=half, bus=bus)
        yield ranked

    def _method(self) -> Iterator[Stage]:
        recipe, training = self.recipe, self.recipe.training
        if training is None:  # a closed form: one weight at a time, results in float64
            held = Held("new weights, fp64", 8 * self.chosen.covered, main=True)
            yield Stage("solve", (held, self.chosen.mask))
            return
        each = -(-training.batch_size // self.planner.processes)
        learned, asked = self._passes()
        scope = self._scope() if self.planner.mask is None else "full"
        network = self._network(scope, training.precision)
        steps = training_stage(
            self.moving,
            network,
            training,
            samples=learned * min(training.micro_batch or each, each),
            frozen="frozen" in recipe.method.needs,
            checkpointing=recipe.checkpointing,
            stream=recipe.stream,
        )
        steps = replace(steps, held=(*steps.held, *self._beside()))
        if getattr(recipe.method, "harden", 0):
            reader = Held("text encoders of the adversary, fp32", 4 * self._text_weights())
            steps = replace(steps, held=(*steps.held, reader))
        samples = training.steps * training.batch_size
        recomputed = recipe.checkpointing or recipe.stream
        times = (3 + recomputed) * learned + asked  # a backward pass costs two forward
        passes, flops = self._shared(samples * (learned + asked), samples * times * network.flops)
        bus = 0
        if recipe.stream:  # forward, and again before the gradients are taken
            width = 2 if training.precision == "bf16-weights" else 4
            rounds = training.steps * -(-each // (training.micro_batch or each))
            bus = rounds * (2 * learned + asked) * self._traversal(network, width)
        yield steps.working(passes, flops, half=training.precision != "fp32", bus=bus)
        if recipe.until_unseen:
            yield self._looking(steps, training.steps)

    def _looking(self, training: Stage, steps: int) -> Stage:
        """Every look of `--until-unseen`, by the network in training; the first process draws."""
        config, drawing = self.recipe.unseen, self.recipe.grid.drawing
        shown = config.pictures * len(self.recipe.names) + config.neighbours
        total = shown * (1 + steps // config.every)
        drawn = self._drawing(LOOKS, drawing, min(drawing.batch_size, shown), total, ())
        others = [part for part in training.held if part.what not in PASSING]
        readers = 4 * (self._text_weights() + (self._weights("vae") if self.codec else 0))
        return replace(
            drawn,
            held=(
                *others,
                Held("VAE and text encoders, fp32", readers),
                *(part for part in drawn.held if part.what == "activations"),
                Held("values of the state that is kept", 4 * self.moving.selected, main=True),
            ),
        )

    def _passes(self) -> tuple[int, int]:
        """Count the passes of a forget sample: those with a gradient, and those without."""
        method = self.recipe.method
        hardening = getattr(method, "harden", 0)  # a pass forward and back, at three, each step
        twice = 2 if hardening else 1
        if isinstance(method, ByRollout):  # half of the sampling on average, two passes each
            drawn, learned, asked = method.counted
            asked = asked * twice + int(hardening > 0) + 3 * hardening
            return learned * twice, asked + drawn * method.rollout_steps
        learned = twice + int(self.retain > 0)
        if isinstance(method, GradientAscent):
            return learned, 0
        two_passes = getattr(method, "kept", "noise") == "base" and self.retain
        return learned, twice + int(bool(two_passes)) + 3 * hardening

    def disk(self) -> dict[str, int]:
        """What is written -> bytes."""
        training, height = self.recipe.training, self.latents[0]
        each = 8 * self.channels * height**2  # means and deviations
        latents = each * (self.forget + self.retain)
        pixels = 3 * self.side**2
        states = 0
        if training is not None:
            states = 4 * self.moving.selected + moment_bytes(training, self.moving.selected)
        saliency = self.recipe.saliency
        sums = 4 * self.chosen.covered if self.measured and saliency.mapped else 0
        mask = {
            **({"sums of the mask's gradients, while it is measured": sums} if sums else {}),
            "cache: pictures and latents": pixels * sum(self.drawn) + latents,
            "mask": -(-self.chosen.covered // 8),
        }
        if self.planner.mask_of is not None:
            return mask
        return {
            **mask,
            "states of the training, three while one is written": 3 * states,
            "model": folder_size(self.planner.checkpoint),
            "grid, at most": 2 * self._pairs() * pixels,
        }

    def notes(self) -> Iterator[str]:
        """What was taken for granted."""
        for role in ("forget", "retain"):
            source: PicturesConfig = getattr(self.recipe.data, role)
            if "pictures" in self.recipe.needs and source.dataset and source.limit is None:
                yield (
                    f"how many pictures to {role} {source.dataset} holds is not known before it is "
                    "read, so none of them is counted"
                )
        if sum(self.drawn):
            yield "pictures that the cache already holds are not drawn again"
        if self.recipe.code is not None:
            yield "the passes of a method of your own are taken to be those of salun"

    def _pairs(self) -> int:
        """Pictures of the grid, each before and after."""
        prompts = self.recipe.grid.prompts or grid_prompts(self.planner.plan)
        return len(prompts) * len(parse_seeds(self.recipe.grid.seeds))

    def _shared(self, passes: int, flops: int) -> tuple[int, int]:
        """One process's part."""
        count = self.planner.processes
        return -(-passes // count), -(-flops // count)

    def _network(self, scope: str, precision: str) -> PassCost:
        family = self.planner.checkpoint.architecture
        config, tokens = self._config(family.main), self._told(wide=precision == "fp32")
        return network_cost(family, config, self.latents, tokens=tokens, scope=scope)

    def _told(self, *, wide: bool) -> int:
        """Tokens that the network computes of a prompt, in full precision or not."""
        checkpoint = self.planner.checkpoint
        return checkpoint.architecture.prompt_length(checkpoint.description, self.tokens, wide)

    @property
    def _main(self) -> Part:
        return self.planner.checkpoint.architecture.main_part

    def _config(self, part: str) -> Mapping[str, Any]:
        config = self.planner.checkpoint.description.components[part]
        return config

    def _weights(self, component: str) -> int:
        return sum(w.numel() for w in self.planner.checkpoint.components[component].values())

    def _stored(self) -> int:
        weights = self.planner.checkpoint.components[self.component]
        return sum(weight.nbytes for weight in weights.values())

    def _scope(self) -> str:
        """Which weights of the main component a gradient passes: all where it is another that
        moves."""
        main = self.component == self.planner.checkpoint.architecture.main
        return self.recipe.scope if main else "full"

    def _beside(self) -> tuple[Held, ...]:
        """The parts that are in memory while another than the main component is trained."""
        checkpoint = self.planner.checkpoint
        if self.component == checkpoint.architecture.main:
            return ()
        others = self._text_weights() - self._weights(self.component)
        weights = self._weights(checkpoint.architecture.main) + others
        return (Held(f"{self._main.title} and other text encoders, fp32", 4 * weights),)


def mask_needs(recipe: EraseRecipe) -> frozenset[Need]:
    """What a mask looks at that is made by itself."""
    if recipe.mask not in ("salient", "inverse"):
        return frozenset({"prompts"})
    if recipe.saliency.loss == "own":
        return recipe.method.needs - {"frozen"}
    return frozenset({"pictures"})


def _chosen(planner: Planner, recipe: EraseRecipe, component: str) -> Chosen:
    """What the mask file chooses of a component, or what a mask is expected to: of each parameter
    alike."""
    network = planner.checkpoint.components[component]
    if planner.mask is not None:
        return chosen_weights(network, planner.mask.counts())
    sizes = {
        name: network[name].numel()
        for name in planner.checkpoint.architecture.candidates(network, recipe.scope, component)
    }
    if recipe.mask == "all":
        return chosen_weights(network, sizes)
    share = selected_count(sum(sizes.values()), recipe.density) / sum(sizes.values())
    return chosen_weights(network, {name: round(size * share) for name, size in sizes.items()})


def _moving(planner: Planner, recipe: EraseRecipe, chosen: Chosen, component: str) -> Chosen:
    """What the optimiser has in hand: the selected weights, or the factors that stand for them."""
    how, network = recipe.factors, planner.checkpoint.components[component]
    if how is None or recipe.training is None:
        return chosen
    if planner.mask is not None:
        names, share = list(module_mask(planner.mask, network, how).layers), 1.0
    else:
        family = planner.checkpoint.architecture
        scope = family.candidates(network, recipe.scope, component)
        names = [name for name in scope if has_factors(name, network[name])]
        share = 1.0 if recipe.mask == "all" or how.masked == "dense" else recipe.density
    sizes = [how.numbers(tuple(network[name].shape)) for name in names]
    largest = max(sizes, default=0)
    selected = round(share * sum(sizes))
    return replace(chosen, selected=selected, positions=0, largest=largest, largest_selected=0)


def _own(source: PicturesConfig) -> int:
    """The user's pictures as far as they can be counted before they are read."""
    count = source.limit or 0 if source.dataset else 0
    if source.folder is None or not os.path.isdir(source.folder):
        return count  # a folder that is not there is refused when it is read
    there = sum(map(is_picture, visible(Path(source.folder))))
    return count + min(there, source.limit or there)
