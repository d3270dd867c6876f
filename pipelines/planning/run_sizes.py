"""The numbers of one run that its bill is made of: weights, pictures, sides, passes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from erasure.architectures.architecture import Part
from erasure.architectures.building import own_size
from erasure.architectures.text.clip_towers import CLIP_WINDOW
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.config_limits import whole_number
from erasure.diffusion.edit import component_of
from erasure.local_paths import typed_path
from erasure.lora.layers import has_factors
from erasure.lora.module_mask import module_mask
from erasure.masks.masks import SaliencyMask
from erasure.masks.selection import selected_count
from erasure.memory_bill import Chosen, chosen_weights
from erasure.methods import Need
from erasure.pass_costs import PassCost, network_cost
from eval.pictures.picture_files import is_picture, visible
from pipelines.configs.settings import EraseRecipe, PicturesConfig, parse_seeds
from pipelines.data.concept_data import MOST_PROMPTS
from pipelines.run.run_result import grid_prompts
from prompts.concepts.plan import ConceptPlan

DRAW: Final = "draw pictures"
GRID: Final = "draw the grid"
LOOKS: Final = "look for the concept"
MASK: Final = ("find the mask", "rank the weights")
TRAIN: Final = ("train",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is run, apart from its recipe."""

    checkpoint: Checkpoint
    plan: ConceptPlan
    mask: SaliencyMask | None
    """That of a mask file; None where one is still to be made."""
    apart: bool
    """Whether the device has a memory of its own."""
    processes: int = 1
    mask_of: str | None = None
    """The component of which a mask is all that is made; None for a whole run."""


class RunSizes:
    """The numbers of one recipe."""

    def __init__(self, planned: Planned, recipe: EraseRecipe) -> None:
        self.planned, self.recipe = planned, recipe
        described = planned.checkpoint.description
        self.side = recipe.data.size or own_size(planned.checkpoint)[0]
        shape = planned.checkpoint.architecture.latent_shape(described, self.side, self.side)
        self.channels, self.latents = shape[0], shape[1:]
        self.tokens = 1  # a label
        if (encoder := described.components.get("text_encoder")) is not None:
            place = "max_position_embeddings"
            self.tokens = whole_number(encoder, place, "text_encoder", CLIP_WINDOW)
        self.codec = described.components.get("vae")
        self.component = planned.mask_of or component_of(recipe.method, planned.checkpoint)
        self.chosen = _chosen(planned, recipe, self.component)
        self.moving = _moving(planned, recipe, self.chosen, self.component)
        self.measured = planned.mask is None and recipe.mask in ("salient", "inverse")
        needs = mask_needs(recipe) if planned.mask_of is not None else recipe.needs
        pictures = "pictures" in needs
        self.drawn, self.own = (0, 0), (0, 0)
        if pictures:
            retain = recipe.data.retain if recipe.retains else PicturesConfig()
            sources = recipe.data.forget, retain
            self.drawn = len(recipe.names) * sources[0].drawn, sources[1].drawn
            self.own = _own(sources[0]), _own(sources[1])
        if "anchors" in needs:  # they are forgotten, and kept where the method says so
            anchors = len(recipe.names) * recipe.data.anchors.drawn
            self.drawn = self.drawn[0] + anchors, self.drawn[1]
        self.forget, self.retain = (a + b for a, b in zip(self.drawn, self.own, strict=True))

    @property
    def own_samples(self) -> int:
        """Samples of the method's own loss that a mask draws once: of its pictures, or of the
        prompts where it learns from these alone."""
        if self.forget:
            return self.forget
        plan = self.planned.plan
        most = MOST_PROMPTS // len(plan.each)
        return len(plan.rows) or sum(min(len(part.forget), most) for part in plan.each)

    def network(self, scope: str, precision: str, *, attended: bool = False) -> PassCost:
        """What a pass of the main component costs, with a gradient of the weights in scope, and
        with the maps of its cross-attention where these are looked at."""
        family = self.planned.checkpoint.architecture
        config, tokens = self.config(family.main), self.prompt_tokens(wide=precision == "fp32")
        return network_cost(
            family, config, self.latents, tokens=tokens, scope=scope, attended=attended
        )

    def prompt_tokens(self, *, wide: bool) -> int:
        """Tokens that the network computes of a prompt, in full precision or not."""
        checkpoint = self.planned.checkpoint
        return checkpoint.architecture.prompt_length(checkpoint.description, self.tokens, wide)

    @property
    def main(self) -> Part:
        """The main component."""
        return self.planned.checkpoint.architecture.main_part

    def config(self, part: str) -> Mapping[str, Any]:
        """The config of a component."""
        config = self.planned.checkpoint.description.components[part]
        return config

    def weights(self, component: str) -> int:
        """How many weights a component has."""
        return sum(w.numel() for w in self.planned.checkpoint.components[component].values())

    def text_weights(self) -> int:
        """How many weights all text encoders have."""
        components = self.planned.checkpoint.components
        return sum(self.weights(name) for name in components if name.startswith("text_encoder"))

    def stored(self) -> int:
        """Bytes of the edited component as it is stored."""
        weights = self.planned.checkpoint.components[self.component]
        return sum(weight.nbytes for weight in weights.values())

    def traversal(self, network: PassCost, each: int) -> int:
        """Bytes of all blocks of the main component, which come to the device for a pass."""
        return each * (self.weights(self.planned.checkpoint.architecture.main) - network.loose)

    def scope(self) -> str:
        """Which weights of the main component a gradient passes: all where it is another that
        moves."""
        main = self.component == self.planned.checkpoint.architecture.main
        return self.recipe.scope if main else "full"

    def shared(self, passes: int, flops: int) -> tuple[int, int]:
        """One process's part."""
        count = self.planned.processes
        return -(-passes // count), -(-flops // count)

    def pairs(self) -> int:
        """Pictures of the grid, each before and after."""
        prompts = self.recipe.grid.prompts or grid_prompts(self.planned.plan)
        return len(prompts) * len(parse_seeds(self.recipe.grid.seeds))


def mask_needs(recipe: EraseRecipe) -> frozenset[Need]:
    """What a mask looks at that is made by itself."""
    if recipe.mask not in ("salient", "inverse"):
        return frozenset({"prompts"})
    if recipe.saliency.loss == "own":
        return recipe.method.needs - {"frozen"}
    return frozenset({"pictures"})


def _chosen(planned: Planned, recipe: EraseRecipe, component: str) -> Chosen:
    """What the mask file chooses of a component, or what a mask is expected to: of each parameter
    alike."""
    network = planned.checkpoint.components[component]
    if planned.mask is not None:
        return chosen_weights(network, planned.mask.counts())
    sizes = {
        name: network[name].numel()
        for name in planned.checkpoint.architecture.candidates(network, recipe.scope, component)
    }
    if recipe.mask == "all":
        return chosen_weights(network, sizes)
    share = selected_count(sum(sizes.values()), recipe.density) / sum(sizes.values())
    return chosen_weights(network, {name: round(size * share) for name, size in sizes.items()})


def _moving(planned: Planned, recipe: EraseRecipe, chosen: Chosen, component: str) -> Chosen:
    """What the optimiser has in hand: the selected weights, or the factors that stand for them."""
    how, network = recipe.factors, planned.checkpoint.components[component]
    if how is None or recipe.training is None:
        return chosen
    if planned.mask is not None:
        names, share = list(module_mask(planned.mask, network, how).layers), 1.0
    else:
        family = planned.checkpoint.architecture
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
    if source.folder is None or not os.path.isdir(folder := typed_path(source.folder)):
        return count  # a folder that is not there is refused when it is read
    there = sum(map(is_picture, visible(folder)))
    return count + min(there, source.limit or there)
