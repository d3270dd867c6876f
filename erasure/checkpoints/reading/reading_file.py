"""Read an original single file: find its family and configs, check it, give it diffusers names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from torch import Tensor

from erasure.architectures.architecture import Architecture, Part
from erasure.architectures.registry import ARCHITECTURES
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.config_limits import require_plausible
from erasure.checkpoints.checks.plain import require_plain
from erasure.checkpoints.checks.quantised import plain_weights, refuse_gguf, refuse_quantised
from erasure.checkpoints.checks.unplaced import note_on_rest, unplaced
from erasure.checkpoints.description import Description
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.facts.given_text import GivenText, texts_of
from erasure.checkpoints.facts.given_vae import GivenVae
from erasure.checkpoints.facts.ldm_config import read_beside
from erasure.checkpoints.facts.level_buffer import BUFFER
from erasure.checkpoints.facts.statements import MARKS, Statement, from_header, from_keys
from erasure.checkpoints.facts.training_kind import SchedulerSource, TrainingKind
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading import embedded
from erasure.checkpoints.reading.checking import require_names, require_no_more, require_shapes
from erasure.checkpoints.reading.published import published_for
from erasure.checkpoints.reading.reading_folder import (
    describe_folder,
    has_component_weights,
    settled,
    take_component,
)
from erasure.checkpoints.reading.recognise import family_of_file
from erasure.checkpoints.reading.vocabulary import with_clip_vocabulary
from erasure.diffusion.schedule import Prediction
from erasure.errors import CONFIG, TEXT_ENCODER_FILE, VAE, CheckpointError
from erasure.storage.tensors.pickles import is_pickle, read_pickle
from erasure.storage.tensors.tensor_file import TensorFile, read_tensors, require_types

_REMEDY: Final = (
    "it is incomplete, fetch it again; or, if its model has sizes of its own, give ",
    CONFIG,
    " with its diffusers configs",
)


def read_single_file(
    path: Path,
    *,
    config: Path | None = None,
    vae: GivenVae | None = None,
    texts: Sequence[GivenText] = (),
    allow_pickle: bool = False,
    prediction: Prediction | None = None,
    alone: bool = False,
) -> Checkpoint:
    """Read a `.safetensors` (or, if allowed, pickled) file in the original layout.

    EMA copies (`model_ema.*`) and buffers are left out; what diffusers has no place for becomes
    `extras`. A component that the file lacks is that of `texts` or of the folder `config`, and of a
    VAE `vae`.

    Args:
        alone: leave such components out instead, to look at the file and at nothing else.

    Raises:
        CheckpointError: damaged, refused, another architecture, weights missing or of other shapes.
    """
    file = _with_prefix(open_file(path, allow_pickle=allow_pickle))
    supposed = describe_folder(config)[1] if config is not None else None
    family = family_of_file(file.tensors, path, supposed, alone=alone)  # first: it names others
    refuse_quantised(file.tensors, file.metadata, str(path), family=family)
    description, kind = _describe(path, file, family, config, prediction)
    if vae is not None and vae.config is not None:
        description = description.having(vae=vae.config)
        require_plausible(description.configs(), str(vae.path))
    description, notes = with_clip_vocabulary(description, family.key, path)
    notes += require_plain(description, family, str(config or path))
    family.check_weights(family.part_of(file.tensors, family.main), description, str(path))
    components: dict[str, Mapping[str, Tensor]] = {}
    sources = {} if config is None else {"config": config}
    extras, more = unplaced(file.tensors, family, path)
    notes += (*more, *kind.notices)
    in_file = {p.component for p in family.parts if family.part_of(file.tensors, p.component)}
    own_texts = texts_of(texts, family, description.components, held=in_file, path=path)
    for part in family.parts:
        if part.component == "vae" and vae is not None:
            components["vae"], remarks = vae.weights(family, description.components["vae"])
            sources["vae"] = vae.path
            notes += remarks
        elif part.component in own_texts:
            sources[part.component], taken = own_texts[part.component]
            components[part.component], beside, remarks = taken
            extras |= beside
            notes += remarks
        elif part.component in in_file:
            weights = family.part_of(file.tensors, part.component)
            exact = part.component == family.main
            taken = _from_file(part, weights, description, path, exact=exact)
            components[part.component], beside, remarks = taken
            extras |= beside
            notes += remarks
        elif _is_missing(part, config):
            notes += (f"{path} has no {part.title}: {part.optional}",)
            description = description.lacking(part.component)
        elif not alone:
            taken = _from_config(part, path, config, allow_pickle=allow_pickle)
            sources[part.component] = config or path
            components[part.component], beside, remarks = taken
            extras |= beside
            notes += remarks
    require_types(path, extras)
    return Checkpoint(
        architecture=family,
        path=path,
        components=components,
        description=description,
        extras=extras,
        provenance=Provenance.from_header(file.metadata, str(path)),
        notes=notes,
        kind=kind,
        in_file=frozenset(in_file),
        sources=sources,
    )


def _from_file(
    part: Part, weights: Mapping[str, Tensor], description: Description, path: Path, *, exact: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    """A component that the file holds, as `take_component` gives it."""
    if part.component not in description.components:
        raise CheckpointError(
            f"{path} holds {part.title}, of which the configs that are given say nothing; give ",
            CONFIG,
            f", a diffusers folder that has its {part.component}",
        )
    wanted = expected_weights(part, description.components[part.component])
    converted, rest = _convert(part, weights, wanted, path, exact=exact)
    title = f"{path}: the {part.title}"
    plain, widened = plain_weights(converted, title)
    extras = {f"{part.prefix}{name}": weight for name, weight in rest.items()}
    return plain, extras, (*widened, *note_on_rest(rest, title))


def _is_missing(part: Part, config: Path | None) -> bool:
    """Whether a component that may be missing is in no place that is read."""
    there = config is not None and has_component_weights(config, part.component)
    return bool(part.optional) and not there


def _from_config(
    part: Part, path: Path, config: Path | None, *, allow_pickle: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    """A component that the file lacks, as `take_component` gives it."""
    title = part.title
    if config is None or not has_component_weights(config, part.component):
        own = TEXT_ENCODER_FILE if part.is_text else VAE if part.component == "vae" else None
        beside = () if own is None else (own, " with one, or ")
        raise CheckpointError(
            f"{path} has no {title}; give ",
            *beside,
            CONFIG,
            f", a diffusers folder of the same model that has the weights of its {title}",
        )
    weights, extras, notes = take_component(config, part, allow_pickle=allow_pickle)
    return weights, extras, (f"{path} has no {title}; that of {config} is used", *notes)


def open_file(path: Path, *, allow_pickle: bool = False) -> TensorFile:
    """The tensors of a single file under the names they are stored with.

    Raises:
        CheckpointError: it is damaged, or refused for what it is.
    """
    if path.is_file():
        refuse_gguf(path)
    if path.is_file() and is_pickle(path):
        return read_pickle(path, allowed=allow_pickle)
    return read_tensors(path)


def _describe(
    path: Path,
    file: TensorFile,
    family: Architecture,
    config: Path | None,
    prediction: Prediction | None,
) -> tuple[Description, TrainingKind]:
    statements = _statements(path, file)
    if config is not None:
        description, theirs = describe_folder(config)
        if theirs is not family:
            raise CheckpointError(
                f"{path} is {family.title}, but config {config} is {theirs.title}; "
                "give the folder of the same model"
            )
        name, own, guess = f"the config {config.name}", False, ""
    else:
        components = [part.component for part in family.parts if not part.optional]
        embedded_description = embedded.from_header(file.metadata, str(path), components)
        name, own, guess = "the configs in its header", embedded_description is not None, ""
        if embedded_description is not None:
            description = embedded_description
        else:
            name = f"the published config of {family.title}, as the file does not say"
            description, guess = published_for(family, file.tensors, statements, prediction)
    source = SchedulerSource(
        config=description.scheduler,
        model_index=description.model_index,
        name=name,
        own=own,
        fallback=config is None and not own,
        guess=guess,
    )
    buffer = file.tensors.get(BUFFER)
    return settled(
        description,
        family.settle,
        source,
        statements,
        str(path),
        prediction=prediction,
        buffer=buffer,
    )


def _statements(path: Path, file: TensorFile) -> list[Statement]:
    """What the file says of how it was trained, but for the configs in its header."""
    spoken = from_keys(file.tensors, str(path)) + from_header(file.metadata, str(path))
    neighbour = read_beside(path)
    return spoken if neighbour is None else [*spoken, neighbour]


def _convert(
    part: Part,
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: Path,
    *,
    exact: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """diffusers weights, and what is left over of the original ones; nothing may be if `exact`."""
    weights = part.tidy_original(weights)
    names = part.to_original(wanted)
    require_names(
        {f"{part.prefix}{name}" for name in weights},
        [f"{part.prefix}{name}" for name in names],
        str(path),
        remedy=_REMEDY,
    )
    if exact:
        require_no_more(weights, names, str(path))
    rest = {name: w for name, w in weights.items() if name not in names}
    converted = part.to_diffusers({name: weights[name] for name in names})
    require_shapes(converted, wanted, str(path))
    extras = {n: w for n, w in rest.items() if not n.endswith("position_ids")}
    return converted, extras


def _with_prefix(file: TensorFile) -> TensorFile:
    """A file that holds a main component alone, as ComfyUI and diffusers write it, under the names
    of a whole single file; any other file as it is."""
    marks = {name: mark for name, mark in file.tensors.items() if name in MARKS}
    named = {name: weight for name, weight in file.tensors.items() if name not in MARKS}
    for part in dict.fromkeys(family.main_part for family in ARCHITECTURES.values()):
        if _holds(named, part.signs_diffusers):
            named = part.to_original(named)
        elif not _holds(named, part.signs_original):
            continue
        prefixed = {f"{part.prefix}{name}": weight for name, weight in named.items()}
        return replace(file, tensors={**prefixed, **marks})
    return file


def _holds(names: Collection[str], wanted: Collection[str]) -> bool:
    return bool(wanted) and all(name in names for name in wanted)
