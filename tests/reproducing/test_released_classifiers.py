"""A classifier of UnlearnCanvas' release becomes a judge that says what its network says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from support.models.tiny_canvas_judges import BLOCKS, PATCH, SIDE, WIDTH, canvas_classifier
from torch import Tensor

from erasure.errors import CheckpointError, DiskError
from eval.judges.transformers_judge import open_transformers
from pipelines.reproducing.released_classifiers import LABELS, convert, main


def logits(weights: Mapping[str, Tensor], picture: Image.Image) -> Tensor:
    """The network of these weights, written anew: timm's ViT, before normalised, of two heads."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1) * 2 - 1
    kernel = weights["patch_embed.proj.weight"]
    rows = F.conv2d(pixels[None], kernel, weights["patch_embed.proj.bias"], stride=PATCH)
    x = torch.cat([weights["cls_token"][0], rows[0].flatten(1).T]) + weights["pos_embed"][0]
    for number in range(BLOCKS):
        block = f"blocks.{number}"
        parts = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        query, key, value = parts.reshape(len(x), 3, 2, WIDTH // 2).permute(1, 2, 0, 3)
        shares = (query @ key.transpose(1, 2) / (WIDTH // 2) ** 0.5).softmax(-1)
        heads = (shares @ value).transpose(0, 1).reshape(len(x), WIDTH)
        x = x + linear(heads, f"{block}.attn.proj")
        inner = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + linear(inner, f"{block}.mlp.fc2")
    return linear(norm(x, "norm")[0], "head")


@pytest.mark.parametrize("labels", LABELS, ids=["styles", "objects"])
def test_the_judge_says_the_softmax_of_the_released_network(
    labels: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "style50.pth"
    weights = canvas_classifier(len(labels))
    torch.save({"model_state_dict": weights, "epoch": 3}, file)
    judge = open_transformers(str(convert(file, tmp_path / "judge")), head="style")
    noise = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)
    picture = Image.fromarray(noise)
    wanted = logits(weights, picture).softmax(0)
    assert float(wanted.max()) < 0.99  # else little can be seen of it
    # The processors of the library round to 8 bits after they resize, as PIL does.
    assert judge.probabilities([picture])[0].tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
    assert judge.labels == labels


def test_the_classes_have_the_places_that_the_release_gives_them() -> None:
    styles, objects = LABELS
    assert (styles[0], styles[37], styles[38], styles[39], styles[50]) == (
        "Abstractionism",
        "Rust",
        "Seed_Images",
        "Sketch",
        "Winter",
    )
    assert (len(styles), len(objects), objects[0], objects[19]) == (
        51,
        20,
        "Architectures",
        "Waterfalls",
    )


def changed(name: str, value: Tensor) -> dict[str, dict[str, Tensor]]:
    """The content of a release's file with one weight that is another, or one more."""
    return {"model_state_dict": {**canvas_classifier(20), name: value}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "no weights under model_state_dict"),
        ({"model_state_dict": {"a": 1}}, "no weights under model_state_dict"),
        ({"model_state_dict": {"fc.weight": torch.ones(2)}}, "no weights of a ViT as timm names"),
        ({"model_state_dict": canvas_classifier(7)}, "tells 7 classes apart"),
        (
            {"model_state_dict": {**canvas_classifier(20), "dist_token": torch.ones(1)}},
            "'dist_token', which no ViT of timm has",
        ),
        (changed("blocks.0.norm1.gain", torch.ones(1)), "'blocks.0.norm1.gain', which no ViT"),
        (changed("blocks.9.norm1.weight", torch.ones(1)), "of the numbers 0, .*9, which do not"),
        (changed("blocks.0.attn.qkv.weight", torch.ones(2, 1)), r"shape \(2, 1\), which is no"),
        (changed("blocks.0.attn.qkv.bias", torch.tensor(1.0)), r"shape \(\), which is no query"),
        (changed("pos_embed", torch.ones(1, 0, WIDTH)), "-1 places"),
        (changed("pos_embed", torch.ones(1, 7, WIDTH)), "6 places"),
        (changed("patch_embed.proj.weight", torch.ones(8, 3, 2, 2)), "has 8 channels"),
        (changed("patch_embed.proj.weight", torch.ones(WIDTH, 3, 0, 0)), "patches of 0 pixels"),
        (changed("norm.bias", torch.full((WIDTH,), torch.nan)), "'norm.bias', which is not finite"),
    ],
    ids=[
        *("a list", "no tensors", "another network", "other classes", "another kind of ViT"),
        *("another weight", "a block too many", "two thirds", "a number", "no place", "no square"),
        *("a narrow one", "no patch", "not finite"),
    ],
)
def test_another_file_is_refused_and_nothing_is_written(
    content: object, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "style50.pth"
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=words):
        convert(file, tmp_path / "judge")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["file/judge", "file/below/judge", "n" * 300])
def test_a_folder_that_the_disk_refuses_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    torch.save({"model_state_dict": canvas_classifier(20)}, file)
    with pytest.raises(DiskError, match="cannot write"):
        convert(file, tmp_path / name)
    assert list(tmp_path.iterdir()) == [file]


def test_a_pickle_is_read_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "style50_cls.pth", tmp_path / "judge"
    torch.save({"model_state_dict": canvas_classifier(20)}, file)
    line = ["released_classifiers", str(file), "--out", str(out)]
    monkeypatch.setattr("sys.argv", line)
    assert main() == 2
    assert "give --allow-pickle" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*line, "--allow-pickle"])
    assert main() == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert main() == 2
    assert f"{out} exists" in capsys.readouterr().err
