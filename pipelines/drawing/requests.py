"""Pictures that are asked for: what each is to be, which go together, and what they take."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from erasure.architectures.architecture import Architecture
from erasure.attacks.payload import Start
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.diffusion.denoiser import Condition
from erasure.storage.cache import content_key
from erasure.work import Work
from pipelines.configs.settings import DrawingConfig, check_size
from pipelines.drawing.course import Beginning, beginning_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One picture to draw; what is None is the painter's own."""

    prompt: str | Condition
    """Words, or what the model is told in their place: one row, as the checkpoint's text encoder
    makes it. The size of the picture is told with it, whatever size the condition has."""
    seed: int
    guidance: float | None = None
    width: int | None = None
    """Pixels."""
    height: int | None = None
    start: Start | None = None
    """Where to begin in the place of the seed's noise."""
    eta: float | None = None
    """Share of fresh noise a step; 0 for none, 1 for that of DDPM."""


def completed(request: Request, default: Request) -> Request:
    """The request with nothing left open; ConfigError where its size is none that can be drawn."""
    for size in (request.width, request.height):
        check_size(size)
    return replace(
        request,
        guidance=default.guidance if request.guidance is None else request.guidance,
        width=request.width or default.width,
        height=request.height or default.height,
        eta=default.eta if request.eta is None else request.eta,
    )


def shape_of(request: Request) -> tuple[int, int, bool, Beginning]:
    """What the pictures of a batch share: width, height, whether they are guided at all, and how
    they begin.

    A guidance of 1 or less is none, as in diffusers; those above 1 may differ within a batch.
    """
    assert request.guidance is not None
    assert request.width is not None
    assert request.height is not None
    beginning = beginning_of(request.start, request.eta or 0.0)
    return request.width, request.height, request.guidance > 1, beginning


def in_batches(
    items: Iterable[T], key: Callable[[T], Hashable], size: int
) -> Iterator[Sequence[T]]:
    """Cut into batches of `size` items of equal key; which go together depends on `items` alone.

    A batch comes as soon as it is full. Those that never fill come last, in the order of their
    first items.
    """
    waiting: dict[Hashable, list[T]] = {}
    for item in items:
        kind = key(item)
        batch = waiting.setdefault(kind, [])
        batch.append(item)
        if len(batch) == size:
            yield waiting.pop(kind)
    yield from waiting.values()


def work_of(requests: Sequence[Request], config: DrawingConfig, family: Architecture) -> Work:
    """What it takes to draw requests that leave the guidance to the config, each text read once.

    The samplers ask the network once a step, of two samples a picture where it is guided.
    """
    each = family.passes(config.guidance)
    texts = {r.prompt for r in requests if isinstance(r.prompt, str)} | (
        {""} if each > 1 else set()
    )
    passes = len(requests) * config.steps * each
    return Work(forward=passes, text=len(texts), drawn=len(requests))


def key_of_pictures(
    checkpoint: Checkpoint, drawing: DrawingConfig, size: int, requests: Sequence[Request]
) -> str:
    """Key of a cache: all that decides the pictures of plain prompts, `size` pixels a side."""
    return content_key(
        model=checkpoint.hashes(),
        description=checkpoint.description.digest(),
        requests=[[request.prompt, request.seed] for request in requests],
        steps=drawing.steps,
        guidance=drawing.guidance,
        size=size,
        **({} if drawing.precision == "fp32" else {"precision": drawing.precision}),
    )
