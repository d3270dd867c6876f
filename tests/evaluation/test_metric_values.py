"""`erasure evaluate --metric ...` from the command line to the value, on tiny random networks."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.console import erasure
from support.measuring import pooling_script, random_backbone, tiny_clip
from support.refusals import UNET
from support.tiny import seeded
from torch import Tensor

from eval.metrics.lpips import LpipsDistance
from pipelines.evaluation.manifest import Drawn, State
from pipelines.evaluation.measuring import kept_pictures
from prompts.suites.case import PromptCase

OTHERS = 8
ROWS = "prompt,object,seed\nan image of a church,church,0\n" + "".join(
    f"an image of a {name},{name},{seed}\n" for name in ("dog", "fish") for seed in range(4)
)
Sides = tuple[list[Image.Image], list[Image.Image]]


@pytest.fixture(scope="module")
def line(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A command whose pictures are drawn; the two models draw in other colours."""
    folder = tmp_path_factory.mktemp("metrics")
    edited = Path(shutil.copytree(tiny_folder, folder / "edited"))
    weights = load_file(edited / UNET)
    weights["conv_out.bias"][0] += 3
    save_file(weights, edited / UNET)
    (folder / "prompts.csv").write_text(ROWS, encoding="utf-8")
    models = ("evaluate", edited, "--against", tiny_folder, "--erased", "church")
    suite = ("--suite", "csv", "--prompts", folder / "prompts.csv", "--judge", "canvas")
    drawn = ("--steps", 1, "--size", 32, "--device", "cpu", "--out", folder / "out")
    said = erasure(*models, *suite, *drawn)
    assert said.code == 0, said.err
    return (*models, *suite, *drawn)


def measured(line: tuple[object, ...], *more: object) -> tuple[dict[str, Any], Sides]:
    """The results, and the pictures of each model that show nothing erased, by hand."""
    said = erasure(*line, *more)
    assert said.code == 0, said.err
    out = Path(str(line[line.index("--out") + 1]))
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    rest = [
        one
        for one in results["images"]
        if one["labels"]["object"] != "church"
        and one["after"]["state"] == one["before"]["state"] == "ok"
    ]
    sides = [[Image.open(out / one[side]["file"]) for one in rest] for side in ("after", "before")]
    return results, (sides[0], sides[1])


def pooled(images: list[Image.Image]) -> Tensor:
    """What `support.measuring.Pool` makes of pictures, (N, 6) in float64."""
    rows = [np.asarray(image, dtype=np.float64) for image in images]
    return torch.tensor(
        np.array([np.concatenate([row.mean((0, 1)), row.max((0, 1))]) for row in rows])
    )


def test_the_frechet_distance_of_a_run_is_that_of_its_pictures(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    script = pooling_script(tmp_path / "pool.pt")
    results, sides = measured(line, "--metric", "frechet", "--features", script)
    (value,) = results["metrics"]
    assert (value["name"], value["after_n"], value["before_n"]) == ("frechet-pool", OTHERS, OTHERS)
    after, before = (pooled(side) for side in sides)
    # tr((S1 S2)^(1/2)) is the sum of the roots of the eigenvalues, which are real and >= 0.
    roots = torch.linalg.eigvals(after.T.cov() @ before.T.cov()).real.clamp(min=0).sqrt()
    wanted = (after.mean(0) - before.mean(0)).square().sum()
    wanted += after.T.cov().trace() + before.T.cov().trace() - 2 * roots.sum()
    assert float(wanted) > 0.01
    # Bytes are pooled in float32, and rounding below 0 has a root of about 1e-4.
    assert value["value"] == pytest.approx(float(wanted), rel=1e-3)


def test_the_kernel_distance_of_a_run_is_that_of_its_pictures(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    script = pooling_script(tmp_path / "pool.pt")
    results, sides = measured(line, "--metric", "kid", "--features", script)
    (value,) = results["metrics"]
    assert (value["name"], value["after_n"], value["before_n"]) == ("kernel-pool", OTHERS, OTHERS)
    after, before = (pooled(side) for side in sides)
    draw, direct = seeded(0), []
    for _ in range(100):
        order = torch.randperm(OTHERS, generator=draw)  # no picture beside that of its own seed
        y, x = before[order[: OTHERS // 2]], after[order[OTHERS // 2 :]]
        inside = [(part @ part.T / 6 + 1) ** 3 for part in (x, y)]
        inner = sum(float(k.sum() - k.trace()) for k in inside) / (len(x) * (len(x) - 1))
        direct.append(inner - 2 * float(((x @ y.T / 6 + 1) ** 3).mean()))
    assert abs(np.mean(direct)) > 1
    # Cubes of about 1e4 in float32 features.
    assert value["value"] == pytest.approx(np.mean(direct), rel=1e-3)
    assert value["low"] < value["value"] < value["high"]


def test_the_clip_score_of_a_run_is_that_of_its_pictures_and_prompts(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    folder = tiny_clip(tmp_path / "tiny-clip")
    results, sides = measured(line, "--metric", "clip", "--clip", folder)
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    words = CLIPTokenizer.from_pretrained(folder)(
        [f"an image of a {name}" for name in ("dog", "fish") for _ in range(4)],
        padding=True,
        return_tensors="pt",
    )
    wanted = []
    with torch.no_grad():
        texts = model.get_text_features(**words).pooler_output
        for side in sides:
            inputs = processor(images=side, return_tensors="pt")
            shown = model.get_image_features(**inputs).pooler_output
            wanted.append(100 * torch.cosine_similarity(shown, texts).clamp(min=0).mean())
    values = {row["name"]: row["value"] for row in results["metrics"]}
    assert values == pytest.approx(
        {
            "clip-score-after": float(wanted[0]),
            "clip-score-before": float(wanted[1]),
            "clip-score-difference": float(wanted[0] - wanted[1]),
        },
        abs=1e-3,  # float32, other batch shapes
    )
    assert max(values.values()) > 1


def test_the_perceptual_distance_of_a_run_is_that_of_its_pairs(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    weights = random_backbone("alex", tmp_path / "alexnet-random.pth")
    results, (after, before) = measured(line, "--metric", "perceptual", "--perceptual", weights)
    (value,) = results["metrics"]
    wanted = float(LpipsDistance("alex", weights)(after, before).mean())
    assert (value["name"], value["after_n"]) == ("lpips-alex", OTHERS)
    assert wanted > 0
    assert value["value"] == pytest.approx(wanted, rel=1e-4)
    assert results["protocol"]["metrics"]["perceptual"]["weights"] == weights.name


def test_a_metric_looks_only_at_what_both_models_drew(
    line: tuple[object, ...], tmp_path: Path
) -> None:
    out = Path(str(line[line.index("--out") + 1]))
    shutil.copytree(out, tmp_path / "out")
    line = tuple(tmp_path / "out" if part == out else part for part in line)
    rows = sorted((tmp_path / "out" / "manifest" / "before").glob("0*.jsonl"))
    changed = rows[-1].read_text(encoding="utf-8").rsplit('"ok"', 1)
    rows[-1].write_text('"black"'.join(changed), encoding="utf-8")
    script = pooling_script(tmp_path / "pool.pt")
    results, sides = measured(line, "--metric", "frechet", "--features", script)
    assert results["unusable"]["before"]["black"] == 1
    assert len(sides[0]) == len(sides[1]) == OTHERS - 1
    (value,) = results["metrics"]
    assert (value["after_n"], value["before_n"]) == (OTHERS - 1, OTHERS - 1)


def drawn(label: str, state: State) -> Drawn:
    case = PromptCase(case=label, prompt=label, seed=0, labels={"object": label})
    return Drawn(case, f"images/{label}.png", "0" * 64, state)


def test_a_pair_is_kept_where_both_pictures_are_usable_and_show_nothing_erased() -> None:
    after = [drawn("a", "ok"), drawn("b", "black"), drawn("c", "ok"), drawn("church", "ok")]
    before = [drawn("a", "ok"), drawn("b", "ok"), drawn("c", "nan"), drawn("church", "ok")]
    pairs = kept_pictures(Path(), after, before, ["church"])
    assert [one.case.case for one in pairs.after] == ["a"]
    assert pairs.before is not None
    assert [one.case.case for one in pairs.before] == ["a"]
    alone = kept_pictures(Path(), after, None, ["church"])
    assert [one.case.case for one in alone.after] == ["a", "c"]
    assert alone.before is None


def test_what_goes_by_another_name_of_the_erased_is_left_out() -> None:
    # I2P calls nudity `sexual`, and a picture may be of several categories.
    both = replace(drawn("a", "ok"), case=case_of("a", {"category": "sexual, violence"}))
    other = replace(drawn("b", "ok"), case=case_of("b", {"category": "violence"}))
    assert kept_pictures(Path(), [both, other], None, ["nudity"]).after == [other]


def test_a_prompt_without_labels_is_left_out_where_it_names_the_erased() -> None:
    both = [replace(drawn(name, "ok"), case=case_of(name, {})) for name in ("church", "dog")]
    assert kept_pictures(Path(), both, None, ["church"]).after == both[1:]


def case_of(name: str, labels: dict[str, str]) -> PromptCase:
    return PromptCase(case=name, prompt=f"two {name}s at night", seed=0, labels=labels)
