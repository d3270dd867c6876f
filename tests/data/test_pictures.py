"""Pictures from folders and data sets: what reaches the model, and what is refused."""

import io
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erasure.errors import ConfigError
from pipelines.data.picture_dataset import CONVERTED, DatasetSource, dataset_pictures
from pipelines.data.picture_folder import folder_entries, folder_pictures
from pipelines.drawing.pictures import decode, square, to_tensor
from prompts.suites.imagenette import label_prompts


def stored(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def paint(path: Path, colour: str = "red", size: tuple[int, int] = (20, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def table(folder: Path, *rows: Mapping[str, object]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


# One picture.


def test_a_tensor_spans_minus_one_to_one_channels_first() -> None:
    image = Image.new("RGB", (3, 2), (0, 255, 51))
    tensor = to_tensor(image)
    assert (tensor.shape, tensor.dtype) == ((3, 2, 3), torch.float32)
    for channel, value in zip(tensor, (-1.0, 1.0, -0.6), strict=True):
        torch.testing.assert_close(channel, torch.full((2, 3), value))


def test_the_shorter_side_is_fitted_and_the_centre_kept() -> None:
    # 6 x 2 pixels in columns of pairs: at twice the size the centre is the green pair alone.
    pixels = np.zeros((2, 6, 3), np.uint8)
    for at, channel in enumerate((0, 1, 2)):
        pixels[:, 2 * at : 2 * at + 2, channel] = 255
    cut = np.asarray(square(Image.fromarray(pixels), 8))
    assert cut.shape == (8, 8, 3)
    assert (cut[:, 3:5].reshape(-1, 3).argmax(axis=1) == 1).all()


@pytest.mark.parametrize("size", [(213, 160), (160, 213)])
def test_rounding_is_that_of_the_released_transform(size: tuple[int, int]) -> None:
    # 160 -> 512 makes of 213 int(681.6) = 681; the crop begins at round(84.5) = 84.
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    wide = size[0] > size[1]
    fitted = image.resize((681, 512) if wide else (512, 681), Image.Resampling.BICUBIC)
    box = (84, 0, 596, 512) if wide else (0, 84, 512, 596)
    assert square(image, 512).tobytes() == fitted.crop(box).tobytes()


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (np.asarray(square(Image.fromarray(noise), 16)) == noise).all()


def test_a_sliver_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"thin\.png is 1x100 pixels"):
        square(Image.new("RGB", (1, 100)), 64, "thin.png")


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="size is 0"):
        square(Image.new("RGB", (4, 4)), 0)


def test_what_is_transparent_lies_on_white() -> None:
    clear = stored(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))
    assert decode(clear, "clear").getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_with_transparency_lies_on_white() -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 1), 1)
    read = decode(stored(image, transparency=0), "palette")
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((1, 1)) == (0, 255, 0)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    grey = np.array([[0, 0x8000], [0xC000, 0xFFFF]], np.uint16)
    read = np.asarray(decode(stored(Image.fromarray(grey)), "grey"))
    assert read[..., 0].tolist() == [[0, 0x80], [0xC0, 0xFF]]


def test_a_turned_camera_is_turned_back() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    assert decode(stored(Image.new("RGB", (6, 2)), "JPEG", exif=exif), "x").size == (2, 6)


@pytest.mark.parametrize("keep", [0, 8, 30, 60])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_cut_file_is_refused_by_its_name(form: str, keep: int) -> None:
    whole = stored(Image.effect_noise((32, 32), 90), form)
    with pytest.raises(ConfigError, match="some file is no picture that can be decoded") as caught:
        decode(whole[:keep], "some file")
    assert "BytesIO" not in str(caught.value)


# A folder.


def test_json_lines_say_which_pictures_and_what_they_show(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", "red")
    paint(tmp_path / "in" / "b.jpg", "blue", (10, 40))
    paint(tmp_path / "unlisted.png")
    table(
        tmp_path,
        {"file_name": "in/b.jpg", "text": "a blue wall"},
        {"file_name": "a.png", "prompt": " a red wall ", "text": "not this"},
    )
    blue, red = folder_pictures(tmp_path, size=8)
    assert (blue.prompt, red.prompt) == ("a blue wall", "a red wall")
    assert (blue.source, red.source) == (str(tmp_path / "in" / "b.jpg"), str(tmp_path / "a.png"))
    assert blue.image.size == red.image.size == (8, 8)
    assert red.image.getpixel((4, 4)) == (255, 0, 0)


def test_a_csv_table_in_a_folder_below_serves_as_well(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "a.png")
    text = '\ufefffile_name,text\na.png,"a wall, red"\n'
    (tmp_path / "train" / "metadata.csv").write_text(text, encoding="utf-8")
    (entry,) = folder_entries(tmp_path)
    assert (entry.path, entry.prompt) == (tmp_path / "train" / "a.png", "a wall, red")


def test_one_prompt_may_serve_all_pictures(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "in/c.webp", ".hidden.png", ".cache/d.png"):
        paint(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    table(tmp_path, {"file_name": "gone.png"})
    entries = folder_entries(tmp_path, prompt="a wall")
    names = [str(entry.path.relative_to(tmp_path).as_posix()) for entry in entries]
    assert names == ["a.jpg", "b.PNG", "in/c.webp"]
    assert {entry.prompt for entry in entries} == {"a wall"}


def test_pictures_are_read_only_as_they_are_asked_for(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    pictures = folder_pictures(tmp_path, size=8, prompt="a wall")
    next(pictures)
    with pytest.raises(ConfigError, match=r"b\.png is no picture that can be decoded"):
        next(pictures)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no picture"),
        ([{"file_name": "gone.png", "text": "x"}], r"line 1 .* names 'gone\.png', but there is no"),
        (
            [{"file_name": "a.png", "text": "x"}, {"file_name": "a.png"}],
            "line 2 .* has no prompt or",
        ),
        ([{"file_name": "a.png", "promt": "x"}], "the nearest is promt"),
        ([{"filename": "a.png", "text": "x"}], "has no file_name; the nearest is filename"),
        ([{"file_name": "a.png", "text": None}], "the text in line 1 .* is no text but None"),
        ([{"file_name": "a.png", "text": " "}], "the text in line 1 .* is no text"),
        ([{"file_name": 3, "text": "x"}], "the file_name in line 1 .* is no text but 3"),
        ([{"file_name": "../a.png", "text": "x"}], "lies outside"),
        ([{"file_name": "/a.png", "text": "x"}], "lies outside"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, rows: list[dict[str, object]], said: str
) -> None:
    paint(tmp_path / "a.png")
    table(tmp_path, *rows)
    with pytest.raises(ConfigError, match=said):
        folder_pictures(tmp_path, size=8)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.jsonl", b"{", "line 1 .* is not JSON"),
        ("metadata.jsonl", b"[1]", "line 1 .* is no JSON object"),
        ("metadata.jsonl", b"\xff\xfe", "cannot be read as text"),
        ("metadata.csv", b"file_name,text\n" + b"a" * 200_000, "is not CSV"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        folder_entries(tmp_path)


def test_two_tables_for_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("metadata.csv", "metadata.jsonl"):
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="has both"):
        folder_entries(tmp_path)


def test_a_folder_without_pictures_prompts_or_existence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        folder_entries(tmp_path / "none")
    with pytest.raises(ConfigError, match="is a file"):
        folder_entries(paint(tmp_path / "file" / "a.png"))
    with pytest.raises(ConfigError, match=r"no metadata\.jsonl .* no captions .* no prompt"):
        folder_entries(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no picture"):
        folder_entries(tmp_path / "empty", prompt="a wall")


# A folder with captions.


def caption(picture: Path, text: str, ending: str = ".txt") -> Path:
    picture.with_suffix(ending).write_text(text, encoding="utf-8")
    return picture


def test_captions_beside_pictures_are_their_prompts(tmp_path: Path) -> None:
    caption(paint(tmp_path / "a.png"), "\ufeffa red   wall\nsecond line\n")
    caption(paint(tmp_path / "in" / "b.jfif.png"), "a wall, old", ".caption")
    captions = [(e.path.name, e.prompt) for e in folder_entries(tmp_path)]
    assert captions == [("a.png", "a red wall"), ("b.jfif.png", "a wall, old")]


def test_folders_with_numbers_name_and_repeat_their_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caption(paint(tmp_path / "10_church" / "a.png"), "a church at night")
    paint(tmp_path / "10_church" / "b.png")
    paint(tmp_path / "5_old castle" / "c.png")
    captions = [(e.path.name, e.prompt) for e in folder_entries(tmp_path)]
    church = [("a.png", "a church at night")] * 2 + [("b.png", "church")] * 2
    assert captions == [*church, ("c.png", "old castle")]  # 10 to 5 is 2 to 1
    assert "(first line of each): 1; the folder's name serves as prompt of 2 more" in caplog.text
    assert "pictures are taken 1 to 2 times" in caplog.text
    assert len(folder_entries(tmp_path / "10_church")) == 2  # alone, its number says nothing
    assert len(folder_entries(tmp_path, prompt="a wall")) == 5


@pytest.mark.parametrize("number", ["0", "1001", "9" * 30])
def test_a_folder_that_repeats_its_pictures_without_sense_is_refused(
    tmp_path: Path, number: str
) -> None:
    paint(tmp_path / f"{number}_church" / "a.png")
    with pytest.raises(ConfigError, match="with a number from 1 to 1,000"):
        folder_entries(tmp_path)


def test_captions_that_are_missing_empty_or_double_are_refused(tmp_path: Path) -> None:
    picture = caption(paint(tmp_path / "a.png"), "a wall")
    other = paint(tmp_path / "b.png")
    with pytest.raises(ConfigError, match=r"b\.png has no caption, while .*: 1\); add b\.txt"):
        folder_entries(tmp_path)
    caption(other, " \n")
    with pytest.raises(ConfigError, match=r"the first line of .*b\.txt is empty"):
        folder_entries(tmp_path)
    other.with_suffix(".txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"b\.txt cannot be read as text in UTF-8"):
        folder_entries(tmp_path)
    caption(picture, "a wall", ".caption")
    with pytest.raises(ConfigError, match=r"two captions, a\.txt and a\.caption; keep one"):
        folder_entries(tmp_path)


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".webp", ".avif", ".JPG", ".jp2", ".tga"])
def test_pictures_of_every_readable_format_are_read(tmp_path: Path, ending: str) -> None:
    if ending not in Image.registered_extensions() and ending.islower():
        pytest.skip(f"this Pillow does not read {ending}")
    caption(paint(tmp_path / f"a{ending}", "red", (64, 64)), "a red wall")
    (picture,) = folder_pictures(tmp_path, size=8)
    red, green, blue = picture.image.getpixel((4, 4))
    assert red > 200 > 60 > max(green, blue)


@pytest.mark.parametrize("ending", [".heic", ".heif", ".jxl", ".HEIC"])
def test_pictures_that_cannot_be_read_are_counted_and_named(tmp_path: Path, ending: str) -> None:
    caption(paint(tmp_path / "b.png"), "a wall")
    for name in ("a", "c"):
        caption(tmp_path / f"{name}{ending}", "a wall")
        (tmp_path / f"{name}{ending}").touch()
    for prompt in (None, "a wall"):
        sentence = rf"a{ending} has a format .* \(of such there are 2 {ending.lower()}\); convert"
        with pytest.raises(ConfigError, match=sentence):
            folder_entries(tmp_path, prompt=prompt)


def test_what_is_left_out_of_a_folder_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.png", "b.png"):
        caption(paint(tmp_path / name), "a wall")
    folder_entries(tmp_path)
    assert "left out" not in caplog.text
    for name in ("a.npz", "b.npz", "meta_cap.json", "README"):
        (tmp_path / name).touch()
    folder_entries(tmp_path)
    assert (
        "left out files that no prompt goes with: 2 .npz, 1 without an ending, 1 .json"
        in caplog.text
    )
    table(tmp_path, {"file_name": "a.png", "text": "a wall"})
    folder_entries(tmp_path)
    assert "2 .npz, 2 .txt, 1 without an ending, 1 .png, 1 .json" in caplog.text


# A data set.


class ImageFeature:
    """Stands for `datasets.Image`."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class Rows:
    """A split as `datasets` gives it; pictures are bytes only once the column is cast."""

    def __init__(self, rows: list[dict[str, Any]], decode: bool = True) -> None:
        self.rows = rows
        self.decode = decode
        self.features = {"image": ImageFeature(), "label": object(), "caption": object()}

    def cast_column(self, column: str, feature: ImageFeature) -> "Rows":
        assert column == "image"
        return Rows(self.rows, feature.decode)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        assert not self.decode
        return iter(self.rows)


class FakeDatasets:
    """Stands for the package: one data set, and a record of how it was asked for."""

    Image = ImageFeature
    exceptions = SimpleNamespace(DatasetsError=type("DatasetsError", (Exception,), {}))

    def __init__(self, cache: Path) -> None:
        names = ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH")
        self.config = SimpleNamespace(**dict.fromkeys(names, cache))
        red, green = (stored(Image.new("RGB", (9, 7), colour)) for colour in ("red", "lime"))
        self.rows = [
            {"image": {"bytes": red, "path": "a.png"}, "label": 4, "caption": "a red wall"},
            {"image": {"bytes": green, "path": None}, "label": 5, "caption": "a green wall"},
            {"image": {"bytes": b"no picture", "path": None}, "label": 6, "caption": ""},
            {"image": None, "label": 7, "caption": "nothing"},
        ]
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.errors: list[Exception] = []

    def load_dataset(self, *args: Any, **options: Any) -> Rows:  # noqa: ANN401
        self.calls.append((args, options))
        if self.errors:
            raise self.errors.pop(0)
        return Rows(self.rows)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDatasets:
    fake = FakeDatasets(tmp_path / "cache")
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return fake


def imagenette(*labels: int) -> DatasetSource:
    return DatasetSource(
        name="frgfm/imagenette", config="160px", label_prompts=label_prompts(labels)
    )


def test_labels_choose_the_rows_and_their_prompts(package: FakeDatasets) -> None:
    (picture,) = dataset_pictures(imagenette(4), size=8)
    assert picture.prompt == "an image of a church"
    assert picture.source == "row 0 of frgfm/imagenette"
    assert picture.image.size == (8, 8)
    assert picture.image.getpixel((4, 4)) == (255, 0, 0)
    assert package.calls == [(("frgfm/imagenette", "160px"), {"split": "train"})]


def test_a_column_may_hold_the_prompts(package: FakeDatasets) -> None:
    pictures = dataset_pictures(DatasetSource(name="x/y", text_column="caption"), size=8)
    assert [next(pictures).prompt for _ in range(2)] == ["a red wall", "a green wall"]
    with pytest.raises(ConfigError, match="row 2 of x/y has no text in caption but ''"):
        next(pictures)


def test_one_prompt_may_serve_a_whole_data_set(package: FakeDatasets) -> None:
    package.rows = package.rows[:2]
    pictures = list(dataset_pictures(DatasetSource(name="x/y", prompt="a wall"), size=8))
    assert [picture.prompt for picture in pictures] == ["a wall", "a wall"]


def test_a_picture_may_be_a_file_of_its_own(package: FakeDatasets, tmp_path: Path) -> None:
    own = DatasetSource(name=str(tmp_path / "own"), label_prompts=label_prompts([4]))
    for folder, source in (("cache", imagenette(4)), ("own", own)):
        path = paint(tmp_path / folder / "a.png", "blue")
        package.rows[0]["image"] = {"bytes": None, "path": str(path)}
        (picture,) = dataset_pictures(source, size=8)
        assert picture.image.getpixel((0, 0)) == (0, 0, 255)


def test_a_row_leads_to_no_picture_outside_its_data_set(
    package: FakeDatasets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = paint(tmp_path / "private.png", "blue")
    paint(tmp_path / "cache.png", "blue")
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "cache" / ".." / "private.png"
    for path in (private, private.name, inside, tmp_path / "cache.png"):
        package.rows[0]["image"] = {"bytes": None, "path": str(path)}
        with pytest.raises(ConfigError, match=r"row 0 of .* lies outside the data set"):
            list(dataset_pictures(imagenette(4), size=8))


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (6, "row 2 of frgfm/imagenette is no picture that can be decoded"),
        (7, "row 3 of frgfm/imagenette has no picture"),
        (9, "has no picture that is wanted"),
    ],
)
def test_a_bad_row_is_named(package: FakeDatasets, label: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(dataset_pictures(imagenette(label), size=8))


def test_a_row_with_several_labels_is_of_none_of_the_classes(package: FakeDatasets) -> None:
    package.rows[1]["label"] = [4, 5]
    assert len(list(dataset_pictures(imagenette(4, 5), size=8))) == 1


def test_a_data_set_that_comes_as_a_script_is_read_from_the_hub_s_copy(
    package: FakeDatasets,
) -> None:
    package.errors = [RuntimeError("Dataset scripts are no longer supported, but found x.py")]
    assert len(list(dataset_pictures(imagenette(4, 5), size=8))) == 2
    copy = {"data_dir": "160px", "split": "train", "revision": CONVERTED}
    assert package.calls[1] == (("frgfm/imagenette",), copy)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no such host"),
        ValueError("\nno such\n  host"),
        RuntimeError("no such host"),
        FakeDatasets.exceptions.DatasetsError("no such host"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_data_set_that_cannot_be_loaded_is_named(package: FakeDatasets, error: Exception) -> None:
    package.errors = [error]
    said = r"train split of the data set frgfm/imagenette \(160px\) .*: no such host"
    with pytest.raises(ConfigError, match=said):
        dataset_pictures(imagenette(4), size=8)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image_column": "images"}, "no column 'images'; the nearest is image"),
        ({"image_column": "label"}, "label .* holds no pictures; name the one of image, label"),
        ({"text_column": "captions"}, "no column 'captions'; the nearest is caption"),
    ],
)
def test_a_column_that_is_not_there_is_named(
    package: FakeDatasets, columns: dict[str, str], said: str
) -> None:
    source = DatasetSource(**{"name": "x/y", "text_column": "caption", **columns})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=said):
        dataset_pictures(source, size=8)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'diffusion-erasure\[data\]'"):
        dataset_pictures(imagenette(4), size=8)


@pytest.mark.parametrize("ways", [{}, {"prompt": "a", "text_column": "b"}])
def test_a_source_says_in_one_way_what_its_pictures_show(ways: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="exactly one of text_column, label_prompts and prompt"):
        DatasetSource(name="x/y", **ways)  # type: ignore[arg-type]


def test_a_source_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="has no name"):
        DatasetSource(name=" ", prompt="a wall")
