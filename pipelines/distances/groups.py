"""The pictures that the models denoise: held-out, other, drawn, trained on; with their texts."""

# N pictures, C x h x w latents.

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Final, Literal

import torch
from PIL import Image
from torch import Tensor

from erasure.architectures.encoders import Codec
from erasure.errors import ConfigError
from pipelines.data.picture_folder import shown_pictures
from pipelines.distances.draws import Asked, Drawn, Kind
from pipelines.distances.models import Role
from pipelines.distances.settings import DistanceRecipe
from pipelines.drawing.pictures import to_tensor
from pipelines.run.judging.cell_judge import CellJudge

Text = Literal["concept", "null", "retain"]
TEXTS: Final[tuple[Text, ...]] = ("concept", "null", "retain")
_FEWEST: Final = 4
"""Pictures of a group, without which an interval says nothing."""

Captioned = Sequence[tuple[Image.Image, str]]
"""Pictures with a prompt each."""


@dataclass(frozen=True, slots=True)
class Group:
    """Encoded pictures and what a model is told with each."""

    name: str
    mean: Tensor
    """(N, C, h, w)"""
    std: Tensor
    """(N, C, h, w)"""
    texts: Mapping[Text, tuple[str, ...]]
    """N prompts a text."""
    readers: frozenset[Role]
    """The models that denoise it."""


class Shelf:
    """Encodes pictures by one VAE, which all models share, and puts texts beside them."""

    def __init__(
        self,
        codec: Codec,
        asked: Asked,
        roles: Sequence[Role],
        *,
        reads_text: bool,
        has_null: bool = True,
    ) -> None:
        """Begin with no group.

        Args:
            reads_text: whether the models are told prompts.
            has_null: whether they can be told nothing.
        """
        self.groups: list[Group] = []
        self._codec, self._asked, self._roles = codec, asked, frozenset(roles)
        self._reads_text = reads_text
        self._texts = TEXTS if has_null else tuple(text for text in TEXTS if text != "null")

    def read(self, folder: str, recipe: DistanceRecipe, width: int) -> Captioned:
        """The pictures of a folder with their own prompts; with the first plain one where it has
        none.

        Raises:
            ConfigError: as `shown_pictures`.
        """
        read = shown_pictures(
            Path(os.path.expanduser(folder)),
            size=width,
            plain=self._asked.prompts["concept"][0],
            reads_text=self._reads_text,
            limit=recipe.shown,
            seed=recipe.seed,
        )
        return [(picture.image, picture.prompt) for picture in read]

    def add(
        self,
        name: str,
        pictures: Captioned,
        kind: Kind,
        *,
        texts: Sequence[Text] = TEXTS,
        readers: frozenset[Role] | None = None,
    ) -> None:
        """Encode a group.

        Args:
            kind: of which kind the pictures and their prompts are.
            readers: models that denoise it; all where None.

        Raises:
            ConfigError: there are fewer than four pictures.
        """
        if len(pictures) < _FEWEST:
            raise ConfigError(
                f"there are {len(pictures)} pictures of the group {name!r}; give {_FEWEST} or more"
            )
        parts = [self._codec.encode(to_tensor(image)[None]) for image, _ in pictures]
        own = tuple(prompt for _, prompt in pictures)
        said = {text: self._said(text, kind, own) for text in texts if text in self._texts}
        mean, std = (torch.cat([part[n] for part in parts]) for n in (0, 1))
        self.groups.append(Group(name, mean, std, said, readers or self._roles))

    def _said(self, text: Text, kind: Kind, own: tuple[str, ...]) -> tuple[str, ...]:
        if text == "null":
            return ("",) * len(own)
        return own if text == kind else tuple(islice(cycle(self._asked.prompts[text]), len(own)))


def fill(
    shelf: Shelf,
    recipe: DistanceRecipe,
    drawn: Mapping[Role, Mapping[Kind, Drawn]],
    pair: tuple[Role, Role],
    judge: CellJudge,
    width: int,
) -> str:
    """Put all groups on the shelf; returns where the held-out pictures come from.

    Args:
        pair: the two seeds that give the unit.
        width: pixels a side of the pictures.

    Raises:
        ConfigError: a folder holds too few pictures, or the base draws too few of the concept.
    """
    if recipe.pictures is None:
        held_out, source = _shown(drawn["base"]["concept"], judge), "drawn by the base"
    else:
        held_out = shelf.read(recipe.pictures, recipe, width)
        source = f"folder {Path(recipe.pictures).name}"
    shelf.add("concept", held_out[: recipe.shown], "concept")
    shelf.add("retain", _first(drawn["base"]["retain"], recipe.shown), "retain")
    shelf.add("drawn", _first(drawn["audited"]["concept"], recipe.shown), "concept")
    for role, kinds in drawn.items():
        some = {role, "retrained", *(pair if role in pair else ())}
        readers = None if role == "retrained" else frozenset(some)
        pictures = _first(kinds["concept"], recipe.shown)
        shelf.add(f"by {role}", pictures, "concept", texts=("concept",), readers=readers)
    if recipe.trained is not None:
        shelf.add("trained", shelf.read(recipe.trained, recipe, width), "concept")
    return source


def _first(drawn: Drawn, count: int) -> Captioned:
    return list(zip(drawn.images, drawn.prompts, strict=True))[:count]


def _shown(base: Drawn, judge: CellJudge) -> Captioned:
    judged = zip(_first(base, len(base.images)), judge.judge(base.images), strict=True)
    shown = [picture for picture, one in judged if judge.recognises(one)]
    if len(shown) < _FEWEST:
        raise ConfigError(
            f"the base draws the concept in {len(shown)} of {len(base.images)} pictures; give "
            f"{_FEWEST} or more pictures of it by --pictures"
        )
    return shown
