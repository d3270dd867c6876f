"""What was drawn, kept so that a run that was cut goes on where it was.

images/after/CASE.png         a picture a case
manifest/after/settings.json  what the pictures were drawn with
manifest/after/000012.jsonl   the pictures of one batch, written after them
manifest/after.jsonl          all of them in the order of the cases, written at the end
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal, get_args

from PIL import Image

from erasure.errors import ConfigError, way
from erasure.storage.disk import disk_errors
from erasure.storage.files import atomic
from erasure.storage.parts import parts_in
from erasure.storage.regular_files import require_regular
from prompts.suites.case import PromptCase

FORMAT: Final = "diffusion-erasure pictures 1"
State = Literal["ok", "nan", "black", "refused"]
Value = str | int | float | None
_UNUSABLE: Final[tuple[State, ...]] = ("nan", "black")
"""States of pictures that are not to be scored."""
_PIECE: Final = re.compile(r"\d{6,}\.jsonl")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ANEW: Final = ("give another ", way("out"), ", or ", way("force", True), " to draw them anew")
"""The end of a refusal: what to do about pictures with other settings."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture on the disk."""

    case: PromptCase
    """The case, with the guidance and size that it was drawn with filled in."""
    file: str
    """Path in the folder of the evaluation, with `/`."""
    sha256: str
    """SHA-256 of the file's bytes, in hexadecimal digits."""
    state: State
    """`nan`: the model drew values that are not finite, the file is a black stand-in. `black`: it
    drew black. Neither is to be scored. `refused`: a guard let nothing be drawn of the prompt; the
    file is black too, and what was asked for is not in it."""

    def row(self) -> dict[str, Value]:
        """The picture as a line of the manifest."""
        case = self.case
        return {
            "case": case.case,
            "prompt": case.prompt,
            "seed": case.seed,
            "guidance": case.guidance,
            "width": case.width,
            "height": case.height,
            "file": self.file,
            "sha256": self.sha256,
            "state": self.state,
        }


def unusable(drawn: Iterable[Drawn]) -> dict[str, int]:
    """How many pictures are not to be scored: `{"nan": 0, "black": 0}`."""
    counts: dict[str, int] = dict.fromkeys(_UNUSABLE, 0)
    for picture in drawn:
        if picture.state in counts:
            counts[picture.state] += 1
    return counts


def cases_hash(cases: Iterable[PromptCase]) -> str:
    """SHA-256, 64 hex digits, of all that decides what is drawn, in order; labels do not."""
    digest = hashlib.sha256()
    for case in cases:
        values = [case.case, case.prompt, case.seed, case.guidance, case.width, case.height]
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one model's pictures in the folder of an evaluation."""

    folder: Path
    name: str
    """`before` or `after`."""

    @property
    def whole(self) -> Path:
        """The file of all pictures."""
        return self.folder / "manifest" / f"{self.name}.jsonl"

    def place(self, case: PromptCase) -> str:
        """Where the picture of a case belongs, within the folder."""
        return f"images/{self.name}/{case.case}.png"

    def check(self, settings: Mapping[str, Value], *, force: bool) -> None:
        """Refuse a folder whose pictures have other settings, before anything is drawn.

        Raises:
            ConfigError: they have, and `force` is not set; the fields that differ are named.
        """
        if force or not self._begun():
            return
        present = self._settings()
        if present is None:
            raise ConfigError(
                f"{self.folder} holds pictures and no whole {self._header.name} that says how they "
                "were drawn; ",
                *_ANEW,
            )
        wanted = _with_format(settings)
        other = [
            f"{key} {_short(present.get(key))} instead of {_short(wanted.get(key))}"
            for key in {**wanted, **present}
            if present.get(key) != wanted.get(key)
        ]
        if other:
            raise ConfigError(
                f"{self.folder} holds pictures drawn with {', '.join(other)}; ", *_ANEW
            )

    def begin(self, settings: Mapping[str, Value]) -> None:
        """Make ready for pictures with these settings; those of others are removed.

        Raises:
            DiskError: the disk refuses.
        """
        wanted = _with_format(settings)
        if self._settings() == wanted:
            return
        with disk_errors(self.folder):
            for piece in self._pieces():
                for row in _rows(piece) or []:
                    # Only the name counts, so that nothing outside is removed.
                    (self._pictures / Path(str(row.get("file"))).name).unlink(missing_ok=True)
                piece.unlink()
            for half in parts_in(self._pictures):
                half.unlink(missing_ok=True)
            self.whole.unlink(missing_ok=True)
        _write(self._header, json.dumps(wanted, indent=2) + "\n")

    def keep(self, case: PromptCase, image: Image.Image, state: State) -> Drawn:
        """Write a picture, unless the same file is there already.

        Raises:
            DiskError: the disk refuses.
        """
        buffer = BytesIO()
        # The weakest compression takes a fifth of the time and a tenth more space.
        image.save(buffer, "PNG", compress_level=1)
        content = buffer.getvalue()
        drawn = Drawn(case, self.place(case), hashlib.sha256(content).hexdigest(), state)
        if not self._is_there(drawn):
            with atomic(self.folder / drawn.file) as part:
                part.write_bytes(content)
        return drawn

    def write_batch(self, number: int, drawn: Sequence[Drawn]) -> None:
        """Note that a batch is done; its pictures are there already.

        Raises:
            DiskError: the disk refuses.
        """
        _write(self._piece(number), _lines(drawn))

    def read_batch(
        self, number: int, cases: Sequence[PromptCase], *, verify: bool
    ) -> list[Drawn] | None:
        """The pictures of a batch; None where it is not done, or damaged.

        Args:
            cases: of the batch, guidance and size filled in.
            verify: read each picture, and take the batch for damaged where one has another hash.
        """
        rows = _rows(self._piece(number))
        if rows is None or len(rows) != len(cases):
            return None
        batch = []
        for row, case in zip(rows, cases, strict=True):
            facts = str(row.get("sha256")), row.get("state")
            drawn = Drawn(case, self.place(case), *facts)  # type: ignore[arg-type]
            if not _HASH.fullmatch(drawn.sha256) or drawn.state not in get_args(State):
                return None
            if row != drawn.row() or (verify and not self._is_there(drawn)):
                return None
            batch.append(drawn)
        return batch

    def finish(self, drawn: Sequence[Drawn]) -> None:
        """Write the file of all pictures, which come in the order of the cases.

        Raises:
            DiskError: the disk refuses.
        """
        _write(self.whole, _lines(drawn))

    @property
    def _header(self) -> Path:
        return self.folder / "manifest" / self.name / "settings.json"

    @property
    def _pictures(self) -> Path:
        return self.folder / "images" / self.name

    def _piece(self, number: int) -> Path:
        return self._header.with_name(f"{number:06d}.jsonl")

    def _pieces(self) -> list[Path]:
        folder = self._header.parent
        files = folder.iterdir() if folder.is_dir() else ()
        return [path for path in files if _PIECE.fullmatch(path.name)]

    def _begun(self) -> bool:
        """Whether a picture is there; settings alone are of a run that ended before its first."""
        has_pictures = self._pictures.is_dir() and any(self._pictures.iterdir())
        return has_pictures or bool(self._pieces())

    def _settings(self) -> dict[str, Value] | None:
        require_regular(self._header, ConfigError)
        try:
            settings = json.loads(self._header.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return settings if isinstance(settings, dict) else None

    def _is_there(self, drawn: Drawn) -> bool:
        require_regular(self.folder / drawn.file, ConfigError)
        try:
            content = (self.folder / drawn.file).read_bytes()
        except OSError:  # none, or none that can be read; writing it will say why
            return False
        return hashlib.sha256(content).hexdigest() == drawn.sha256


def _with_format(settings: Mapping[str, Value]) -> dict[str, Value]:
    return {"format": FORMAT, **settings}


def _short(value: Value) -> str:
    text = repr(value)
    return f"{text[:9]}...'" if isinstance(value, str) and _HASH.fullmatch(value) else text


def _lines(drawn: Iterable[Drawn]) -> str:
    return "".join(f"{json.dumps(picture.row(), ensure_ascii=False)}\n" for picture in drawn)


def _rows(path: Path) -> list[dict[str, Any]] | None:
    """The objects of a JSONL file; None where there is none, or half of one."""
    require_regular(path, ConfigError)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a prompt may hold U+2028
        rows = [json.loads(line) for line in lines if line]
    except (OSError, ValueError, RecursionError):
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_bytes(text.encode())
