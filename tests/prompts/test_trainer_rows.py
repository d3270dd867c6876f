"""Prompt files of the trainers: what a row says, what a slider means, and what is refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.errors import PromptError
from prompts.trainer_rows import TrainerRow, read_rows

HUGE = f"0x{'f' * 5000}"
LECO = """
- target: "van gogh"
  positive: "van gogh"
  unconditional: ""
  neutral: ""
  action: "erase"
  guidance_scale: 1.0
  resolution: 512
  batch_size: 1
- target: "dog"
  neutral: "cat"
"""
SD_SCRIPTS = """
guidance_scale = 2.0
weight = 0.5

[[prompts]]
target = "church"

[[prompts]]
target = "church"
positive = "a church tower"
unconditional = "a house"
action = "enhance"
guidance_scale = 3
"""


LAUGHS = "l0: &l0 [lol]\n" + "".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "m0: &m0 {target: a}\n" + "".join(
    f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 60)
)


def written(folder: Path, text: str, name: str = "rows.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_yaml_list_is_read_with_the_trainer_s_defaults(tmp_path: Path) -> None:
    read = read_rows(written(tmp_path, LECO, "rows.yaml"))
    assert read.rows == (
        TrainerRow("van gogh", "van gogh", "", "", "erase", 1.0, 1.0),
        TrainerRow("dog", "dog", "", "cat", "erase", 1.0, 1.0),
    )
    assert read.notes == (
        "resolution, batch_size of rows.yaml are not followed, as the run itself says its size and "
        "batch",
    )


def test_toml_rows_take_what_stands_above_them(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, SD_SCRIPTS)).rows
    assert rows == (
        TrainerRow("church", "church", "", "", "erase", 2.0, 0.5),
        TrainerRow("church", "a church tower", "a house", "a house", "enhance", 3.0, 0.5),
    )
    assert [row.strength for row in rows] == [-2.0, 3.0]


def test_a_slider_with_two_poles_is_its_positive_direction_said_twice(tmp_path: Path) -> None:
    text = '[slider]\ntarget_class = "face"\npositive = "old"\nnegative = "young"\n'
    read = read_rows(written(tmp_path, text))
    assert read.rows == (
        TrainerRow("face", "young", "old", "", "erase", 1.0, 1.0),
        TrainerRow("face", "old", "young", "", "enhance", 1.0, 1.0),
    )
    assert "positive direction alone" in read.notes[0]


@pytest.mark.parametrize(
    ("pole", "row"),
    [
        ('positive = "old"', TrainerRow("face", "old", "", "", "enhance", 1.0, 1.0)),
        ('negative = "old"', TrainerRow("face", "old", "", "", "erase", 1.0, 1.0)),
    ],
)
def test_a_slider_with_one_pole_is_one_row(pole: str, row: TrainerRow, tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, f'target_class = "face"\n{pole}\n')).rows == (row,)


def test_a_slider_has_a_row_for_each_of_its_neutrals(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a park\n", encoding="utf-8")
    text = """
[slider]
neutrals = ["a street"]
prompt_file = "more.txt"
[[slider.targets]]
target_class = "face"
positive = "old"
[[slider.targets]]
target_class = "dog"
positive = "old"
neutral = "a sofa"
"""
    rows = read_rows(written(tmp_path, text)).rows
    assert [(row.target, row.neutral) for row in rows] == [
        ("face", "a street"),
        ("face", "a park"),
        ("dog", "a sofa"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[prompts]]\ntarget = "a"\naction = "erase_with_la"', "action is 'erase_with_la'; give"),
        ('[[prompts]]\ntarget = "a"\ntarge = "b"', "'targe' in row 1 is unknown; the nearest is"),
        ('[[prompts]]\npositive = "a"', "in row 1 there is no target; name it"),
        ("[[prompts]]\ntarget = 3", "in row 1 target is 3, no text"),
        ('[[prompts]]\ntarget = "a"\nguidance_scale = "1"', "guidance_scale is '1'; give a number"),
        ('[[prompts]]\ntarget = "a"\nguidance_scale = nan', "scale is nan; give a number of at"),
        ('[[prompts]]\ntarget = "a"\nguidance_scale = -1', "guidance_scale is -1; give 0 or more"),
        ('[[prompts]]\ntarget = "a"\nweight = 0', "weight is 0; give more than 0"),
        ('[[prompts]]\ntarget = "a"\nmultiplier = -1.0', "multiplier is -1, the strength of an"),
        ('prompts = "a"', r"prompts is no list of tables; write \[\[prompts\]\]"),
        ("prompts = []", "has no row for weights"),
        ("color = 1", "it has no prompts, target or target_class; .* or as a list in YAML"),
        ('target_class = "a"', "neither positive nor negative"),
        ("slider = 1", "slider is no table"),
        ('target_class = "a"\npositive = "b"\nprompt_file = "../x.txt"', "the bare name of a .txt"),
        ('target_class = "a"\npositive = "b"\nneutrals = [1]', "neutrals is no list of texts"),
        ("[[prompts]", "is not TOML"),
    ],
)
def test_a_malformed_toml_file_is_refused_in_a_sentence(
    text: str, words: str, tmp_path: Path
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PromptError, match=words) as failure:
        read_rows(path)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- target: no", "target is False, no text; put it in quotes"),
        ("- just words", "prompts is no list of tables"),
        ("- target: a\n  1: b", "'1' in row 1 is unknown"),
        ("- {target: [", "is not YAML"),
        ('- target: !!int ""', "is not YAML"),
        ("- target: !!timestamp x", "is not YAML"),
        ("!!python/object/apply:os.system [true]", "is not YAML"),
        ("&a [*a, *a]", "line 1 repeats a value by an alias; write it out there"),
        (LAUGHS, "line 2 repeats a value by an alias"),
        (MERGES, "line 2 repeats a value by an alias"),
        ("- {target: [1, [2]]}", "target is a list, no text"),
        ("- {target: a, weight: {b: 1}}", "weight is a table; give a number"),
        ("", "neither rows nor tables"),
        ("just words", "neither rows nor tables"),
        (
            "prompts_file: p.yaml\nnetwork: {type: lierla}",
            r"own config, and the prompts lie .* 'p\.yaml'; give that file",
        ),
    ],
)
def test_a_malformed_yaml_file_is_refused_in_a_sentence(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptError, match=words) as failure:
        read_rows(written(tmp_path, text, "rows.yml"))
    assert "\n" not in str(failure.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"give a \.toml, \.yaml or \.yml file"):
        read_rows(written(tmp_path, "a", "rows.txt"))
    with pytest.raises(PromptError, match="there is no prompt file"):
        read_rows(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'target = "\xe9"')
    with pytest.raises(PromptError, match="is not text in UTF-8"):
        read_rows(tmp_path / "latin.toml")


@given(content=st.binary(max_size=200), ending=st.sampled_from([".toml", ".yaml"]))
def test_any_bytes_are_rows_or_a_sentence(
    content: bytes, ending: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(content)
    with suppress(PromptError):
        assert read_rows(path).rows


@pytest.mark.parametrize("number", ["1" * 400, "-" + "1" * 400, "inf", "nan", "1000001"])
def test_a_number_beyond_all_sense_is_refused(number: str, tmp_path: Path) -> None:
    text = f'[[prompts]]\ntarget = "church"\nguidance_scale = {number}\n'
    with pytest.raises(PromptError, match="give a number of at most 1,000,000"):
        read_rows(written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", f"- target: a\n  weight: {HUGE}\n"),
        ("a.toml", f"[[prompts]]\ntarget = {HUGE}\n"),
        ("a.toml", f'[[prompts]]\ntarget = "a"\naction = {HUGE}\n'),
        ("a.yaml", '- target_class: a\n  positive: b\n  prompt_file: "x\\0.txt"\n'),
    ],
)
def test_values_that_no_message_can_say_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(PromptError, match=r"more than 10,000 bits|character of number 0"):
        read_rows(tmp_path / name)
