"""Prompt files: what is read from each form, and one sentence for what cannot be."""

from pathlib import Path

import pytest

from prompts.errors import PromptError
from prompts.files import read_prompts


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_file_gives_its_lines_without_blanks_and_comments(tmp_path: Path) -> None:
    path = write(tmp_path, "p.txt", "\ufeff# ours\n\n a church \r\n  # too\na #1 dog\na church")
    assert read_prompts(path) == ("a church", "a #1 dog", "a church")


def test_a_table_gives_its_prompt_column(tmp_path: Path) -> None:
    path = write(tmp_path, "p.csv", ',prompt,seed\n0,"a church, at night",1\n1,,2\n2,# dog,3\n')
    assert read_prompts(path) == ("a church, at night", "# dog")


def test_a_table_may_end_in_a_short_row(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, "p.CSV", "seed,prompt\n1,a dog\n2\n")) == ("a dog",)


def test_json_lines_give_their_prompt(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", '{"prompt": "a\u2028b"}\n\n{"seed": 1, "prompt": " c"}\n')
    assert read_prompts(path) == ("a\u2028b", "c")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", "", "has no prompt in it"),
        ("p.txt", "\n# only this\n", "has no prompt in it"),
        ("p.txt", b"\xff\xfe\x00", "UTF-8"),
        ("p.csv", "", "has no prompt in it"),
        ("p.csv", "prompt\n", "has no prompt in it"),
        ("p.csv", "Prompts,seed\na,1\n", "no column 'prompt'; the nearest is Prompts"),
        ("p.csv", "text,seed\na,1\n", "no column 'prompt'; there are text, seed"),
        ("p.csv", "prompt\n" + "a" * 200_000, "is not CSV"),
        ("p.csv", "prompt\na\na dog, asleep\n", r"row 2 \(line 3\) of .*: it has 1 cell more"),
        ("p.csv", "prompt,seed\na dog, asleep,1\n", "check its commas"),
        (
            "p.jsonl",
            '{"prompt": "a"}\n{"promt": "b"}\n',
            "no column 'prompt'; the nearest is promt",
        ),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": ', "line 2 .* is not JSON"),
        ("p.jsonl", '"a church"\n', "line 1 .* is no object"),
        ("p.jsonl", '{"prompt": 3}\n', "line 1 .* is no text"),
        ("p.jsonl", "\n", "has no prompt in it"),
        ("p.parquet", "x", r"'\.parquet'; give one of \.txt, \.csv, \.jsonl"),
        ("p", "a church", "has no ending"),
    ],
)
def test_a_file_that_is_no_list_of_prompts_is_refused_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(PromptError, match=said) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"there is no prompt file .*none\.txt"):
        read_prompts(tmp_path / "none.txt")


def test_a_folder_is_no_prompt_file(tmp_path: Path) -> None:
    (tmp_path / "d.txt").mkdir()
    with pytest.raises(PromptError, match="cannot be read"):
        read_prompts(tmp_path / "d.txt")
