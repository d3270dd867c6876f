"""What measuring a mask, training and looking on the way hold in memory and compute."""

from collections.abc import Iterator
from dataclasses import replace

from erasure.memory_bill import PASSING, Held, Stage, mask_stages, training_stage
from erasure.methods import GradientAscent
from erasure.methods.closed_form.mace import Mace
from erasure.methods.gradient.by_gradient import ByRollout
from pipelines.planning.drawing_stage import drawing_stage
from pipelines.planning.run_sizes import LOOKS, RunSizes


def measuring_stages(sizes: RunSizes) -> Iterator[Stage]:
    """The search of the mask, and the ranking of its scores."""
    saliency = sizes.recipe.saliency
    network = sizes.network(sizes.scope(), saliency.precision)
    own = saliency.loss == "own"
    total = (sizes.own_samples if own else sizes.forget) * saliency.draws
    learned, asked = _passes(sizes) if own else (2 if saliency.loss == "guided" else 1, 0)
    samples = learned * min(saliency.batch_size, -(-total // sizes.planned.processes))
    concepts = len(sizes.recipe.names)
    search, ranked = mask_stages(
        sizes.chosen, network, saliency, samples=samples, concepts=concepts
    )
    search = replace(search, held=(*search.held, *_beside(sizes)))
    recomputed = saliency.checkpointing or saliency.stream
    passes = total * (learned + asked) * saliency.groups
    times = (3 + recomputed) * learned + asked  # a backward pass costs two forward
    flops = total * saliency.groups * times * network.flops
    half, width = saliency.precision != "fp32", 2 if saliency.precision != "fp32" else 4
    rounds = saliency.groups * -(-total // (saliency.batch_size * sizes.planned.processes))
    bus = rounds * 2 * sizes.traversal(network, width) if saliency.stream else 0
    if saliency.groups == 1 and (saliency.offload or saliency.mapped):
        bus += rounds * width * sizes.chosen.covered
    yield search.working(*sizes.shared(passes, flops), half=half, bus=bus)
    yield ranked


def method_stages(sizes: RunSizes) -> Iterator[Stage]:
    """The steps of a training and its looks, or the solving of a closed form."""
    recipe, training = sizes.recipe, sizes.recipe.training
    if training is None:
        yield _solving(sizes)
        return
    each = -(-training.batch_size // sizes.planned.processes)
    learned, asked = _passes(sizes)
    scope = sizes.scope() if sizes.planned.mask is None else "full"
    network = sizes.network(scope, training.precision)
    steps = training_stage(
        sizes.moving,
        network,
        training,
        samples=learned * min(training.micro_batch or each, each),
        frozen="frozen" in recipe.method.needs,
        checkpointing=recipe.checkpointing,
        stream=recipe.stream,
    )
    steps = replace(steps, held=(*steps.held, *_beside(sizes)))
    if getattr(recipe.method, "harden", 0):
        reader = Held("text encoders of the adversary, fp32", 4 * sizes.text_weights())
        steps = replace(steps, held=(*steps.held, reader))
    samples = training.steps * training.batch_size
    recomputed = recipe.checkpointing or recipe.stream
    # A backward pass costs two forward; the computed rule of EraseDiff takes one for either loss.
    back = 2 if getattr(recipe.method, "rule", "") == "computed" else 1
    times = (1 + back * (2 + recomputed)) * learned + asked
    passes, flops = sizes.shared(samples * (learned + asked), samples * times * network.flops)
    bus = 0
    if recipe.stream:  # forward, and again before the gradients are taken
        width = 2 if training.precision == "bf16-weights" else 4
        rounds = training.steps * -(-each // (training.micro_batch or each))
        bus = rounds * (2 * learned + asked) * sizes.traversal(network, width)
    yield steps.working(passes, flops, half=training.precision != "fp32", bus=bus)
    if recipe.until_unseen:
        yield _looking(sizes, steps, training.steps)


def _solving(sizes: RunSizes) -> Stage:
    """A closed form: one weight at a time, results in float64; MACE draws pictures of each concept
    and trains factors before, a picture a step, and looks at all attention maps of each pass."""
    method = sizes.recipe.method
    solved = Held("new weights, fp64", 8 * sizes.chosen.covered, main=True)
    if not isinstance(method, Mace):
        return Stage("solve", (solved, sizes.chosen.mask))
    network = sizes.network(sizes.scope(), "fp32")
    guided = 1 if method.drawing_guidance == 1 else 2
    looked = sizes.network(sizes.scope(), "fp32", attended=True)
    active, with_maps = (
        max(guided * method.pictures * cost.live, cost.saved) for cost in (network, looked)
    )
    weights = 4 * sizes.weights(sizes.planned.checkpoint.architecture.main)
    held = (
        Held("weights, fp32", weights),
        Held("activations", active),
        Held("attention maps", with_maps - active),
        solved,
        Held("base and first stage, fp64", 2 * 8 * sizes.chosen.covered, main=True),
        sizes.chosen.mask,
    )
    concepts, drawn = len(sizes.recipe.names), method.pictures * method.drawing_steps * guided
    passes, flops = drawn + method.steps, (drawn + 3 * method.steps) * looked.flops
    return Stage("solve", held).working(concepts * passes, concepts * flops)


def _looking(sizes: RunSizes, training: Stage, steps: int) -> Stage:
    """Every look of `--until-unseen`, by the network in training; the first process draws."""
    config, drawing = sizes.recipe.unseen, sizes.recipe.grid.drawing
    shown = config.pictures * len(sizes.recipe.names) + config.neighbours
    total = shown * (1 + steps // config.every)
    drawn = drawing_stage(sizes, LOOKS, drawing, min(drawing.batch_size, shown), total, ())
    others = [part for part in training.held if part.what not in PASSING]
    readers = 4 * (sizes.text_weights() + (sizes.weights("vae") if sizes.codec else 0))
    return replace(
        drawn,
        held=(
            *others,
            Held("VAE and text encoders, fp32", readers),
            *(part for part in drawn.held if part.what == "activations"),
            Held("values of the state that is kept", 4 * sizes.moving.selected, main=True),
        ),
    )


def _passes(sizes: RunSizes) -> tuple[int, int]:
    """Count the passes of a forget sample: those with a gradient, and those without."""
    method = sizes.recipe.method
    hardening = getattr(method, "harden", 0)  # a pass forward and back, at three, each step
    twice = 2 if hardening else 1
    if isinstance(method, ByRollout):
        _, learned, asked = method.counted
        asked = asked * twice + int(hardening > 0) + 3 * hardening
        return learned * twice, asked + method.rollout_passes
    learned = twice + int(sizes.retain > 0 or getattr(method, "prior", 0) > 0)
    if isinstance(method, GradientAscent):
        return learned, 0
    two_passes = getattr(method, "kept", "noise") == "base" and sizes.retain
    return learned, twice + int(bool(two_passes)) + 3 * hardening


def _beside(sizes: RunSizes) -> tuple[Held, ...]:
    """The parts that are in memory while another than the main component is trained."""
    checkpoint = sizes.planned.checkpoint
    if sizes.component == checkpoint.architecture.main:
        return ()
    others = sizes.text_weights() - sizes.weights(sizes.component)
    weights = sizes.weights(checkpoint.architecture.main) + others
    return (Held(f"{sizes.main.title} and other text encoders, fp32", 4 * weights),)
