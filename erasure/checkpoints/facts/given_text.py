"""Text encoders that a user gives beside a single file without them, as ComfyUI's split sets are.

Which of a family's text encoders a file is, its names and sizes tell; where they leave it open, the
user says it, as `text_encoder_2=FILE`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from erasure.architectures.architecture import Architecture, Part
from erasure.checkpoints.checks.quantised import plain_weights, refuse_quantised
from erasure.checkpoints.checks.unplaced import note_on_rest
from erasure.checkpoints.expected_weights import expected_weights
from erasure.checkpoints.reading.checking import require_names, require_shapes
from erasure.checkpoints.reading.recognise import content_of
from erasure.checkpoints.wording import listed
from erasure.errors import CONFIG, TEXT_ENCODER, CheckpointError
from erasure.storage.tensors.tensor_file import TensorFile

Taken = tuple[dict[str, Tensor], dict[str, Tensor], tuple[str, ...]]
"""diffusers names -> weights; what its model has no place for, under original names; and notes."""
_Configs = Mapping[str, Mapping[str, Any]]
"""Component -> the content of its `config.json`."""


@dataclass(frozen=True, slots=True)
class GivenText:
    """A file of one text encoder, or of a whole checkpoint with several."""

    path: Path
    file: TensorFile
    component: str | None = None
    """Which it is; None where its names and sizes tell."""

    def taken(self, family: Architecture, configs: _Configs) -> dict[str, Taken]:
        """Component -> its weights, of all text encoders that the file holds.

        Args:
            family: whose text encoders it may be.
            configs: what the weights must fit.

        Raises:
            CheckpointError: it is quantised, incomplete, of other shapes or none of the family's,
                or it may be several of them.
        """
        parts = [part for part in family.parts if part.is_text]
        self._require_known(family, parts)
        held = {p.component: family.part_of(self.file.tensors, p.component) for p in parts}
        inside = [part for part in parts if held[part.component]]
        if inside:
            chosen = [p for p in inside if self.component in (None, p.component)]
            if not chosen:
                raise CheckpointError(
                    f"{self.path} has no {self.component}; it holds "
                    f"{listed(part.component for part in inside)}"
                )
            return {p.component: self._one(p, held[p.component], configs) for p in chosen}
        bare = dict(self.file.tensors)
        part = self._part_of(bare, family, parts, configs)
        return {part.component: self._one(part, bare, configs)}

    def _require_known(self, family: Architecture, parts: Sequence[Part]) -> None:
        """Raise CheckpointError where the family has no text encoders, or none of that name."""
        names = [part.component for part in parts]
        if not parts:
            raise CheckpointError(
                f"{family.title} reads no prompts, so the text encoder {self.path} would not be "
                "read; leave ",
                TEXT_ENCODER,
                " out",
            )
        if self.component is not None and self.component not in names:
            raise CheckpointError(f"{family.title} has no {self.component}; it has {listed(names)}")

    def _part_of(
        self,
        bare: Mapping[str, Tensor],
        family: Architecture,
        parts: Sequence[Part],
        configs: _Configs,
    ) -> Part:
        """The text encoder that the weights are, by their names without a prefix."""
        if self.component is not None:
            return family.part(self.component)
        described = [part for part in parts if part.component in configs]
        fitting = [part for part in described if _fits(part, bare, configs)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = [part.component for part in fitting]
            raise CheckpointError(
                f"the text encoder {self.path} can be {' or '.join(names)} of {family.title}, "
                f"which have the same sizes; say which, as {names[0]}={self.path}"
            )
        nearest = max(described, key=lambda part: _share(part, bare, configs), default=None)
        if nearest is not None and _share(nearest, bare, configs):
            return nearest  # what it lacks, or which size is another, is said where it is taken
        unknown = [part.title for part in parts if part not in described]
        if unknown:
            raise CheckpointError(
                f"{self.path} is none of the text encoders that the configs tell of, and they say "
                f"nothing of {listed(unknown)}; if it is that, give ",
                CONFIG,
                ", a diffusers folder of the same model",
            )
        content = content_of(bare) or "no text encoder"
        raise CheckpointError(
            f"{self.path} holds {content}, and not what {family.title} reads prompts with; give "
            f"its {' or its '.join(part.title for part in parts)}"
        )

    def _one(self, part: Part, weights: Mapping[str, Tensor], configs: _Configs) -> Taken:
        """The weights of a text encoder, checked, under the names used here."""
        where = f"{self.path}, read as {part.title},"
        refuse_quantised(weights, self.file.metadata, str(self.path), part.component)
        if part.component not in configs:
            raise CheckpointError(
                f"{self.path} holds {part.title}, of which the configs that are given say "
                "nothing; give ",
                CONFIG,
                f", a diffusers folder that has its {part.component}",
            )
        wanted = expected_weights(part, configs[part.component])
        named, rest = next(
            (split for split in _splits(part, weights, wanted) if split[0].keys() == wanted.keys()),
            ({}, {}),
        )
        if not named:
            tidied = part.tidy_diffusers(weights)
            remedy = (f"give the whole {part.title} of this model",)
            require_names(tidied, wanted, where, remedy=remedy)
        require_shapes(named, wanted, where, remedy=(f"give the {part.title} of this model",))
        plain, widened = plain_weights(named, str(self.path))
        extras = {f"{part.prefix}{name}": weight for name, weight in rest.items()}
        note = f"the {part.title} of {self.path} is used"
        notes = (note, *self.file.notes, *widened, *note_on_rest(rest, str(self.path)))
        return plain, extras, notes


def texts_of(
    files: Sequence[GivenText],
    family: Architecture,
    configs: _Configs,
    *,
    held: Collection[str],
    path: Path,
) -> dict[str, tuple[Path, Taken]]:
    """Component -> the file of a text encoder that a user gave, and its weights.

    Args:
        held: components that the model's own file holds.
        path: of that file.

    Raises:
        CheckpointError: as `GivenText.taken`; or one is given twice, or is in the model's file, so
            that it would not be read.
    """
    taken: dict[str, tuple[Path, Taken]] = {}
    for one in files:
        for component, weights in one.taken(family, configs).items():
            title = family.part(component).title
            if component in held:
                raise CheckpointError(
                    f"{path} holds its own {title}, so that of {one.path} would not be "
                    "read; leave ",
                    TEXT_ENCODER,
                    " out, or give the file of the main component alone",
                )
            if component in taken:
                raise CheckpointError(
                    f"{taken[component][0]} and {one.path} are both the {title} of {family.title}; "
                    "give one of them"
                )
            taken[component] = one.path, weights
    return taken


def _splits(
    part: Part, weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """The weights read by each of the two layouts: those the config asks for, under diffusers
    names, and the others, under original ones where the first are complete."""
    tidied = part.tidy_diffusers(weights)
    named = {name: tidied[name] for name in wanted if name in tidied}
    rest = {name: weight for name, weight in tidied.items() if name not in wanted}
    yield named, part.to_original(rest) if rest and len(named) == len(wanted) else {}
    names = part.to_original(wanted)
    original = part.tidy_original(weights)
    if all(name in original for name in names):
        rest = {name: weight for name, weight in original.items() if name not in names}
        yield part.to_diffusers({name: original[name] for name in names}), rest


def _fits(part: Part, weights: Mapping[str, Tensor], configs: _Configs) -> bool:
    """Whether the weights have all names and sizes that a text encoder asks for."""
    wanted = expected_weights(part, configs[part.component])
    return any(
        named.keys() == wanted.keys()
        and all(named[name].shape == weight.shape for name, weight in wanted.items())
        for named, _ in _splits(part, weights, wanted)
    )


def _share(part: Part, weights: Mapping[str, Tensor], configs: _Configs) -> float:
    """Which share of a text encoder's names the weights have, and a little more where their sizes
    are its own."""
    wanted = expected_weights(part, configs[part.component])
    named = max((named for named, _ in _splits(part, weights, wanted)), key=len)
    same = sum(named[name].shape == wanted[name].shape for name in named)
    return (len(named) + same / 2) / len(wanted)
