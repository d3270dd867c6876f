"""What drawing pictures by the whole pipeline holds in memory and computes."""

from erasure.architectures.text.apart import stays_apart
from erasure.memory_bill import Held, Stage, network_parts
from erasure.pass_costs import PassCost, decoder_cost
from pipelines.configs.settings import DrawingConfig
from pipelines.planning.run_sizes import RunSizes


def drawing_stage(
    sizes: RunSizes,
    name: str,
    config: DrawingConfig,
    batch: int,
    total: int,
    more: tuple[Held, ...],
    *,
    shared: bool = False,
) -> Stage:
    """The whole pipeline; the network's passes come before the decoder's.

    Args:
        batch: pictures at a time.
        total: pictures.
        more: what is held beside.
        shared: whether all processes draw, and not the first alone.
    """
    network, decoder = sizes.network("full", config.precision), PassCost(0, 0)
    if sizes.codec is not None:
        decoder = decoder_cost(sizes.codec, sizes.latents)
    each = 4 if config.precision == "fp32" else 2
    guided = sizes.planned.checkpoint.architecture.passes(config.guidance)
    active = batch * max(guided * network.live, decoder.live) * each // 4
    held = (
        *_drawing_weights(sizes, network, config, each),
        Held("activations", active),
        *more,
    )
    passes = total * config.steps * guided
    flops = passes * network.flops + total * decoder.flops
    rounds = -(-total // batch) * config.steps if config.stream else 0
    bus = rounds * sizes.traversal(network, each)
    if shared:
        passes, flops = sizes.shared(passes, flops)
        bus = -(-bus // sizes.planned.processes)
    return Stage(name, held).working(passes, flops, half=each == 2, bus=bus)


def _drawing_weights(
    sizes: RunSizes, network: PassCost, config: DrawingConfig, each: int
) -> tuple[Held, ...]:
    """The weights of all that draws; large text encoders have read and are gone by then."""
    checkpoint, kind = sizes.planned.checkpoint, "fp32" if each == 4 else "bf16"
    main = sizes.weights(checkpoint.architecture.main)
    apart = stays_apart(checkpoint)
    if not config.stream and not apart:
        weights = each * sum(map(sizes.weights, checkpoint.components))
        beside = "" if sizes.codec is None else ", VAE and text encoders"
        return (Held(f"{sizes.main.title}{beside}, {kind}", weights),)
    parts = network_parts(main, network, each, stream=config.stream)
    if sizes.codec is None:
        return parts
    others = sizes.weights("vae") + (0 if apart else sizes.text_weights())
    what = f"VAE{'' if apart else ' and text encoders'}, {kind}"
    return (*parts, Held(what, each * others))
