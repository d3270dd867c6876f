"""Any bytes give one of our errors or a right result, and write nothing outside the output.

`ERASURE_FUZZ=2000 pytest tests/hostile/test_fuzzed_readers.py` looks at more of them.
"""

import base64
import contextlib
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.refusals import tree

from erasure.checkpoints import Checkpoint, read_checkpoint, write_folder, write_single_file
from erasure.checkpoints.provenance import Provenance
from erasure.checkpoints.reading.embedded import from_header
from erasure.checkpoints.verification import verify
from erasure.errors import ErasureError
from erasure.masks import mask_file
from erasure.masks.mask_file import load_mask, save_mask
from erasure.masks.masks import all_mask
from erasure.patches import patch_file
from erasure.patches.applying import apply_patch
from erasure.patches.patch import make_patch
from erasure.patches.patch_file import load_patch, save_patch
from erasure.storage import state_file
from erasure.storage.state_file import load_run, save_run
from erasure.storage.tables import build
from erasure.storage.tensors.tensor_file import read_tensors
from eval.errors import EvalError
from eval.judges.labels import read_labels
from pipelines.configs.recipe_files import load_toml
from pipelines.configs.settings import EraseRecipe
from pipelines.data.picture_folder import folder_entries
from pipelines.evaluation.outcome.results_file import read_results
from prompts.errors import PromptError
from prompts.files import read_prompts

EXAMPLES = int(os.environ.get("ERASURE_FUZZ", "25"))
OURS = (ErasureError, EvalError, PromptError)
fuzzed = settings(
    max_examples=EXAMPLES,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink a model takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

names = st.sampled_from(
    ["../up", "/tmp/erasure-owned", "a/b", "a\\b", "..", "", "C:x", "vocab.json", "x\0y", "é\ud800"]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 2, 8, 10**6, 2**24, 10**9, 2**63, 10**40]),
    st.floats(),
    st.text(max_size=20),
    names,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(names, st.text(max_size=8)), inner, max_size=3),
    ),
    max_leaves=6,
)
texts = st.one_of(
    values.map(json.dumps),
    st.text(max_size=60),
    st.sampled_from(["[" * 20_000, '{"a":' * 20_000, "9" * 5_000, "NaN", ""]),
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with a few places overwritten, cut or doubled, or other bytes altogether."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    spoilt = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(spoilt)))
        spoilt[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(spoilt[: draw(st.integers(0, len(spoilt)))] if draw(st.booleans()) else spoilt)


@st.composite
def changed(draw: st.DrawFn, plain: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with one or two of its values, or new ones, changed."""
    keys = st.one_of(st.sampled_from(sorted(plain)), names, st.text(max_size=8))
    return plain | draw(st.dictionaries(keys, values, min_size=1, max_size=2))


@contextlib.contextmanager
def ours_or_right() -> Any:  # noqa: ANN401
    """Nothing but our own errors leaves the block, each with a message."""
    message = "nothing was wrong"
    try:
        yield
    except OURS as err:
        message = str(err).strip()
    assert message


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def single(place: Path, tiny_checkpoint: Checkpoint) -> Path:
    return write_single_file(tiny_checkpoint, place / "good.safetensors").path


def read_and_write(model: Path, place: Path) -> None:
    """Read a model, write it as a folder, and look at what else has changed."""
    out = place / "deep" / "down" / "out"
    shutil.rmtree(place / "deep", ignore_errors=True)
    out.parent.mkdir(parents=True)
    before = tree(place)
    with ours_or_right():
        write_folder(read_checkpoint(model), out)
    with ours_or_right():
        verify(model)
    inside = out.relative_to(place).as_posix()
    after = {name: size for name, size in tree(place).items() if not name.startswith(inside)}
    assert {k: v[0] for k, v in after.items() if k not in ("deep/down",)} == {
        k: v[0] for k, v in before.items() if k not in ("deep/down",)
    }
    assert not Path("/tmp/erasure-owned").exists()


@settings(fuzzed, max_examples=EXAMPLES // 3)
@given(data=st.data())
def test_a_single_file_of_any_header(data: st.DataObject, single: Path, place: Path) -> None:
    file = read_tensors(single)
    entries = dict(file.metadata)
    configs = json.loads(entries["erasure.configs"])
    part = data.draw(st.sampled_from(sorted(configs)))
    packed = st.dictionaries(st.one_of(names, st.text(max_size=9)), values, max_size=2).map(_packed)
    entries |= data.draw(
        st.one_of(
            changed(configs[part]).map(
                lambda config: {"erasure.configs": json.dumps(configs | {part: config})}
            ),
            changed(configs).map(lambda value: {"erasure.configs": json.dumps(value)}),
            packed.map(lambda words: {"erasure.tokenizer": words}),
            st.dictionaries(
                st.sampled_from([*entries, "erasure.edits", "erasure.format"]),
                texts,
                min_size=1,
                max_size=2,
            ),
        )
    )
    model = place / "file.safetensors"
    with contextlib.suppress(UnicodeEncodeError):  # no header holds half a surrogate pair
        save_file(dict(file.tensors), model, entries)
        read_and_write(model, place)


def _packed(files: object) -> str:
    return base64.b85encode(gzip.compress(json.dumps(files).encode())).decode()


@fuzzed
@given(data=st.data())
def test_a_single_file_of_any_bytes(data: st.DataObject, single: Path, place: Path) -> None:
    model = place / "file.safetensors"
    model.write_bytes(data.draw(damaged(single.read_bytes()[:20_000])))
    with ours_or_right():
        read_checkpoint(model, allow_pickle=True)


@fuzzed
@given(entries=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), texts))
def test_header_entries_of_any_text(entries: dict[str, str]) -> None:
    keys = {"a": "configs", "b": "tokenizer", "c": "format", "d": "edits"}
    header = {f"erasure.{keys[key]}": text for key, text in entries.items()}
    with ours_or_right():
        from_header(header, "it", ("unet", "vae", "text_encoder"))
    with ours_or_right():
        Provenance.from_header(header, "it")
    with ours_or_right():
        Provenance.from_header(header | {"erasure.format": "erasure-checkpoint 2"}, "it")


FILES = [
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "erasure.json",
]


@settings(fuzzed, max_examples=EXAMPLES // 3)
@given(data=st.data())
def test_a_folder_of_any_configs(data: st.DataObject, tiny_folder: Path, place: Path) -> None:
    model = place / "model"
    if not model.exists():
        shutil.copytree(tiny_folder, model)
    name = data.draw(st.sampled_from(FILES))
    there = (tiny_folder / name).is_file()
    old = (tiny_folder / name).read_bytes() if there else b'{"weight_map": {"a": "b"}}'
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    as_json = changed(json.loads(old)).map(lambda value: json.dumps(value).encode())
    content = data.draw(st.one_of(as_json, damaged(old)))  # it may end the example
    if "index.json" in name and not there and name.startswith("unet"):
        weights.rename(place / "weights")
    try:
        (model / name).write_bytes(content)
        read_and_write(model, place)
    finally:
        (model / name).unlink()
        if there:
            (model / name).write_bytes(old)
        if (place / "weights").exists():
            (place / "weights").rename(weights)


@fuzzed
@given(data=st.data())
def test_a_patch_of_any_header_and_bits(data: st.DataObject, place: Path) -> None:
    path = place / "patch.safetensors"
    base = {"a": torch.zeros(40), "b": torch.zeros(3, 3)}
    edited = {"a": base["a"].clone(), "b": torch.ones(3, 3)}
    edited["a"][5] = 1.0
    save_patch(path, make_patch(base, edited))
    _spoil(data, path, patch_file._checksum)
    with ours_or_right():
        apply_patch(base, load_patch(path))


@fuzzed
@given(data=st.data())
def test_a_mask_of_any_header_and_bits(data: st.DataObject, place: Path) -> None:
    path = place / "mask.safetensors"
    save_mask(path, all_mask({"a": torch.zeros(40), "b": torch.zeros(3, 3)}))
    _spoil(data, path, lambda header, _: mask_file._checksum(header))
    with ours_or_right():
        load_mask(path)


@fuzzed
@given(data=st.data())
def test_a_state_of_any_header_and_bits(data: st.DataObject, place: Path) -> None:
    path = place / "state.safetensors"
    save_run(path, {"value.a": torch.zeros(4)}, kind="k", run="r", done="3")
    _spoil(data, path, state_file._checksum)
    with ours_or_right():
        load_run(path, kind="k", run="r")


def _spoil(data: st.DataObject, path: Path, checksum: Callable[..., str]) -> None:
    """Damage a file, or write another whose checksum is right."""
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        return
    header = {k: v for k, v in read_tensors(path).metadata.items() if k != "checksum"}
    tensors = load_file(path)
    keys = st.sampled_from(sorted(header))
    header |= data.draw(st.dictionaries(keys, texts.filter(_plain), max_size=2))
    kinds = st.sampled_from([torch.uint8, torch.int32, torch.float32, torch.int64])
    name = data.draw(st.sampled_from(sorted(tensors)))
    if data.draw(st.booleans()):
        shape = data.draw(st.lists(st.integers(0, 5), max_size=3))
        tensors[name] = torch.full(shape, data.draw(st.integers(0, 100)), dtype=data.draw(kinds))
    save_file(tensors, path, header | {"checksum": checksum(header, tensors)})


def _plain(text: str) -> bool:
    """Whether a header can hold it: no half of a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@fuzzed
@given(
    lines=st.lists(
        st.one_of(
            texts.filter(_plain),
            st.builds(
                lambda name, text: json.dumps({"file_name": name, "text": text}),
                st.one_of(names, values),
                values,
            ),
        ),
        max_size=3,
    )
)
def test_metadata_of_any_rows(lines: list[str], place: Path) -> None:
    folder = place / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / "a.png").touch()
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with ours_or_right():
        for entry in folder_entries(folder):
            assert entry.path.resolve().is_relative_to(folder.resolve())


@fuzzed
@given(data=st.data())
def test_a_recipe_of_any_bytes(data: st.DataObject, place: Path, tiny_recipe: Path) -> None:
    path = place / "recipe.toml"
    line = st.builds(lambda key, value: f"{key} = {value}\n", st.text(max_size=8), texts)
    path.write_bytes(
        data.draw(
            st.one_of(
                damaged(tiny_recipe.read_bytes()),
                line.map(lambda text: text.encode("utf-8", "replace") + tiny_recipe.read_bytes()),
            )
        )
    )
    with ours_or_right():
        build(EraseRecipe, load_toml(path))


@fuzzed
@given(content=st.one_of(texts.map(lambda text: text.encode("utf-8", "replace")), st.binary()))
def test_tables_and_results_of_any_bytes(content: bytes, place: Path) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "x.txt": read_prompts,
        "x.csv": read_prompts,
        "x.jsonl": read_prompts,
        "x.json": lambda path: read_labels(str(path)),
        "results.json": read_results,
    }
    for name, read in readers.items():
        (place / name).write_bytes(content)
        with ours_or_right():
            read(place / name)
