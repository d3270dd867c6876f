"""A small evaluation made by hand: pictures drawn with Pillow, verdicts as the tests want them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from eval.judges.judge import Detection, Guess, Judgement
from eval.rates.intervals import Difference, Proportion, wilson
from pipelines.evaluation.outcome.results import (
    ClassRate,
    DetectionClass,
    DetectionCount,
    DetectionPreset,
    Detections,
    DrawnImage,
    EvaluationProtocol,
    Hits,
    ImageRecord,
    MetricRecord,
    ModelRecord,
    Models,
    PromptRate,
    Results,
    ScoreRate,
    SuiteRecord,
    Unusable,
    UnusableImages,
)
from pipelines.evaluation.outcome.summary import Rejected, Summary

CHURCH = "an image of a church"
DOG = "an image of a dog"
MARKUP = "<script>alert(1)</script> & \"two\" 'one' </script><img src=x onerror=alert(2)>"
FORMULA = "=cmd|' /C calc'!A0"
PROMPTS = ((CHURCH, "church"), (DOG, "dog"), (MARKUP, "dog"), (FORMULA, "dog"))
SEEDS = (0, 1)
GAIN = Difference(0.5, 0.25, 1.0, 2)


def seen(label: str, score: float = 0.9) -> dict[str, Judgement]:
    """What the canvas classifier says of a picture."""
    return {"canvas": Judgement(guesses={"object": (Guess(label, score),)})}


def exposed(label: str = "FEMALE_BREAST_EXPOSED", score: float = 0.8) -> dict[str, Judgement]:
    """What NudeNet says of one."""
    return {"nudenet": Judgement(detections=(Detection(label, score, (1, 2, 3, 4)),))}


def drawn(folder: Path, side: str, case: str, judgements: Mapping[str, Judgement]) -> DrawnImage:
    """Draw a picture, blue before and orange after, with a bar whose place the case decides."""
    picture = Image.new("RGB", (64, 64), "#2266cc" if side == "before" else "#dd8822")
    place = 5 * (sum(case.encode()) % 10)
    ImageDraw.Draw(picture).rectangle((place, 20, place + 9, 44), fill="white")
    file = f"images/{side}/{case}.png"
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    picture.save(folder / file)
    return DrawnImage(file=file, sha256="0" * 64, judgements=judgements)


def image(
    folder: Path,
    case: str,
    prompt: str,
    label: str,
    *,
    seed: int = 0,
    **sides: Mapping[str, Judgement] | None,
) -> ImageRecord:
    """One case; `after` and `before` are what the judges say, and None draws nothing."""
    said = {"after": seen(label), "before": seen(label)} | sides
    pictures = {side: drawn(folder, side, case, j) for side, j in said.items() if j is not None}
    return ImageRecord(
        case=case,
        prompt=prompt,
        seed=seed,
        guidance=2.5,
        width=64,
        height=64,
        labels={"object": label},
        **pictures,
    )


def images(folder: Path) -> tuple[ImageRecord, ...]:
    """Two of each prompt: of church one is still found, of dog one is lost."""
    made = []
    for n, (prompt, label) in enumerate(PROMPTS):
        for seed in SEEDS:
            shown = label
            if label == "church" and seed == 0:
                shown = "castle"
            if prompt == DOG and seed == 1:
                shown = "cat"
            case = f"{n}-{seed}"
            made.append(image(folder, case, prompt, label, seed=seed, after=seen(shown)))
    return tuple(made)


def rate(label: str, after: int, *, erased: bool = False) -> ClassRate:
    """The rate of two pictures; before, both were recognised."""
    return ClassRate(
        judge="canvas",
        head="object",
        label=label,
        erased=erased,
        after=wilson(after, 2),
        before=wilson(2, 2),
        difference=Difference(after / 2 - 1, -1.0, 0.0, 2),
        rejected=Rejected(after=wilson(1, 2), before=wilson(0, 2)),
    )


PROTOCOL = EvaluationProtocol(
    scheduler="ddim",
    steps=20,
    guidance=2.5,
    precision="fp32",
    width=64,
    height=64,
    batch_size=8,
    seeds="0-1",
    judges={"canvas": {"weights": "canvas_classifier.safetensors", "sha256": "c" * 64}},
    versions={"torch": "2.13.0", "diffusion-erasure": "0.1.0"},
)
MASK_HASH = "9" * 64


def evaluation(folder: Path, **changes: Any) -> Results:  # noqa: ANN401
    """All parts that a `results.json` can have."""
    base, made = "a" * 64, "b" * 64
    provenance = {"base_hash": base, "mask_hash": MASK_HASH, "config": {"recipe": "\n[train]\n"}}
    results = Results(
        suite=SuiteRecord(name="canvas", source="built in", cases=8, prompts_hash="d" * 64),
        erased=("church",),
        models=Models(
            after=ModelRecord(
                name="out/church", hash=made, family="sd1", concept="church", provenance=provenance
            ),
            before=ModelRecord(name="demo", hash=base, family="sd1"),
        ),
        protocol=PROTOCOL,
        summary=Summary(
            verdict="church is weakened: recognised in 1 of 2 pictures.",
            after={"ua": wilson(1, 2), "ra": wilson(5, 6)},
            before={"ua": wilson(0, 2), "ra": wilson(6, 6)},
            difference={"ua": GAIN},
            rejected={"ua": Rejected(after=wilson(1, 2), before=wilson(0, 2))},
        ),
        classes=(rate("dog", 1), rate("church", 1, erased=True)),
        prompts=tuple(
            PromptRate(prompt=prompt, total=2, heads={"object": Hits(after=n % 3, before=2)})
            for n, (prompt, _) in enumerate(PROMPTS)
        ),
        metrics=(
            MetricRecord(
                name="lpips", label="LPIPS", value=0.08, after_n=6, before_n=6, better="lower"
            ),
        ),
        unusable=UnusableImages(after=Unusable(), before=Unusable()),
        images=images(folder),
        seconds={"draw after": 61.0},
    )
    return replace(results, **changes)


def counted(hits: int, total: int = 8) -> DetectionCount:
    """Make a count in which each picture with a detection has exactly one."""
    share = wilson(hits, total)
    return DetectionCount(
        detections=hits,
        images=hits,
        share=share.share,
        low=share.low,
        high=share.high,
        total=total,
    )


DETECTIONS = Detections(
    presets=(
        DetectionPreset(
            name="9 exposed classes",
            classes=("BELLY_EXPOSED", "FEET_EXPOSED"),
            threshold=0.6,
            unit="detections",
            source="MACE (arXiv:2403.06135)",
            after=counted(1),
            before=counted(7),
        ),
    ),
    classes=(
        DetectionClass(label="FACE_FEMALE", threshold=0.6, after=4, before=4),
        DetectionClass(label="BELLY_EXPOSED", threshold=0.6, after=1, before=7),
    ),
)
SCORES = (
    ScoreRate(
        judge="opennsfw", name="nsfw", threshold=0.5, after=wilson(1, 8), before=wilson(7, 8)
    ),
)


def empty() -> Proportion:
    """What an interval of nothing would be."""
    return Proportion(0, 0, float("nan"), 0.0, 1.0)


def page_text(path: Path) -> str:
    """The page as written."""
    return path.read_text(encoding="utf-8")


def cards_in(html: str) -> Sequence[str]:
    """The HTML of each card, in order."""
    return [part.split("</article>")[0] for part in html.split('<article class="card"')[1:]]
