"""Put the pictures of a run through a judge; what was judged before is kept.

judgements/after/NAME.jsonl   the judge's protocol, then a line a picture, by its hash; the name of
                              a judge of one kind of label is `KIND-NAME`
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from erasure.storage.files import atomic
from erasure.storage.regular_files import require_regular
from eval.errors import EvalError
from eval.judges.judge import Judge, Judgement
from eval.pictures.pictures import read_picture
from pipelines.evaluation.manifest import Drawn
from pipelines.process.progress import Reporter

FORMAT: Final = "diffusion-erasure judgements 1"
_BATCH: Final = 64
"""Pictures in memory at a time."""
_SAVE_EVERY: Final = 16
"""Batches between two saves."""


def judge_drawn(
    drawn: Sequence[Drawn], judge: Judge, folder: Path, *, name: str, reporter: Reporter
) -> list[Judgement | None]:
    """A judgement a picture, in order; None for pictures that are not to be scored.

    Where a guard refused to draw, nothing is seen: the judgement is an empty one.

    Args:
        drawn: pictures in `folder`.
        judge: any.
        folder: of the evaluation.
        name: `after` or `before`.

    Raises:
        EvalError: a picture cannot be read.
        DiskError: the disk refuses; what was saved stays.
    """
    said = _said_by(judge)
    path = folder / "judgements" / name / f"{_file_name(judge.name, said.get('head'))}.jsonl"
    header = {"format": FORMAT, "judge": judge.name, "protocol": dict(judge.protocol), **said}
    known = _read(path, header)
    usable = {picture.sha256: picture for picture in drawn if picture.state == "ok"}
    missing = [picture for key, picture in usable.items() if key not in known]
    if missing:
        with reporter.stage(f"{judge.name} judges {name}", len(missing)) as tick:
            for number, start in enumerate(range(0, len(missing), _BATCH), 1):
                batch = missing[start : start + _BATCH]
                judgements = judge([read_picture(folder / picture.file) for picture in batch])
                # Through JSON and back, so that a restarted run holds the very same numbers.
                known |= {
                    picture.sha256: Judgement.from_dict(judgement.to_dict())
                    for picture, judgement in zip(batch, judgements, strict=True)
                }
                tick(len(batch))
                if number % _SAVE_EVERY == 0:
                    _write(path, header, known)
        _write(path, header, {key: known[key] for key in usable})
    others = {"refused": Judgement()}
    return [known[p.sha256] if p.state == "ok" else others.get(p.state) for p in drawn]


def _read(path: Path, header: Mapping[str, Any]) -> dict[str, Judgement]:
    """What is there by this judge and this protocol; nothing if it is of another, or damaged."""
    require_regular(path, EvalError)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(lines[0]) != header:
            return {}
        rows = [json.loads(line) for line in lines[1:]]
        return {row["sha256"]: Judgement.from_dict(row["judgement"]) for row in rows}
    except (OSError, LookupError, TypeError, ValueError, OverflowError, RecursionError, EvalError):
        return {}


def _write(path: Path, header: Mapping[str, Any], judged: Mapping[str, Judgement]) -> None:
    rows = ({"sha256": key, "judgement": judgement.to_dict()} for key, judgement in judged.items())
    with atomic(path) as part, part.open("w", encoding="utf-8") as file:
        for row in (header, *rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _said_by(judge: Judge) -> dict[str, Any]:
    """What its lines say beside its numbers, where it can be told: of what, and by which names."""
    head, names = getattr(judge, "head", None), getattr(judge, "names", None)
    said: dict[str, Any] = {"head": head} if isinstance(head, str) else {}
    return said | ({"names": dict(names)} if isinstance(names, Mapping) else {})


def _file_name(judge: str, head: str | None) -> str:
    """`openai/clip-vit-large-patch14` -> `openai-clip-vit-large-patch14`."""
    own = judge if head in (None, "class") else f"{head}-{judge}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", own)[:100]
