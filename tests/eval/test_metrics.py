"""Distances between sets of pictures, CLIP score and LPIPS, against independent writings."""

import hashlib
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeAlias
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from support.measuring import Pool, pooling_script, random_backbone, tiny_clip
from support.tiny import global_seed, seeded
from torch import Tensor, nn
from torch.nn import functional as F

from eval.errors import EvalError
from eval.metrics import frechet, inception, lpips
from eval.metrics.clip_score import ClipScorer, clip_values
from eval.metrics.features import FeatureExtractor, collect_features, open_features
from eval.metrics.frechet import frechet_distance, kernel_distance
from eval.metrics.kernel_variance import kernel_variance
from eval.metrics.lpips import BACKBONES, LpipsDistance
from eval.metrics.metric_value import MetricValue
from eval.metrics.perceptual import open_perceptual, pair_distances, perceptual_value
from eval.pictures.picture_bytes import Pictures, rgb_pictures


class Colours:
    """Features of a picture: its mean colour, repeated to as many features as are asked for."""

    protocol = {"network": "colours"}  # noqa: RUF012

    def __init__(self, *, is_inception: bool = False, size: int = 3) -> None:
        self.name, self.is_inception, self.size = "colours", is_inception, size

    def __call__(self, pictures: Pictures, /) -> Tensor:
        arrays = [np.asarray(picture).mean((0, 1)) for picture in rgb_pictures(pictures)]
        rows = torch.from_numpy(np.stack(arrays)).float()
        return rows.repeat(1, -(-self.size // 3))[:, : self.size]


COLOURS = Colours()
Measure: TypeAlias = Callable[[FeatureExtractor, Tensor, Tensor], MetricValue]


def pictures(n: int, seed: int = 0, side: int = 8, high: int = 256) -> Tensor:
    return torch.randint(0, high, (n, 3, side, side), generator=seeded(seed), dtype=torch.uint8)


def gaussian(n: int, mean: list[float], variances: list[float], seed: int) -> Tensor:
    """Rows whose sample mean and covariance are exactly these, in float64."""
    draw = torch.randn(n, len(mean), generator=seeded(seed), dtype=torch.float64)
    draw = draw - draw.mean(0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(draw.T.cov()), draw.T, upper=False
    ).T
    return white * torch.tensor(variances, dtype=torch.float64).sqrt() + torch.tensor(mean)


# Pictures come as bytes only.


def test_floats_are_refused_with_what_to_do() -> None:
    # The released evaluation cast [-1, 1] to bytes: 0, 1 and 255 were left.
    pixels = pictures(2).float() / 127.5 - 1
    for measure in (COLOURS, open_perceptual_pair):
        with pytest.raises(
            EvalError, match=r"came as float32 in \[-1, 1\]; scale them to 0\.\.255"
        ):
            measure(pixels)


def open_perceptual_pair(pixels: Tensor) -> Tensor:
    pytest.importorskip("efficientnet_lite_pytorch")
    return open_perceptual("efficientnet-lite0")(pixels, pixels)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            torch.zeros(2, 8, 8, 3, dtype=torch.uint8),
            r"came as \(2, 8, 8, 3\); give \(B, 3, H, W\)",
        ),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"came as \(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "came as int64; scale"),
        ([np.zeros((8, 8, 3), np.uint8)], "came as ndarray; give PIL images"),
        ([Image.new("F", (8, 8))], "mode 'F'"),
    ],
)
def test_what_is_no_picture_of_bytes_is_refused(wrong: Pictures, said: str) -> None:
    with pytest.raises(EvalError, match=said):
        rgb_pictures(wrong)


def test_bytes_and_images_are_the_same_pictures() -> None:
    pixels = pictures(3)
    images = rgb_pictures(pixels)
    assert torch.equal(COLOURS(images), COLOURS(pixels))
    assert np.array_equal(np.asarray(images[1]), pixels[1].permute(1, 2, 0).numpy())
    assert [i.mode for i in rgb_pictures([Image.new("L", (4, 4), 7)])] == ["RGB"]


def test_pictures_stream_by_one_batch_at_a_time() -> None:
    held: list[int] = []

    def batches() -> Iterator[Tensor]:
        for seed in range(4):
            batch = pictures(3, seed)
            held.append(len(held))
            yield batch

    class Counts(Colours):
        def __call__(self, batch: Pictures, /) -> Tensor:
            assert len(held) == held[-1] + 1  # the next batch is not asked for yet
            return super().__call__(batch)

    rows = collect_features(Counts(), batches())
    whole = COLOURS(torch.cat([pictures(3, seed) for seed in range(4)]))
    assert torch.equal(rows, whole)


@pytest.mark.parametrize("batches", [[], [pictures(0)]])
def test_no_picture_at_all_is_refused(batches: list[Tensor]) -> None:
    with pytest.raises(EvalError, match="there is no picture to measure"):
        collect_features(COLOURS, batches)


def test_features_that_are_not_finite_name_the_picture() -> None:
    class Broken(Colours):
        def __call__(self, batch: Pictures, /) -> Tensor:
            return super().__call__(batch) * (float("nan") if len(batch) == 1 else 1.0)

    with pytest.raises(EvalError, match="not finite for picture 3 or"):
        collect_features(Broken(), [pictures(2), pictures(1)])


# Fréchet distance.


def test_frechet_equals_the_closed_form_of_known_gaussians() -> None:
    # Diagonal covariances: |m1 - m2|^2 + sum (sqrt(a) - sqrt(b))^2 = 9 + 16 + 1 + 4 + 0 = 30.
    pytest.importorskip("torchmetrics")
    one = gaussian(40, [0.0, 0.0, 5.0], [1.0, 9.0, 2.0], seed=0)
    two = gaussian(70, [3.0, -4.0, 5.0], [4.0, 1.0, 2.0], seed=1)
    distance = frechet_distance(COLOURS, one, two)
    assert distance.value == pytest.approx(30.0, abs=1e-9)  # float64 throughout
    assert (distance.after_n, distance.before_n, distance.better) == (40, 70, "lower")
    assert (distance.low, distance.high) == (None, None)


@pytest.mark.parametrize("n", [9, 200])
def test_frechet_equals_an_independent_square_root_of_a_matrix(n: int) -> None:
    # 9 rows of 12 features: covariances without an inverse, as with few pictures.
    pytest.importorskip("torchmetrics")
    linalg = pytest.importorskip("scipy.linalg")
    rows = [
        torch.randn(n, 12, generator=seeded(s)) @ torch.randn(12, 12, generator=seeded(s + 9)) + s
        for s in (0, 1)
    ]
    (m1, s1), (m2, s2) = ((r.double().mean(0).numpy(), np.cov(r.double().numpy().T)) for r in rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns of the singular ones
        root = linalg.sqrtm(s1 @ s2)
    direct = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root.real)
    distance = frechet_distance(COLOURS, *rows)
    # Singular covariances cost both square roots half of the digits.
    assert distance.value == pytest.approx(direct, rel=1e-9 if n == 200 else 1e-5)


def test_only_inceptions_2048_features_are_called_fid(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr(frechet, "INCEPTION_SIZE", 6)  # as the eigenvalues of 2048 take their time
    known, other = Colours(is_inception=True), Colours()
    full, cut = torch.randn(8, 6, generator=seeded(0)), torch.randn(8, 5, generator=seeded(0))
    subsets = "(100 subsets of 4 instead of 1000)"
    for extractor, rows, names, labels in [
        (known, full, ["fid", "kid"], ["FID", f"KID {subsets}"]),
        *(
            (
                extractor,
                rows,
                ["frechet-colours", "kernel-colours"],
                [
                    "Fréchet distance on colours features",
                    f"Kernel distance on colours features {subsets}",
                ],
            )
            for extractor, rows in [(known, cut), (other, full)]
        ),
    ]:
        values = [measure(extractor, rows, rows) for measure in (frechet_distance, kernel_distance)]
        assert [value.name for value in values] == names
        assert [value.label for value in values] == labels


def test_few_pictures_are_said_and_cost_little() -> None:
    # 20 pictures in 2048 dimensions: the same distance in their own 40 coordinates as by scipy.
    pytest.importorskip("torchmetrics")
    narrow = [torch.randn(20, 3, generator=seeded(s), dtype=torch.float64) + s for s in (0, 1)]
    wide = [torch.cat([rows, torch.zeros(20, 2045)], 1) for rows in narrow]
    turn = torch.linalg.qr(torch.randn(2048, 3, generator=seeded(2), dtype=torch.float64)).Q.T
    direct = frechet_distance(COLOURS, *narrow).value
    for rows in (wide, [part @ turn for part in narrow]):
        distance = frechet_distance(COLOURS, *rows)
        assert distance.value == pytest.approx(direct, rel=1e-6)  # singular: half of the digits
        assert distance.label.endswith("(fewer pictures than the 2048 features)")


# Kernel distance.


def slow_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy, term by term."""

    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    m = len(x)
    inside = sum(
        kernel(rows[i], rows[j]) for rows in (x, y) for i in range(m) for j in range(m) if i != j
    )
    across = sum(kernel(a, b) for a in x for b in y)
    return inside / (m * (m - 1)) - 2 * across / m**2


def test_kernel_distance_equals_the_sum_over_all_pairs() -> None:
    pytest.importorskip("torchmetrics")
    after, before = (torch.randn(n, 4, generator=seeded(n)) + n / 20 for n in (9, 12))
    distance = kernel_distance(COLOURS, after, before, subsets=3, subset_size=4, seed=5)
    draw, direct = seeded(5), []
    for _ in range(3):
        y = before.double()[torch.randperm(12, generator=draw)[:4]]
        x = after.double()[torch.randperm(9, generator=draw)[:4]]
        direct.append(slow_mmd(x, y))
    assert distance.value == pytest.approx(float(np.mean(direct)), abs=1e-12)
    assert distance.low is not None
    assert distance.high is not None
    # The variance of all the pictures' value, and that of a mean of three subsets.
    error = (kernel_variance(after, before) + float(np.var(direct, ddof=1)) / 3) ** 0.5
    assert (distance.low, distance.high) == pytest.approx(
        (distance.value - 1.96 * error, distance.value + 1.96 * error), abs=1e-12
    )
    assert distance.label == "Kernel distance on colours features (3 subsets of 4)"


def test_kernel_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    # In one dimension with x ~ N(0, 1), y ~ N(d, 1): E k(x, x') = 1 + 3 E(x x')^2 = 4, and with
    # means p, q: E (1 + x y)^3 = 1 + 3 p q + 3 (1 + p^2)(1 + q^2) + (p^3 + 3 p)(q^3 + 3 q).
    pytest.importorskip("torchmetrics")

    def moment(p: float, q: float) -> float:
        return 1 + 3 * p * q + 3 * (1 + p * p) * (1 + q * q) + (p**3 + 3 * p) * (q**3 + 3 * q)

    truth = moment(0, 0) + moment(0.7, 0.7) - 2 * moment(0, 0.7)
    covered = 0
    for trial in range(60):
        draw = seeded(trial)
        after, before = torch.randn(2, 200, 1, generator=draw)
        distance = kernel_distance(COLOURS, after + 0.7, before, subsets=30, seed=trial)
        assert distance.low is not None
        assert distance.high is not None
        covered += distance.low <= truth <= distance.high
    assert 0.85 <= covered / 60  # 95 % nominal, 60 trials leave +- 5.6 points


def test_the_draw_of_subsets_is_seeded_and_leaves_the_global_generator_alone() -> None:
    pytest.importorskip("torchmetrics")
    rows = [torch.randn(10, 3, generator=seeded(s)) for s in (0, 1)]
    state = torch.get_rng_state()
    one, same, other = (kernel_distance(COLOURS, *rows, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.equal(torch.get_rng_state(), state)


def test_pictures_of_the_same_seeds_are_never_held_against_each_other() -> None:
    pytest.importorskip("torchmetrics")
    rows = torch.randn(60, 16, generator=seeded(0))  # an edit that changed nothing
    apart, alike = (kernel_distance(COLOURS, rows, rows, paired=p) for p in (False, True))
    assert alike.low is not None
    assert apart.high is not None
    assert apart.high < 0  # sure of what cannot be
    assert alike.low <= 0 <= (alike.high or 0)


def test_identical_sets_are_about_nothing_apart() -> None:
    pytest.importorskip("torchmetrics")
    same = [pictures(10), pictures(6, seed=1)]
    rows = collect_features(COLOURS, same)
    frechet_value = frechet_distance(COLOURS, rows, rows)
    kernel_value = kernel_distance(COLOURS, rows, rows, seed=0)
    assert frechet_value.value == pytest.approx(0, abs=1e-6)
    assert kernel_value.low is not None
    assert kernel_value.high is not None
    assert kernel_value.low <= 0 <= kernel_value.high
    darker = [batch // 4 for batch in same]
    other = collect_features(COLOURS, darker)
    assert frechet_distance(COLOURS, rows, other).value > 1000
    apart = kernel_distance(COLOURS, rows, other, seed=0)
    assert apart.low is not None
    assert apart.low > 0


@pytest.mark.parametrize(("n", "measure"), [(1, frechet_distance), (3, kernel_distance)])
def test_too_few_pictures_are_refused(n: int, measure: Measure) -> None:
    rows = torch.randn(9, 3, generator=seeded(0))
    with pytest.raises(EvalError, match=rf"^{n} pictures after and 9 before are too few for a \w+"):
        measure(COLOURS, rows[:n], rows)


def test_features_of_two_extractors_do_not_compare() -> None:
    with pytest.raises(EvalError, match=r"\(5, 3\) and \(5, 4\) do not compare"):
        frechet_distance(COLOURS, torch.zeros(5, 3), torch.zeros(5, 4))


def test_a_missing_torchmetrics_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    rows = torch.randn(5, 3, generator=seeded(0))
    with pytest.raises(EvalError, match=r"pip install 'diffusion-erasure\[metrics\]'"):
        frechet_distance(COLOURS, rows, rows)


def test_a_value_that_is_not_finite_is_no_value() -> None:
    with pytest.raises(EvalError, match="FID is nan"):
        MetricValue(
            name="fid",
            label="FID",
            value=float("nan"),
            low=None,
            high=None,
            unit="",
            after_n=2,
            before_n=2,
            better="lower",
        )


# Extractors.


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pooling_script(tmp_path_factory.mktemp("scripted") / "pool.pt")


def test_a_torchscript_file_extracts_features(scripted: Path) -> None:
    extractor = open_features(str(scripted))
    pixels = pictures(4)
    values = pixels.float()
    wanted = torch.cat([values.mean((2, 3)), values.amax((2, 3))], 1)
    torch.testing.assert_close(extractor(pixels), wanted)
    assert extractor.name == "pool"
    assert extractor.protocol["sha256"] == hashlib.sha256(scripted.read_bytes()).hexdigest()
    assert not extractor.is_inception


def test_pictures_of_mixed_sizes_keep_their_order(scripted: Path) -> None:
    extractor = open_features(str(scripted))
    images = [Image.new("RGB", size, (k, 0, 0)) for k, size in enumerate([(8, 8), (6, 9), (8, 8)])]
    assert extractor(images)[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_an_oblong_picture_is_cut_not_squashed(scripted: Path) -> None:
    image = Image.new("RGB", (30, 10), (255, 255, 255))
    image.paste((10, 20, 30), (10, 0, 20, 10))
    assert open_features(str(scripted))([image]).tolist() == [[10.0, 20.0, 30.0] * 2]


def test_the_hash_of_the_file_makes_it_inception(
    scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(scripted.read_bytes()).hexdigest()
    monkeypatch.setattr(inception, "INCEPTION_DIGESTS", (digest[:8],))
    assert open_features(str(scripted)).is_inception


def test_inception_by_name_is_fetched_once(
    scripted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []

    def download(url: str, to: str, *, hash_prefix: str, progress: bool) -> None:
        assert hash_prefix == inception.INCEPTION_DIGESTS[0]
        assert not progress
        fetched.append(url)
        shutil.copy(scripted, to)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    for _ in range(2):
        assert open_features("inception").name == "inception-2015-12-05"
    assert fetched == [inception.INCEPTION_URL]


def test_weights_that_cannot_be_fetched_name_the_offline_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    for name, open_it in [("inception", open_features), ("lpips-alex", open_perceptual)]:
        with pytest.raises(EvalError, match=r"cannot be fetched .* use efficientnet-lite0"):
            open_it(name)


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    (tmp_path / "text.pt").write_text("no network")
    for name in ("weights.pt", "text.pt"):
        with pytest.raises(EvalError, match=rf"{name} cannot be read as TorchScript"):
            open_features(str(tmp_path / name))
    with pytest.raises(EvalError, match=r"there is no file .*gone\.pt"):
        open_features(str(tmp_path / "gone.pt"))
    with pytest.raises(EvalError, match="the model nobody/nothing cannot be had from the hub"):
        open_features("nobody/nothing")


@pytest.fixture
def fake_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-fidelity's interface, as of 0.4; the package itself needs torchvision."""

    class FeatureExtractorInceptionV3(nn.Module):
        def __init__(
            self, name: str, features_list: list[str], feature_extractor_weights_path: str | None
        ) -> None:
            super().__init__()
            assert (name, features_list) == ("inception-v3-compat", ["2048"])
            torch.load(str(feature_extractor_weights_path), weights_only=True)

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (Pool()(x, return_features=True),)

    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.__dict__["FeatureExtractorInceptionV3"] = FeatureExtractorInceptionV3
    module.__dict__["URL_INCEPTION_V3"] = "https://example.org/weights-6726825d.pth"
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.usefixtures("fake_fidelity")
def test_torch_fidelity_reads_weights_by_path(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pth")
    extractor = open_features(str(tmp_path / "weights.pth"))
    assert extractor(pictures(2)).shape == (2, 6)
    assert extractor.protocol["weights"] == "weights.pth"
    assert not extractor.is_inception
    (tmp_path / "broken.pth").write_text("no weights")
    with pytest.raises(EvalError, match="torch-fidelity has no weights"):
        open_features(str(tmp_path / "broken.pth"))


def test_without_torch_fidelity_the_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(EvalError, match=r"give the path of inception-2015-12-05\.pt"):
        open_features("torch-fidelity")


def test_efficientnet_lite_sees_what_changed() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("torchmetrics")
    data = pytest.importorskip("skimage.data")
    astronaut, cat = (Image.fromarray(picture()) for picture in (data.astronaut, data.chelsea))
    extractor = open_features("efficientnet-lite0")
    rows = extractor([astronaut, astronaut.filter(ImageFilter.GaussianBlur(4)), cat])
    assert rows.shape == (3, 1280)
    near, far = F.cosine_similarity(rows[:1], rows[1:]).tolist()
    assert far < 0.5 < near < 0.95
    torch.testing.assert_close(extractor([cat]), rows[2:], rtol=1e-4, atol=1e-5)  # another batch

    distance = open_perceptual("efficientnet-lite0")
    same, blurred, other = distance(
        [astronaut] * 3, [astronaut, astronaut.filter(ImageFilter.GaussianBlur(4)), cat]
    ).tolist()
    assert same == 0
    assert 0.05 < blurred < other < 1
    assert "not LPIPS" in distance.label


# Models of transformers.


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


PROMPTS = ["a church", "a dog in sketch style", "church " * 40]


def test_clip_score_equals_the_direct_computation(clip_folder: Path) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(clip_folder).eval()
    processor = CLIPImageProcessorPil.from_pretrained(clip_folder)
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    images = rgb_pictures(pictures(3, side=20))
    wanted = []
    for image, prompt in zip(images, PROMPTS, strict=True):
        words = tokenizer(prompt, truncation=True, max_length=77, return_tensors="pt")
        with torch.no_grad():
            shown = model.get_image_features(
                **processor(images=image, return_tensors="pt")
            ).pooler_output[0]
            said = model.get_text_features(**words).pooler_output[0]
        wanted.append(100 * max(0.0, float(shown @ said / shown.norm() / said.norm())))
    scorer = ClipScorer(str(clip_folder))
    scores = scorer(images, PROMPTS).tolist()
    assert scores == pytest.approx(wanted, abs=1e-4)  # float32, other batch shapes
    assert max(scores) > 0
    assert scorer.name == "tiny-clip"
    assert scorer.protocol["formula"] == "100 * max(cos, 0)"


def test_clip_score_wants_a_prompt_a_picture_and_bytes(clip_folder: Path) -> None:
    scorer = ClipScorer(str(clip_folder))
    with pytest.raises(EvalError, match="2 pictures and 3 prompts"):
        scorer(pictures(2), PROMPTS)
    with pytest.raises(EvalError, match="came as float32"):
        scorer(pictures(3).float(), PROMPTS)


def test_clip_values_are_after_before_and_paired_difference() -> None:
    after, before = [30.0, 31.0, 26.0], [30.0, 32.0, 28.0]
    values = clip_values("tiny-clip", after, before)
    assert [value.name.removeprefix("clip-score-") for value in values] == [
        "after",
        "before",
        "difference",
    ]
    assert [value.value for value in values] == pytest.approx([29.0, 30.0, -1.0])
    assert [(value.after_n, value.before_n) for value in values] == [(3, None), (0, 3), (3, 3)]
    assert clip_values("tiny-clip", after) == values[:1]
    unchanged = clip_values("tiny-clip", after, after)[-1]
    assert (unchanged.value, unchanged.low, unchanged.high) == (0.0, None, None)
    assert values[0].unit == "points"


def test_a_vision_model_extracts_the_features_that_it_pools(clip_folder: Path) -> None:
    from transformers import CLIPImageProcessorPil, CLIPModel

    images = rgb_pictures(pictures(3, side=20))
    extractor = open_features(str(clip_folder))
    pixels = CLIPImageProcessorPil.from_pretrained(clip_folder)(images, return_tensors="pt")
    with torch.no_grad():
        wanted = CLIPModel.from_pretrained(clip_folder).eval().get_image_features(**pixels)
    torch.testing.assert_close(extractor(images), wanted.pooler_output)
    assert (extractor.name, extractor.is_inception) == ("tiny-clip", False)


@pytest.mark.parametrize("kind", ["Dinov2", "ViT"])
def test_dino_gives_its_pooled_token_and_a_classifier_its_first(kind: str, tmp_path: Path) -> None:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
    )
    suffix = "Model" if kind == "Dinov2" else "ForImageClassification"
    with global_seed(0):
        getattr(transformers, kind + suffix)(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    extractor = open_features(str(tmp_path))
    rows = extractor(pictures(2, side=16))
    assert rows.shape == (2, 8)
    assert torch.equal(rows, open_features(str(tmp_path))(pictures(2, side=16)))  # nothing random
    wanted = {"Dinov2": "of the model", "ViT": "first token"}
    assert extractor.protocol["pooling"] == wanted[kind]


# LPIPS.


@pytest.fixture(scope="module", params=["alex", "vgg"])
def backbone(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    key = request.param
    path = tmp_path_factory.mktemp("backbone") / BACKBONES[key].file
    random_backbone(key, path)
    return key, path


def test_lpips_equals_that_of_torchmetrics(
    backbone: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = pytest.importorskip("torchmetrics.functional.image.lpips")
    key, path = backbone
    with global_seed(1):
        network = lpips.build_backbone(BACKBONES[key])
    # It asks torchvision for the network, and gets ours.
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *args: network)
    one, two = pictures(2, seed=0, side=33), pictures(2, seed=1, side=33, high=128)
    with torch.no_grad():
        wanted = theirs._LPIPS(net=key)(one / 127.5 - 1, two / 127.5 - 1).flatten()
    distance = open_perceptual(str(path))
    torch.testing.assert_close(distance(one, two), wanted, rtol=1e-4, atol=1e-6)
    assert wanted.min() > 0
    assert distance(one, one).tolist() == [0.0] * 2
    assert (distance.name, distance.label) == (f"lpips-{key}", f"LPIPS ({key})")


@pytest.fixture(scope="module")
def alex(tmp_path_factory: pytest.TempPathFactory) -> LpipsDistance:
    pytest.importorskip("torchmetrics")
    path = random_backbone("alex", tmp_path_factory.mktemp("alex") / "alexnet.pth")
    return LpipsDistance("alex", path)


def test_lpips_refuses_what_does_not_pair(alex: LpipsDistance, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="not pairs of one size"):
        alex(pictures(2, side=40), pictures(2, side=41))
    with pytest.raises(EvalError, match="smaller than 32"):
        alex(pictures(2), pictures(2))
    with pytest.raises(EvalError, match="came as float32"):
        alex(pictures(2, side=40).float(), pictures(2, side=40))
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "alexnet.pth")
    with pytest.raises(EvalError, match=r"does not hold the weights of alexnet-owt-7be5be79\.pth"):
        open_perceptual(str(tmp_path / "alexnet.pth"))
    with pytest.raises(EvalError, match="there is no distance 'lpips'; use lpips-alex, lpips-vgg"):
        open_perceptual("lpips")


def test_the_mean_over_pairs_has_an_interval(alex: LpipsDistance) -> None:
    pairs = [(pictures(2, seed=s, side=32), pictures(2, seed=s + 9, side=32)) for s in range(3)]
    distances = pair_distances(alex, pairs)
    whole = alex(*(torch.cat(side) for side in zip(*pairs, strict=True)))
    assert distances == pytest.approx(whole.tolist(), rel=1e-5)
    distance = perceptual_value(alex, distances)
    assert distance.low is not None
    assert distance.high is not None
    assert distance.low < distance.value < distance.high
    assert distance.value == pytest.approx(np.mean(distances))
    assert (distance.after_n, distance.before_n, distance.better) == (6, 6, "lower")
    with pytest.raises(EvalError, match="there is no value"):
        perceptual_value(alex, [])
