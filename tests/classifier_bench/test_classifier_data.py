"""Data of the classifier commands: sources, splits, forget sets, and the networks they feed."""

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from erasure.classifiers.data.batches import logits_of
from erasure.errors import ConfigError
from pipelines.classifiers.data import hub_data, icon_data, text_data
from pipelines.classifiers.data.archive_data import read_cifar
from pipelines.classifiers.data.data import SOURCES, DataConfig, DataFacts, batches, load_data
from pipelines.classifiers.data.folder_data import picture_folder
from pipelines.classifiers.data.forget_setting import ForgetSetting
from pipelines.classifiers.data.hub_data import HUB_SOURCES
from pipelines.classifiers.data.icon_pictures import draw_pictures
from pipelines.classifiers.data.idx_data import fashion_mnist, mnist, read_idx
from pipelines.classifiers.data.raw_data import RawData, images
from pipelines.classifiers.data.table_data import TABLES
from pipelines.classifiers.data.text_data import LENGTH, encode, fortunes, words
from pipelines.classifiers.networks.architectures import ARCHITECTURES, ModelConfig, make_model


def idx(values: np.ndarray[Any, Any]) -> bytes:
    """An idx file of bytes."""
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    """40 and 20 pictures of 6x6, ten classes, as MNIST packs them; half the files gzipped."""
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 20)):
        pictures = rng.integers(0, 256, (count, 6, 6))
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pictures)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return tmp_path


def cifar_archive(path: Path, tables: Mapping[str, Any]) -> Path:
    """A `.tar.gz` of pickled tables."""
    with tarfile.open(path, "w:gz") as archive:
        for name, table in tables.items():
            raw = table if isinstance(table, bytes) else pickle.dumps(table, protocol=2)
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def cifar_tables(labels: str, count: int, classes: int) -> dict[bytes, Any]:
    rng = np.random.default_rng(count)
    rows = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"data": rows, labels.encode(): [n % classes for n in range(count)]}


# Sources


def test_idx_files_are_read_gzipped_or_not(idx_folder: Path) -> None:
    raw = fashion_mnist(idx_folder)
    assert raw.train.inputs[0].shape == (40, 1, 6, 6)
    assert raw.test is not None
    assert len(raw.test) == 20
    assert raw.train.labels.tolist() == [n % 10 for n in range(40)]
    assert raw.classes[1] == "trouser"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file of bytes"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01", "no idx file of bytes"),
        (idx(np.zeros((3, 2)))[:-1], "cut short"),
        (b"\x00\x00\x08\x03\x00\x00", "cut short"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_idx(tmp_path / "file")


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(os.urandom(100))
    (tmp_path / "file.gz").write_bytes(whole[:50])
    with pytest.raises(ConfigError, match="get the file again"):
        read_idx(tmp_path / "file.gz")


def test_missing_idx_data_name_the_package(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="apt-get install dataset-fashion-mnist"):
        fashion_mnist(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no file train-images-idx3-ubyte"):
        fashion_mnist(tmp_path)
    with pytest.raises(ConfigError, match="--data-path"):
        mnist(None)


def test_labels_beyond_the_classes_are_refused(idx_folder: Path) -> None:
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(40)))
    with pytest.raises(ConfigError, match="label 39, but there are 10"):
        fashion_mnist(idx_folder)


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_read_from_its_archive_or_its_folder(tmp_path: Path, packed: bool) -> None:
    tables: dict[str, Any] = {
        f"data_batch_{n}": cifar_tables("labels", 4 + n, 2) for n in range(1, 6)
    }
    tables |= {
        "test_batch": cifar_tables("labels", 3, 2),
        "batches.meta": {b"label_names": ["a", b"b"]},
    }
    path = cifar_archive(tmp_path / "cifar.tar.gz", tables)
    if not packed:
        with tarfile.open(path) as archive:
            for member in archive:
                raw = archive.extractfile(member)
                assert raw is not None
                file = tmp_path / "unpacked" / member.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(raw.read())
        path = tmp_path / "unpacked"
    cifar = read_cifar(path)
    assert cifar.train.inputs[0].shape == (35, 3, 32, 32)
    assert cifar.classes == ("a", "b")
    expected = tables["data_batch_1"][b"data"][2].reshape(3, 32, 32)
    np.testing.assert_array_equal(cifar.train.inputs[0][2].numpy(), expected)


def test_cifar100_uses_its_fine_labels(tmp_path: Path) -> None:
    tables = {name: cifar_tables("fine_labels", 6, 3) for name in ("train", "test")}
    tables["meta"] = {b"fine_label_names": [b"x", b"y", b"z"]}
    raw = read_cifar(cifar_archive(tmp_path / "cifar.tar.gz", tables))
    assert (raw.classes, raw.origin) == (("x", "y", "z"), "CIFAR-100")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(tmp_path / "broken-in"),)

    tables = {"train": Evil(), "test": Evil(), "meta": Evil()}
    with pytest.raises(ConfigError, match="no plain pickle of arrays"):
        read_cifar(cifar_archive(tmp_path / "cifar.tar.gz", tables))
    assert not (tmp_path / "broken-in").exists()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"other": {}}, "neither CIFAR-10 nor CIFAR-100"),
        ({"train": {}, "test": {}}, "no file meta"),
        ({"train": {}, "test": {}, "meta": {}}, "no pictures of 32x32"),
        ({"train": b"\x80", "test": {}, "meta": {}}, "no plain pickle"),
        ({"train": [], "test": {}, "meta": {}}, "holds no table"),
    ],
)
def test_other_archives_are_refused(tmp_path: Path, tables: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=message):
        read_cifar(cifar_archive(tmp_path / "cifar.tar.gz", tables))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no")
    for path in (tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(ConfigError, match="give the archive of CIFAR"):
            read_cifar(path)


def write_pictures(folder: Path, names: list[str]) -> Path:
    for n, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (n, 0, 0)).save(file)
    return folder


def test_a_folder_of_pictures_has_a_class_a_folder(tmp_path: Path) -> None:
    names = ["train/b/1.png", "train/a/1.png", "train/a/2.png", "test/b/1.png"]
    raw = picture_folder(write_pictures(tmp_path, names))
    assert raw.classes == ("a", "b")
    assert raw.train.labels.tolist() == [0, 0, 1]
    assert raw.train.inputs[0].shape == (3, 3, 32, 32)
    assert raw.test is not None
    assert raw.test.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "train/CLASS"),
        (["train/a/1.png"], "2 or more"),
        (["train/a/1.png", "train/b/1.png", "test/c/1.png"], "a class that train/ lacks"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        picture_folder(write_pictures(tmp_path, names))


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/a/1.png", "train/b/1.png"])
    (tmp_path / "train" / "b" / "2.png").write_text("no")
    with pytest.raises(ConfigError, match=r"2\.png is no picture"):
        picture_folder(tmp_path)


def test_pictures_of_a_folder_are_decoded_as_everywhere_else(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/b/1.png"])
    folder = tmp_path / "train" / "a"
    folder.mkdir()
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(folder / "1.png")
    Image.fromarray(np.full((32, 32), 257 * 99, np.uint16)).save(folder / "2.png")
    upright = Image.new("RGB", (32, 32))
    upright.paste((255, 0, 0), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    upright.save(folder / "3.png", exif=exif)
    clear, deep, turned = picture_folder(tmp_path).train.inputs[0][:3]
    assert clear.unique().tolist() == [255]
    assert deep.unique().tolist() == [99]
    assert turned[0, :16].max() == 0
    assert turned[0, 16:].min() == 255


def test_pictures_of_a_class_are_read_or_named_whatever_their_ending(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/a/1.jfif", "train/a/2.GIF", "train/b/1.tif"])
    assert picture_folder(tmp_path).train.labels.tolist() == [0, 0, 1]
    (tmp_path / "train" / "b" / "2.heic").touch()
    with pytest.raises(ConfigError, match=r"2\.heic has a format that cannot be read here"):
        picture_folder(tmp_path)


@pytest.mark.parametrize(("name", "shape"), [("digits", (1797, 64)), ("breast-cancer", (569, 30))])
def test_tables_come_with_scikit_learn(name: str, shape: tuple[int, int]) -> None:
    pytest.importorskip("sklearn")
    raw = TABLES[name](None)
    assert (raw.kind, tuple(raw.train.inputs[0].shape)) == ("table", shape)
    with pytest.raises(ConfigError, match="leave --data-path"):
        TABLES[name](Path("somewhere"))


def test_texts_are_words_in_the_order_of_their_number() -> None:
    raw = encode([["a b a", "a"], ["c a"]], ["x", "y"], "here")
    ids, mask = raw.train.inputs
    assert ids[:, :3].tolist() == [[2, 3, 2], [2, 0, 0], [4, 2, 0]]
    assert (ids.shape[1], raw.vocabulary) == (LENGTH, 5)
    assert mask.sum(dim=1).tolist() == [3, 1, 2]
    assert raw.train.labels.tolist() == [0, 0, 1]
    assert words("Don't, 42!") == ["don", "'", "t", ",", "4", "2", "!"]


def test_a_class_without_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="class y has no text"):
        encode([["a"], ["  "]], ["x", "y"], "here")


def test_fortunes_are_divided_by_percent_signs(tmp_path: Path) -> None:
    (tmp_path / "wise").write_text("one two\n%\nthree 100%\n%\n")
    (tmp_path / "silly.txt").write_text("four\n")
    (tmp_path / "wise.dat").write_bytes(b"index")
    raw = fortunes(tmp_path)
    assert raw.classes == ("silly", "wise")
    assert raw.train.labels.tolist() == [0, 1, 1]
    with pytest.raises(ConfigError, match="apt-get install fortunes"):
        fortunes(tmp_path / "nothing")
    (tmp_path / "wise").unlink()
    with pytest.raises(ConfigError, match="2 or more"):
        fortunes(tmp_path)


def test_docstrings_are_real_texts_without_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERASURE_CACHE", str(tmp_path))
    monkeypatch.setattr(text_data, "PACKAGES", ("typer", "rich"))
    raw = text_data.docstrings(None)
    again = text_data.docstrings(None)  # from the cache
    assert raw.classes == ("typer", "rich")
    assert set(raw.train.labels.tolist()) == {0, 1}
    assert torch.equal(raw.train.inputs[0], again.train.inputs[0])
    assert raw.vocabulary == int(raw.train.inputs[0].max()) + 1
    monkeypatch.setattr(text_data, "PACKAGES", ("no_such_package",))
    with pytest.raises(ConfigError, match="no_such_package is not installed"):
        text_data.docstrings(None)


class FakeHub:
    """What the sources ask of the package `datasets`."""

    class exceptions:
        class DatasetsError(Exception):
            pass

    class Rows(list[dict[str, Any]]):
        features: Mapping[str, Any]

        def __getitem__(self, key: Any) -> Any:  # noqa: ANN401
            if isinstance(key, str):
                return [row[key] for row in self]
            return super().__getitem__(key)

    def __init__(self, columns: tuple[str, str] = ("img", "label")) -> None:
        self.columns = columns
        self.asked: list[tuple[Any, ...]] = []

    def load_dataset(self, name: str, config: str | None, split: str) -> Any:  # noqa: ANN401
        self.asked.append((name, config, split))
        if name == "offline":
            raise ConnectionError("no network")
        picture, label = self.columns
        rows = self.Rows({picture: Image.new("L", (32, 32), n), label: n % 2} for n in range(4))
        rows.features = {picture: object(), label: object()}
        return rows


def test_data_sets_of_the_hub_are_read_by_their_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()
    monkeypatch.setattr(hub_data, "_package", lambda: hub)
    raw = HUB_SOURCES["cifar10"](None)
    assert raw.train.inputs[0].shape == (4, 3, 32, 32)
    assert raw.classes == ("0", "1")
    assert hub.asked == [("uoft-cs/cifar10", None, "train"), ("uoft-cs/cifar10", None, "test")]
    with pytest.raises(ConfigError, match="no column 'image'"):
        HUB_SOURCES["svhn"](None)
    with pytest.raises(ConfigError, match="check the network"):
        HUB_SOURCES["svhn"](Path("offline"))


# Icons


def test_pictures_of_icons_are_balanced_and_decided_by_their_key() -> None:
    drawings = torch.zeros(5, 4, 64, 64)
    drawings[:, :, 16:48, 16:48] = torch.rand(5, 4, 1, 1)
    classes = torch.tensor([0, 0, 1, 2, 2])
    pixels, labels = draw_pictures(drawings, classes, 30, "a")
    assert (pixels.shape, pixels.dtype) == ((30, 3, 32, 32), torch.uint8)
    assert torch.bincount(labels).tolist() == [10, 10, 10]
    again, _ = draw_pictures(drawings, classes, 30, "a")
    other, _ = draw_pictures(drawings, classes, 30, "b")
    assert torch.equal(pixels, again)
    assert not torch.equal(pixels, other)
    assert len(pixels.flatten(1).unique(dim=0)) == 30


def icon_package(folder: Path, one: icon_data.IconSet, names: list[str]) -> None:
    body = '<path fill="red" d="M2 2h12v12H2z"/>'
    table = {"width": 16, "height": 16, "icons": {name: {"body": body} for name in names}}
    raw = json.dumps(table).encode()
    file = f"{one.package.removeprefix('@').replace('/', '-')}-{one.version}.tgz"
    with tarfile.open(folder / file, "w:gz") as archive:
        member = tarfile.TarInfo("package/icons.json")
        member.size = len(raw)
        archive.addfile(member, io.BytesIO(raw))


def test_icons_are_rendered_from_packages_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resvg_py")
    first = [names.split()[0] for names in icon_data.CLASSES.values()]
    for one in (*icon_data.TRAIN_SETS, *icon_data.TEST_SETS):
        icon_package(tmp_path, one, first)
    monkeypatch.setenv("ERASURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(icon_data, "TRAIN_COUNT", 20)
    monkeypatch.setattr(icon_data, "TEST_COUNT", 10)
    raw = icon_data.icons(tmp_path)
    assert raw.train.inputs[0].shape == (20, 3, 32, 32)
    assert raw.test is not None
    assert torch.bincount(raw.test.labels).tolist() == [1] * 10
    for package in tmp_path.glob("*.tgz"):
        package.unlink()
    assert torch.equal(icon_data.icons(tmp_path).train.inputs[0], raw.train.inputs[0])


def test_missing_icon_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("resvg_py")
    monkeypatch.setenv("ERASURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    with pytest.raises(ConfigError, match=r"@iconify-json/noto@1\.2\.9 is not in"):
        icon_data.icons(tmp_path)


# The three sets


def test_the_three_sets_are_disjoint_stratified_and_decided_by_the_seed(idx_folder: Path) -> None:
    config = DataConfig(path=str(idx_folder), train=20, held_out=10, test=10)
    data = load_data(config)
    sizes = [len(part) for part in (data.train, data.held_out, data.test)]
    assert sizes == [20, 8, 10]  # held out at most a fifth of 40
    assert torch.bincount(data.labels).tolist() == [2] * 10
    rows = torch.cat([data.train.tensors[0], data.held_out.tensors[0]]).flatten(1)
    assert len(rows.unique(dim=0)) == 28
    assert load_data(config).fingerprint == data.fingerprint
    other = DataConfig(path=str(idx_folder), train=20, held_out=10, test=10, seed=1)
    assert load_data(other).fingerprint != data.fingerprint


def test_other_pictures_to_judge_by_are_told_apart(idx_folder: Path) -> None:
    first, second = (
        load_data(
            DataConfig(name="mnist", path=str(idx_folder), train=0, held_out=0, test=10, seed=n)
        )
        for n in (0, 1)
    )
    assert first.fingerprint == second.fingerprint
    assert first.judging_fingerprint != second.judging_fingerprint


def test_pictures_lie_in_the_unit_interval_and_the_facts_describe_them(idx_folder: Path) -> None:
    data = load_data(DataConfig(path=str(idx_folder), train=0, held_out=0, test=0))
    pixels = data.train.tensors[0]
    assert len(data.train) == 40
    assert 0 <= float(pixels.min()) < float(pixels.max()) <= 1
    assert data.facts.shape == (1, 6, 6)
    assert data.facts.mean == pytest.approx([float(pixels.mean())])


def test_a_source_without_a_test_set_gives_a_fifth_of_it() -> None:
    pytest.importorskip("sklearn")
    data = load_data(DataConfig(name="digits", held_out=100))
    assert (len(data.train), len(data.held_out), len(data.test)) == (1338, 100, 359)
    fewer = load_data(DataConfig(name="digits", held_out=100, test=50))
    assert (len(fewer.test), fewer.fingerprint) == (50, data.fingerprint)
    assert min(data.facts.deviation) > 0


@pytest.mark.parametrize("half", ["train", "test"])
@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(
    label: int, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source(path: Path | None, /) -> RawData:
        parts = {n: images(torch.zeros(9, 4, 4).byte(), [0, 1, 2] * 3) for n in ("train", "test")}
        parts[half].labels[4] = label
        return RawData("image", parts["train"], parts["test"], ("a", "b", "c"), "nobody")

    monkeypatch.setitem(SOURCES, "mnist", source)
    with pytest.raises(
        ConfigError, match=rf"run from {min(label, 0)} to {max(label, 2)} and there"
    ):
        load_data(DataConfig(name="mnist"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "cifar"}, "the nearest"),
        ({"train": -1}, "train is -1"),
    ],
)
def test_wrong_settings_of_the_data_are_refused(settings: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=message):
        DataConfig(**settings)


@pytest.mark.parametrize(
    "pixels", [torch.zeros(3, 2, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4)]
)
def test_pictures_of_another_shape_or_type_are_refused(pixels: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="give bytes"):
        images(pixels, [0, 1, 2])


# What is forgotten


def test_a_share_is_the_set_that_the_release_draws() -> None:
    labels = torch.arange(45_000) % 10
    forget, retain = ForgetSetting(share=0.1).choose(labels, "0123456789", seed=1)
    # The release, for its --seed 2: RandomState(2 - 1).choice over the training positions.
    expected = np.random.RandomState(1).choice(np.arange(45_000), 4500, replace=False)
    assert set(forget.tolist()) == set(expected.tolist())
    assert len(retain) == 40_500


@given(
    count=st.integers(20, 200),
    percent=st.integers(5, 95),
    seed=st.integers(0, 2**32 - 1),
)
@hypothesis.example(count=100, percent=57, seed=0)
def test_what_goes_and_what_stays_are_everything_once(count: int, percent: int, seed: int) -> None:
    setting = ForgetSetting.parse(f"{percent}%")
    forget, retain = setting.choose(torch.zeros(count), "ab", seed)
    assert len(forget) == percent * count // 100
    assert sorted([*forget.tolist(), *retain.tolist()]) == list(range(count))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_the_release_does_not_have_are_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=rf"forget set is {seed}; give 0 to 2\*\*32 - 1"):
        ForgetSetting(share=0.5).choose(torch.tensor([0, 1]), "ab", seed)
    forget, _ = ForgetSetting(label="b").choose(torch.tensor([0, 1]), "ab", seed)
    assert forget.tolist() == [1]


@pytest.mark.parametrize(
    "text", ["10%", "12.5%", "57%", "33.33333333%", "class:3", "class:ankle boot"]
)
def test_a_forget_set_is_read_and_written_alike(text: str) -> None:
    assert str(ForgetSetting.parse(text)) == text


def test_a_class_goes_by_name_or_number() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    for text in ("class:b", "class:1"):
        setting = ForgetSetting.parse(text)
        assert setting.choose(labels, "abc", 0)[0].tolist() == [1, 2]
        assert setting.class_index("abc") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ten", "no forget set"),
        ("0%", "between 0% and 100%"),
        ("100%", "between 0% and 100%"),
        ("1%", "takes 0 and leaves 4"),
        ("class:d", "no class 'd'"),
        ("class:3", "no class '3'"),
        ("class:", "no forget set"),
    ],
)
def test_forget_sets_that_make_no_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ForgetSetting.parse(text).choose(torch.tensor([0, 1, 1, 2]), "abc", 0)


# Networks


PICTURES = DataFacts("image", (3, 32, 32), tuple("abcde"), (0.5,) * 3, (0.25,) * 3)
GREY = DataFacts("image", (1, 28, 28), tuple("abcde"), (0.3,), (0.3,))
TEXT = DataFacts("text", (6,), tuple("abcde"), (), (), vocabulary=20)
TABLE = DataFacts("table", (7,), tuple("abcde"), (1.0,) * 7, (2.0,) * 7)


def example(facts: DataFacts, count: int = 3) -> Any:  # noqa: ANN401
    generator = torch.Generator().manual_seed(0)
    if facts.kind == "text":
        ids = torch.randint(2, 20, (count, 6), generator=generator)
        mask = torch.arange(6) < torch.tensor([[6], [4], [1]])
        return ids * mask, mask
    return torch.rand(count, *facts.shape, generator=generator)


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("resnet18", PICTURES),
        ("resnet18", GREY),
        ("resnet50", GREY),
        ("vgg16", GREY),
        ("vgg16", PICTURES),
        ("vit", PICTURES),
        ("mlp", GREY),
        ("mlp", TABLE),
        ("text", TEXT),
    ],
)
def test_every_network_answers_with_a_logit_a_class(name: str, facts: DataFacts) -> None:
    config = ModelConfig(architecture=name, width=0.0625)
    model, twin, other = (make_model(config, facts, seed) for seed in (0, 0, 1))
    logits = logits_of(model, example(facts))
    assert logits.shape == (3, 5)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    state, same, different = (m.state_dict() for m in (model, twin, other))
    assert all(
        torch.equal(state[k], same[k]) for k in state if "running" not in k and "num" not in k
    )
    assert any(not torch.equal(state[k], different[k]) for k in state)


def test_full_width_networks_have_the_published_sizes() -> None:
    # The counts of these networks for CIFAR-10 with 3x3 stems; mean and deviation are no weights.
    facts = DataFacts("image", (3, 32, 32), tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3)
    for name, count in (("resnet18", 11_173_962), ("resnet50", 23_520_842), ("vgg16", 14_728_266)):
        model = make_model(ModelConfig(architecture=name, width=1.0), facts, 0)
        assert sum(p.numel() for p in model.parameters()) == count


def test_words_that_are_not_there_change_nothing() -> None:
    model = make_model(ModelConfig(architecture="text", width=0.1), TEXT, 0)
    ids, mask = example(TEXT)
    torch.testing.assert_close(model(ids, mask), model(ids + 3 * ~mask, mask))


def test_inputs_are_normalised_inside() -> None:
    model = make_model(ModelConfig(architecture="mlp", width=0.1), TABLE, 0)
    x = example(TABLE)
    torch.testing.assert_close(model(x), model.network((x - 1) / 2))


def own_network(facts: DataFacts, width: float) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(7, len(facts.classes)))


def no_network(facts: DataFacts, width: float) -> int:
    return 3


def test_a_users_own_network_is_imported() -> None:
    config = ModelConfig(architecture=f"{__name__}:own_network")
    assert logits_of(make_model(config, TABLE, 0), example(TABLE)).shape == (3, 5)


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("resnet18", TABLE, "take mlp"),
        ("vit", TEXT, "take text"),
        ("mlp", TEXT, "take text"),
        ("text", TABLE, "take mlp"),
        ("vit", DataFacts("image", (1, 30, 30), ("a", "b"), (0.0,), (1.0,)), "multiple of 4"),
        ("no_such_module:f", TABLE, "cannot be imported"),
        (f"{__name__}:missing", TABLE, "cannot be imported"),
        (f"{__name__}:TABLE", TABLE, "cannot be called"),
        (f"{__name__}:no_network", TABLE, "returned int"),
    ],
)
def test_networks_that_do_not_fit_are_refused(name: str, facts: DataFacts, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_model(ModelConfig(architecture=name), facts, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "resnet19"}, "nearest"),
        ({"width": 0.0}, "width is 0"),
        ({"width": 5.0}, "at most 4"),
    ],
)
def test_wrong_settings_of_a_network_are_refused(settings: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**settings)


def test_a_batch_size_does_not_change_what_batches_hold(idx_folder: Path) -> None:
    data = load_data(DataConfig(path=str(idx_folder)))
    labels = [torch.cat([b.labels for b in batches(data.train, size=n).ordered()]) for n in (3, 50)]
    assert torch.equal(*labels)
    assert set(ARCHITECTURES) >= {"resnet18", "resnet50", "vgg16", "vit", "text", "mlp"}
