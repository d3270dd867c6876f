"""Read a diffusers folder: one, several (sharded) or variant weights files for each component."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from erasure.architectures.architecture import Architecture, Part, Settle
from erasure.checkpoints.checkpoint import Checkpoint
from erasure.checkpoints.checks.containment import entries_of, inside
from erasure.checkpoints.checks.plain import require_plain
from erasure.checkpoints.checks.quantised import plain_weights, refuse_quantised
from erasure.checkpoints.checks.unplaced import beside_components, note_on_rest
from erasure.checkpoints.description import (
    TOKENIZER,
    Description,
    config_file,
    has_component,
    read_config,
    read_description,
    read_model_index,
    shipped_description,
)
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.facts.given_vae import CLASS, GivenVae
from erasure.checkpoints.facts.scheduler import CONFIG_FILE
from erasure.checkpoints.facts.statements import Statement, from_header
from erasure.checkpoints.facts.training_kind import SchedulerSource, TrainingKind
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.checking import require_names, require_no_more, require_shapes
from erasure.checkpoints.reading.recognise import family_of_folder, telling_components
from erasure.checkpoints.reading.vocabulary import with_clip_vocabulary
from erasure.checkpoints.reading.weight_files import has_weights, read_weights
from erasure.diffusion.schedule import Prediction
from erasure.errors import VAE, CheckpointError
from erasure.storage.tensors.tensor_file import TensorFile, read_tensors, require_types

EXTRAS_FILE: Final = "original_extras.safetensors"
"""Weights only the single-file layout has a place for, kept beside the components."""


def weights_file(component: str) -> str:
    """Name of the weights file of `component` as written, inside its folder."""
    return f"{_stem(component)}.safetensors"


def _stem(component: str) -> str:
    """Give the name that transformers gives to its weights, or diffusers to all others."""
    return "model" if component.startswith("text_encoder") else "diffusion_pytorch_model"


def _pickled_stem(component: str) -> str:
    """Give the same of pickled weights."""
    return "pytorch_model" if component.startswith("text_encoder") else _stem(component)


def weights_files(components: Iterable[str]) -> set[str]:
    """Where the weights of components are written, within the folder of a pipeline."""
    return {EXTRAS_FILE} | {f"{n}/{weights_file(n)}" for n in components}


def read_folder(
    path: Path,
    *,
    vae: GivenVae | None = None,
    allow_pickle: bool = False,
    prediction: Prediction | None = None,
) -> Checkpoint:
    """Read a complete pipeline folder; `vae` stands in for its own VAE, which may be missing.

    Args:
        prediction: what its main component predicts, where its scheduler config does not say.

    Raises:
        CheckpointError: it is no pipeline, of another family, incomplete or damaged.
    """
    if not (path / "model_index.json").is_file():
        raise CheckpointError(
            f"{path} is a folder without model_index.json, so no diffusers pipeline; give the "
            "folder that save_pretrained wrote, or a single .safetensors file"
        )
    description, family = describe_folder(path, vae)
    description, notes = with_clip_vocabulary(description, family.key, path)
    notes += require_plain(description, family, str(path))
    components: dict[str, Mapping[str, Tensor]] = {}
    metadata: Mapping[str, str] = {}
    file, extras = inside(path / EXTRAS_FILE, path), dict[str, Tensor]()
    if file.is_file():
        beside = read_tensors(file).tensors
        extras, remarks = beside_components(beside, family, description.components, file)
        notes += remarks
    for part in family.parts:
        if part.component not in description.components:
            notes += (f"{path} has no {part.title}: {part.optional}",)
            continue
        if part.component == "vae" and vae is not None:
            components["vae"], remarks = vae.weights(family, description.components["vae"])
            notes += remarks
            continue
        config = description.components[part.component]
        weight_file = read_component(path, part.component, allow_pickle=allow_pickle)
        components[part.component], more, remarks = _taken(part, weight_file, config, path)
        extras |= more
        notes += remarks
        if part.component == family.main:
            metadata = weight_file.metadata
    require_types(path, extras)
    source = SchedulerSource(
        config=description.scheduler,
        model_index=description.model_index,
        name=f"its {CONFIG_FILE}",
        own=True,
    )
    spoken = from_header(metadata, str(path))
    description, kind = settled(
        description, family.settle, source, spoken, str(path), prediction=prediction
    )
    return Checkpoint(
        architecture=family,
        path=path,
        components=components,
        description=description,
        extras=extras,
        carried=dict(_carried(path, description.model_index, family)),
        provenance=Provenance.from_header(metadata, str(path)),
        notes=(*notes, *kind.notices),
        kind=kind,
        sources={} if vae is None else {"vae": vae.path},
    )


def describe_folder(path: Path, vae: GivenVae | None = None) -> tuple[Description, Architecture]:
    """The configs of a folder, and the family they belong to; the VAE's may come with `vae`."""
    index = read_model_index(path)
    if vae is not None and (vae.config is not None or not has_component(index, "vae")):
        index["vae"] = [CLASS[0], (vae.config or {}).get("_class_name", CLASS[1])]
    telling = {
        name: read_config(path / config_file(name), path)
        for name in telling_components(index)
        if (path / config_file(name)).exists()
    }
    family = family_of_folder(index, telling, path)  # first: it calls others by name
    configs: dict[str, Mapping[str, Any]] = {"model_index": index}
    if vae is not None:
        own = (path / "vae" / "config.json").exists()
        published = {} if own else {"vae": shipped_description(family.key).components["vae"]}
        configs |= published if vae.config is None else {"vae": vae.config}
    parts = [p for p in family.parts if not p.optional or has_component(index, p.component)]
    for part in parts:
        if part.component not in configs and not (path / part.component).is_dir():
            beside = ("give ", VAE, " with one, or ") if part.component == "vae" else ()
            raise CheckpointError(
                f"{path} has no {part.title}, no folder {part.component}; ",
                *beside,
                "fetch the complete model",
            )
    return read_description(path, [part.component for part in parts], configs), family


def has_component_weights(path: Path, component: str) -> bool:
    """Whether the folder of a pipeline has a component's weights, and not its config alone."""
    return has_weights(path / component, _stem(component), _pickled_stem(component))


def take_component(
    path: Path, part: Part, *, allow_pickle: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    """One component of the folder of a pipeline.

    Returns:
        Its weights; what its model has no place for, under original names; and notes.

    Raises:
        CheckpointError: it is missing, damaged, refused or does not fit its config.
    """
    config = read_config(path / part.component / "config.json", path)
    file = read_component(path, part.component, allow_pickle=allow_pickle)
    return _taken(part, file, config, path)


def _taken(
    part: Part, file: TensorFile, config: Mapping[str, Any], path: Path
) -> tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]:
    where = f"{path / part.component}"
    weights, rest = _checked(part, file.tensors, config, where)
    plain, widened = plain_weights(weights, where)
    extras = {f"{part.prefix}{name}": weight for name, weight in rest.items()}
    return plain, extras, (*file.notes, *widened, *note_on_rest(rest, where))


def read_vae_folder(folder: Path, root: Path, *, allow_pickle: bool = False) -> TensorFile:
    """The weights in the folder of a VAE, whatever its name, within a model's folder `root`."""
    return read_weights(
        folder, _stem("vae"), _pickled_stem("vae"), root=root, allow_pickle=allow_pickle
    )


def settled(
    description: Description,
    settle: Settle,
    source: SchedulerSource,
    statements: Sequence[Statement],
    where: str,
    *,
    prediction: Prediction | None = None,
    buffer: Tensor | None = None,
) -> tuple[Description, TrainingKind]:
    """The description with a complete scheduler config, and where that is from.

    Args:
        settle: of the family.

    Raises:
        CheckpointError: as the family's `settle`.
    """
    scheduler, kind = settle(source, statements, where, wanted=prediction, buffer=buffer)
    index = description.model_index
    entry = ["diffusers", scheduler["_class_name"]]
    if index.get("scheduler") != entry and "scheduler" in index:
        index = {**index, "scheduler": entry}
    return replace(description, scheduler=scheduler, model_index=index), kind


def read_component(path: Path, component: str, *, allow_pickle: bool = False) -> TensorFile:
    """The weights of one component, under the names they are stored with.

    Raises:
        CheckpointError: there is no such file, or it is damaged, refused or quantised.
    """
    folder = path / component
    stem, pickled = _stem(component), _pickled_stem(component)
    file = read_weights(folder, stem, pickled, root=path, allow_pickle=allow_pickle)
    refuse_quantised(file.tensors, file.metadata, str(folder), component)
    return file


def _checked(
    part: Part, weights: Mapping[str, Tensor], config: Mapping[str, Any], where: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights the config asks for, under the names used here; and, for a text encoder, what
    else there is, under original names. The other components may hold no more."""
    weights = part.tidy_diffusers(weights)
    wanted = expected_weights(part, config)
    require_names(weights, wanted, where)
    rest = {name: weight for name, weight in weights.items() if name not in wanted}
    if not part.is_text:
        require_no_more(weights, wanted, where)
    require_shapes(weights, wanted, where)
    return {name: weights[name] for name in wanted}, part.to_original(rest) if rest else {}


def _carried(
    path: Path, model_index: Mapping[str, Any], family: Architecture
) -> Iterator[tuple[str, Path]]:
    """Licences, and the components we do not touch. Not other weights beside them: a repository
    often holds the same model once more as a single file, as it was before erasure."""
    for file in entries_of(lambda: path.glob("LICENSE*"), path):
        if file.is_file():
            yield file.name, file
    own = {"scheduler", *(part.component for part in family.parts)}
    for component in model_index:
        words = component.startswith(TOKENIZER)
        if component not in own and not words and not component.startswith("_"):
            yield from _files_of(path / component, path)


def _files_of(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Place in `root` -> file, for all files of a component."""
    if not inside(folder, root).is_dir():
        return
    for file in entries_of(lambda: folder.rglob("*"), root):
        if file.is_file():
            yield file.relative_to(root).as_posix(), file
        elif file.is_symlink() and file.is_dir():
            raise CheckpointError(
                f"{file} is a link to a folder, which is not followed; put the folder in its place"
            )
