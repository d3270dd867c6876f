"""Links, pipes and indexes that lead a reader out of a model's folder, or hold it for ever."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.models.tiny_chat import write_flux2
from support.models.tiny_labels import write_ddpm, write_index

from erasure.checkpoints import read_checkpoint, write_folder
from erasure.checkpoints.checks import config_limits, containment
from erasure.errors import CheckpointError

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder to spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """What no model may lead to."""
    (tmp_path / "private").mkdir()
    file = tmp_path / "private" / "key.json"
    file.write_text("{}")
    return file


def _link(path: Path, to: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def _index(model: Path, component: str) -> None:
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {component: ["diffusers", "X"]}))


@pytest.mark.parametrize(
    "place",
    [
        "model_index.json",
        "unet/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/notes.txt",
        "LICENSE.txt",
        "safety_checker/notes.txt",
        "safety_checker/deep/notes.txt",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "original_extras.safetensors",
    ],
)
def test_a_link_out_of_a_models_folder_is_refused(place: str, model: Path, private: Path) -> None:
    if place.startswith("safety_checker"):
        (model / place).parent.mkdir(parents=True)
        _index(model, "safety_checker")
    elif place.endswith(".index.json"):
        (model / UNET).unlink()
    _link(model / place, private)
    with pytest.raises(CheckpointError, match=r"is a link out of the model's folder"):
        read_checkpoint(model)


@pytest.mark.parametrize("place", ["tokenizer", "vae", "safety_checker"])
def test_a_linked_component_outside_is_refused(place: str, model: Path, private: Path) -> None:
    _index(model, "safety_checker")
    if (model / place).exists():
        shutil.move(model / place, private.parent / "elsewhere")
    (model / place).symlink_to(private.parent / "elsewhere")
    (private.parent / "elsewhere").mkdir(exist_ok=True)
    with pytest.raises(CheckpointError, match=r"is a link out of the model's folder"):
        read_checkpoint(model)


def test_a_link_to_a_folder_is_not_dropped_in_silence(model: Path) -> None:
    _index(model, "safety_checker")
    (model / "safety_checker").mkdir()
    (model / "safety_checker" / "more").symlink_to(model / "vae")
    with pytest.raises(CheckpointError, match="is a link to a folder"):
        read_checkpoint(model)


def test_links_in_a_circle_are_refused(model: Path) -> None:
    _link(model / "LICENSE", model / "LICENSE")
    with pytest.raises(CheckpointError, match="LICENSE cannot be followed"):
        read_checkpoint(model)


def test_links_within_the_folder_are_followed(model: Path, tmp_path: Path) -> None:
    (model / "unet" / "weights").mkdir()
    (model / UNET).rename(model / "unet" / "weights" / "one.safetensors")
    _link(model / UNET, Path("weights/one.safetensors"))
    _link(tmp_path / "name", model)
    assert read_checkpoint(tmp_path / "name").network


@pytest.mark.parametrize("blob", ["a" * 40, "0" * 64, "key.json", "elsewhere"])
def test_of_a_hub_cache_its_own_blobs_are_read_and_nothing_else(
    blob: str, model: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "hub" / "models--me--mine"
    snapshot = cache / "snapshots" / "main"
    (cache / "blobs").mkdir(parents=True)
    shutil.move(model, snapshot)
    place = tmp_path / "private" if blob == "elsewhere" else cache / "blobs"
    place.mkdir(exist_ok=True)
    name = "b" * 40 if blob == "elsewhere" else blob
    shutil.move(snapshot / "unet" / "config.json", place / name)
    to = Path("../../../blobs") / name if place.name == "blobs" else place / name
    _link(snapshot / "unet" / "config.json", to)
    if blob in ("key.json", "elsewhere"):
        with pytest.raises(CheckpointError, match="is a link out of"):
            read_checkpoint(snapshot)
    else:
        written = write_folder(read_checkpoint(snapshot), tmp_path / "out").path
        assert not (written / "unet" / "config.json").is_symlink()


@pytest.mark.parametrize(
    "place",
    [
        "unet/config.json",
        "tokenizer/pipe.json",
        "LICENSE",
        UNET,
        "safety_checker/pipe",
        "unet/diffusion_pytorch_model.safetensors.index.json",
    ],
)
def test_a_pipe_in_a_models_folder_is_refused_and_not_waited_for(place: str, model: Path) -> None:
    _index(model, "safety_checker")
    (model / place).parent.mkdir(exist_ok=True)
    (model / place).unlink(missing_ok=True)
    if place.endswith("index.json"):
        (model / UNET).unlink()
    os.mkfifo(model / place)
    with pytest.raises(CheckpointError, match="is a named pipe and not a regular file"):
        read_checkpoint(model)


def test_a_pipe_in_place_of_a_model_is_refused(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    os.mkfifo(tmp_path / "sd.safetensors")
    for model in (tmp_path / "sd.safetensors", "/dev/zero"):
        line = ("export", model, "--out", tmp_path / "out.safetensors")
        refused(line, "not a regular file")


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"w": "../../x.safetensors"}, "not a bare name"),
        ({"w": "/etc/passwd"}, "not a bare name"),
        ({"w": ""}, "not a bare name"),
        ({"w": 5}, "not a bare name"),
        ({"w": ["a"]}, "not a bare name"),
        ({}, "has no weight_map"),
        (["w"], "has no weight_map"),
        ({"w": "none.safetensors"}, "lacks 1 of the 1 files of its weights (none.safetensors)"),
    ],
)
def test_an_index_of_shards_names_bare_files(
    weight_map: object, words: str, model: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    (model / UNET).unlink()
    index = model / f"{UNET}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    refused(("export", model, "--out", tmp_path / "out.safetensors"), words)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("unet/config.json", "[" * 50_000, "cannot be read as JSON: .*; restore or fetch it"),
        ("model_index.json", '{"a":' * 50_000, "cannot be read as JSON"),
        ("vae/config.json", "{" + " " * 300_000 + "}", "more than 256,000 bytes"),
        ("vae/config.json", b"\xff\xfe", "cannot be read as JSON"),
        ("vae/config.json", '{"a": "\\ud800"}', "half a surrogate pair"),
        ("scheduler/scheduler_config.json", "[1]", "not an object"),
    ],
)
def test_a_config_that_is_no_json_of_its_size_is_refused(
    file: str, content: str | bytes, words: str, model: Path
) -> None:
    (model / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(model)


BAD_CONFIGS: list[tuple[str, dict[str, object], str]] = [
    ("unet", {"layers_per_block": 1_000_000}, "more than 500 layers"),
    ("vae", {"layers_per_block": 1_000_000}, "more than 500 layers"),
    ("text_encoder", {"num_hidden_layers": 1_000_000}, "more than 500 layers"),
    ("unet", {"block_out_channels": [10**9, 10**9]}, "no model has a number above"),
    ("unet", {"block_out_channels": [2**24, 2**24]}, "unet"),
    ("unet", {"block_out_channels": [2**200]}, "no model has a number above"),
    ("unet", {"attention_head_dim": 0}, "has attention_head_dim = 0 in the config of its unet"),
    ("unet", {"down_block_types": 5}, "unet/config.json describes no such model: .*; correct it"),
    ("unet", {"sample_size": None}, "sample_size of unet is None"),
    ("unet", {"sample_size": [64, 64]}, "sample_size of unet is"),
    ("vae", {"block_out_channels": 4}, "block_out_channels of vae is 4"),
    ("vae", {"block_out_channels": [4] * 20_000}, "has 20,000 entries"),
    ("unet", {"x": [[[[[[[[[[1]]]]]]]]]]}, "entries at depth"),
    ("text_encoder", {"attn_implementation": "someone/kernel"}, "code from elsewhere"),
    ("text_encoder", {"_attn_implementation": {"": "a/b"}}, "code from elsewhere"),
    ("text_encoder", {"vocab_size": "many"}, "text_encoder/config.json"),
]


@pytest.mark.parametrize(("part", "change", "words"), BAD_CONFIGS)
def test_a_config_that_asks_for_what_no_model_has_is_refused(
    part: str,
    change: dict[str, object],
    words: str,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config_limits, "_MODULES", 500)  # those of the package take seconds
    file = model / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(model)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("freq_shift", "x"),
        ("freq_shift", -1),
        ("downsample_padding", 2**24),
        ("downsample_padding", [1, "a"]),
        ("attention_head_dim", -1),
        ("attn_norm_num_groups", True),
        ("center_input_sample", {"0": [1]}),
        ("flip_sin_to_cos", None),
        ("add_attention", "x"),
        ("downsample_type", 0),
        ("upsample_type", [[1]]),
    ],
)
def test_a_setting_of_a_model_of_labels_that_it_cannot_compute_with_is_refused(
    name: str, value: object, tmp_path: Path
) -> None:
    file = write_ddpm(tmp_path / "labels") / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {name: value}))
    with pytest.raises(CheckpointError, match=rf"has {name} = .* must stand there"):
        read_checkpoint(tmp_path / "labels")


@pytest.mark.parametrize("value", ["x", [[1]], 1.5, 2**24])
def test_an_index_that_says_distilled_by_neither_word_is_refused(
    value: object, tmp_path: Path
) -> None:
    model = write_flux2(tmp_path / "klein")
    write_index(model, is_distilled=value)
    with pytest.raises(CheckpointError, match=r"has is_distilled .* true or false must stand"):
        read_checkpoint(model)


@pytest.fixture
def installed(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model that came with the package, by an installer that makes links of all files."""
    store, site = tmp_path / "store", tmp_path / "site"
    shutil.copytree(tiny_folder, store)
    shutil.copytree(store, site / "demo", copy_function=lambda a, b: os.symlink(a, b))
    about = site / "diffusion_erasure-9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: diffusion-erasure\nVersion: 9.0\n"
    )
    files = [path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()]
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.syspath_prepend(str(site))
    containment._installed.cache_clear()
    yield site / "demo"
    containment._installed.cache_clear()


def test_links_that_the_installer_of_this_package_made_are_read(
    installed: Path, tiny_folder: Path
) -> None:
    assert (installed / UNET).is_symlink()
    checkpoint = read_checkpoint(installed)
    assert checkpoint.network_hash() == read_checkpoint(tiny_folder).network_hash()


def test_a_link_that_came_to_an_installed_model_later_is_refused(
    installed: Path, private: Path
) -> None:
    (installed / "tokenizer" / "notes.txt").symlink_to(private)
    with pytest.raises(CheckpointError, match="is a link out of the model's folder"):
        read_checkpoint(installed)
