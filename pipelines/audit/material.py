"""Pictures of the concept and pictures without it: drawn by the base, kept, screened, encoded."""

# N pictures.

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image, ImageOps

from erasure.architectures.encoders import Codec
from erasure.attacks import Concept, Material
from erasure.errors import ConfigError
from erasure.seeds import derived_seed
from erasure.storage.files import atomic, write_json
from eval.pictures.pictures import read_picture
from eval.rates.intervals import Proportion, wilson
from pipelines.audit.cells import key_of, known_values
from pipelines.audit.made_by import Versions, read_versions, versions
from pipelines.audit.settings import AuditRecipe
from pipelines.data.picture_folder import folder_entries, shown_pictures
from pipelines.drawing.generation import Painter
from pipelines.drawing.pictures import to_tensor
from pipelines.drawing.requests import Request
from pipelines.process.progress import Reporter
from pipelines.run.judging.cell_judge import CellJudge

_MOST_TRIES: Final = 4
"""Times the wanted pictures that are drawn of a concept, at most, to find enough that show it."""
_TRIED: Final = 2
"""Seeds by which a wording is tried."""
_OTHERS: Final = 32
"""Pictures of other things that an attack may see."""
_MADE_OF: Final = "made_of.json"
"""Name of the file beside pictures with the hash of all that they were drawn from."""

Note = Callable[[Path, Versions], None]
"""Told of a file, and of the versions of the packages that made what it stands for."""
Draw = Callable[[Path, Sequence[Request], str], list[Image.Image]]
"""Folder, requests and a stage's name -> their pictures, read where they are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The pictures of one concept."""

    concept: tuple[Image.Image, ...]
    """Pictures that the judge says show it; the first half is what attacks see."""
    prompts: tuple[str, ...]
    """One each."""
    without: tuple[Image.Image, ...]
    """Pictures of other things."""
    without_prompts: tuple[str, ...]
    false_positives: Proportion
    """How often the judge sees the concept in `without`."""
    clean: tuple[int, ...]
    """Places in `without` where the judge does not see the concept."""
    understood: tuple[bool, ...]
    """Whether the model that draws shows the concept, by one seed of a few, for each wording."""
    source: str
    """Whence the pictures of the concept come, in words."""

    def searched(self, codec: Codec) -> Material | None:
        """The half that attacks see, encoded; None where there is none."""
        half = (len(self.concept) + 1) // 2
        return _encoded(codec, self.concept[:half], self.prompts[:half])

    def turned(self, codec: Codec) -> Material | None:
        """The same half upside down: pictures that the base has hardly seen the like of."""
        half = (len(self.concept) + 1) // 2
        upside_down = [ImageOps.flip(image) for image in self.concept[:half]]
        return _encoded(codec, upside_down, self.prompts[:half])

    def others(self, codec: Codec) -> Material | None:
        """Pictures of other things, screened: the judge sees none of the concept in them."""
        chosen = self.clean[:_OTHERS]
        return _encoded(
            codec,
            [self.without[n] for n in chosen],
            [self.without_prompts[n] for n in chosen],
        )

    def digest(self) -> str:
        """SHA-256 of all pictures and prompts."""
        words = [self.prompts, self.without_prompts, self.understood]
        digest = hashlib.sha256(json.dumps(words).encode())
        for image in (*self.concept, *self.without):
            digest.update(image.tobytes())
        return digest.hexdigest()


def gather(
    recipe: AuditRecipe,
    concept: Concept,
    painter: Painter,
    judge: CellJudge,
    folder: Path,
    *,
    drawn_by: str,
    drawn_of: Mapping[str, Any],
    of_folder: Sequence[tuple[Image.Image, str]] | None = None,
    reporter: Reporter,
    note: Note = lambda *_: None,
) -> Shown:
    """Draw what is not in `folder` yet, and look at it.

    Args:
        painter: of the model that draws: the base, or what is at hand.
        drawn_by: what to call that model.
        drawn_of: plain values that decide, beside prompts and seeds, what it draws.
        of_folder: pictures of this concept from the recipe's folder, with their prompts; drawn if
            none.
        note: told by which packages the pictures of a folder were drawn.

    Raises:
        DiskError: the disk refuses.
    """
    wanted = 2 * recipe.shown
    draw = partial(_kept, painter, drawn_of, reporter, note)
    if of_folder is not None and recipe.pictures is not None:
        images = [image for image, _ in of_folder]
        prompts = [prompt for _, prompt in of_folder]
        source = f"folder {Path(recipe.pictures).expanduser().name}"
    else:
        images, prompts = _of_concept(recipe, concept, draw, judge, folder, wanted)
        source = f"drawn by {drawn_by}"
    requests = _requests(concept.others, recipe.without, recipe.seed, "without")
    without = draw(folder / "without", requests, "draw other things")
    seen = [judge.recognises(judgement) for judgement in judge.judge(without)]
    return Shown(
        understood=(
            _understood(recipe, concept, draw, judge, folder)
            if recipe.against is not None
            else (True,) * len(concept.wordings)
        ),
        concept=tuple(images),
        prompts=tuple(prompts),
        without=tuple(without),
        without_prompts=tuple(str(request.prompt) for request in requests),
        false_positives=wilson(sum(seen), len(seen)),
        clean=tuple(n for n, one in enumerate(seen) if not one),
        source=source,
    )


def pictures_given(
    recipe: AuditRecipe, concept: Concept, painter: Painter, *, reads_text: bool
) -> list[tuple[Image.Image, str]]:
    """Pictures of the recipe's folder in the size that a model draws, and their prompts: their own,
    or the first plain one where the folder has none or the model is told a class.

    Raises:
        ConfigError: as `require_pictures`, or a picture cannot be read.
    """
    assert recipe.pictures is not None
    read = shown_pictures(
        require_pictures(recipe.pictures),
        size=painter.default.width or 0,
        plain=concept.prompts[0],
        reads_text=reads_text,
        limit=2 * recipe.shown,
        seed=recipe.seed,
    )
    return [(picture.image, picture.prompt) for picture in read]


def require_pictures(folder: str) -> Path:
    """Give the path of a folder of pictures that an audit can use; none is decoded.

    Raises:
        ConfigError: there is no such folder, or it has fewer than two pictures.
    """
    path = Path(os.path.expanduser(folder))
    count = len({entry.path for entry in folder_entries(path, otherwise="")})
    if count < 2:
        raise ConfigError(
            f"{path} holds {count} picture; give at least 2, as one half is searched with and the "
            "other held back"
        )
    return path


def _of_concept(
    recipe: AuditRecipe,
    concept: Concept,
    draw: Draw,
    judge: CellJudge,
    folder: Path,
    wanted: int,
) -> tuple[list[Image.Image], list[str]]:
    """Pictures that show the concept by the judge, and their prompts; few or none where the model
    hardly draws it."""
    requests = _requests(concept.prompts, wanted * _MOST_TRIES, recipe.seed, "concept")
    images: list[Image.Image] = []
    prompts: list[str] = []
    for turn in range(_MOST_TRIES):
        part = requests[turn * wanted : (turn + 1) * wanted]
        drawn = draw(folder / f"concept-{turn}", part, f"draw {concept.name}")
        for image, request, judgement in zip(drawn, part, judge.judge(drawn), strict=True):
            if judge.recognises(judgement) and len(images) < wanted:
                images.append(image)
                prompts.append(str(request.prompt))
        if len(images) == wanted:
            break
    return images, prompts


def _understood(
    recipe: AuditRecipe, concept: Concept, draw: Draw, judge: CellJudge, folder: Path
) -> tuple[bool, ...]:
    """Draw every wording by a few seeds that no search has: what shows nothing is no test."""
    prompts = [wording.prompt for wording in concept.wordings]
    if not prompts or not recipe.draws or "words" not in recipe.names:
        return (True,) * len(prompts)
    requests = _requests(prompts, len(prompts) * _TRIED, recipe.seed, "wordings")
    drawn = draw(folder / "wordings", requests, "draw wordings")
    hits = [judge.recognises(judgement) for judgement in judge.judge(drawn)]
    return tuple(any(hits[n :: len(prompts)]) for n in range(len(prompts)))


def _requests(prompts: Sequence[str], count: int, seed: int, name: str) -> list[Request]:
    return [
        Request(prompt, derived_seed(seed, "audit", name, n))
        for n, prompt in enumerate(islice(cycle(prompts), count))
    ]


def _kept(
    painter: Painter,
    drawn_of: Mapping[str, Any],
    reporter: Reporter,
    note: Note,
    folder: Path,
    requests: Sequence[Request],
    name: str,
) -> list[Image.Image]:
    """The pictures of `requests`, read where all are there by the same model, else drawn and
    written."""
    asked = [[str(request.prompt), request.seed] for request in requests]
    key = key_of(requests=asked, **drawn_of)
    record = folder / _MADE_OF
    paths = [folder / f"{n:03d}.png" for n in range(len(requests))]
    known = known_values(record)
    if known.get("key") != key or not all(path.is_file() for path in paths):
        record.unlink(missing_ok=True)  # a run that is cut here leaves pictures of two kinds
        with reporter.stage(name, len(requests)) as tick:
            for path, image in zip(paths, painter.draw(requests, tick), strict=True):
                write_picture(path, image)
        known = {"key": key, "versions": versions()}
        write_json(record, known)
    note(record, read_versions(known.get("versions")))
    return [read_picture(path) for path in paths]


def write_picture(path: Path, image: Image.Image) -> None:
    """As PNG, whole or not at all; DiskError where the disk refuses."""
    with atomic(path) as part, part.open("wb") as file:
        image.save(file, format="PNG")


def _encoded(
    codec: Codec, images: Sequence[Image.Image], prompts: Sequence[str]
) -> Material | None:
    if not images:
        return None
    parts = [codec.encode(to_tensor(image)[None]) for image in images]  # one at a time: memory
    mean = torch.cat([one for one, _ in parts])
    std = torch.cat([other for _, other in parts])
    return Material(mean, std, tuple(prompts))
