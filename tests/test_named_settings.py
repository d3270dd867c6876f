"""Messages name parameters to whoever calls a function, and options to whoever types a command."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from erasure.errors import CheckpointError, ErasureError, Way, way

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"`erasure [a-z][^`]*`")


def texts(node: ast.AST) -> Iterator[str]:
    """The strings of a tree; of an f-string the whole, with `{}` for what is put in.

    Docstrings are left out, and the option of a `Way`, which stands beside its parameter.
    """
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=ast.Name(id="Way"), args=[_, *others], keywords=keywords):
            children: list[ast.AST] = [*others, *keywords]
        case ast.JoinedStr(values=values):
            parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in values]
            yield "".join(str(part) for part in parts)
            children = [v for v in values if not isinstance(v, ast.Constant)]
        case ast.Constant(value=str() as text):
            yield text
            return
        case _:
            children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from texts(child)


def options_in(source: str) -> list[str]:
    """Strings that name an option and are no whole command."""
    if not OPTION.search(source):
        return []
    return [text for text in texts(ast.parse(source)) if OPTION.search(COMMAND.sub("", text))]


@pytest.mark.parametrize("package", ["erasure", "eval"])
def test_no_sentence_of_a_library_names_an_option_alone(package: str) -> None:
    options = {
        path.relative_to(ROOT).as_posix(): options_in(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / package).rglob("*.py"))
    }
    assert {place: strings for place, strings in options.items() if strings} == {}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('raise E("give --config FOLDER")', 1),
        ('raise E(f"{path} lacks it; give {more}--vae FILE")', 1),
        ("f\"{path}: {f('--vae')}\"", 1),
        ('Way("--scope xattn-kv", "--scope")', 1),
        ('raise E("give ", Way("--scope xattn-kv", "scope"))', 0),
        ('f"make it with `erasure mask --component {name}`"', 0),
        ('def f():\n    """Read again without --config."""', 0),
        ('f"a--b"', 0),
    ],
)
def test_an_option_in_a_sentence_is_seen(source: str, count: int) -> None:
    assert len(options_in(source)) == count


@pytest.mark.parametrize(
    ("one", "typed", "called"),
    [
        (way("prediction"), "--prediction", "prediction"),
        (way("prediction", "v"), "--prediction v", "prediction='v'"),
        (way("allow_pickle", True), "--allow-pickle", "allow_pickle=True"),
        (way("config", "FOLDER"), "--config FOLDER", "config=FOLDER"),
        (Way("--base", "before", " (now b)"), "--base (now b)", "before (now b)"),
    ],
)
def test_a_way_is_said_to_either_reader(one: Way, typed: str, called: str) -> None:
    error = CheckpointError("a.ckpt is wrong; give ", one, ", please")
    assert str(error) == f"a.ckpt is wrong; give {called}, please"
    assert error.typed == f"a.ckpt is wrong; give {typed}, please"


def test_an_error_keeps_both_wordings_within_another_error_and_in_a_pickle() -> None:
    outer = ErasureError("model b: ", CheckpointError("give ", way("force", True)))
    for error in (outer, pickle.loads(pickle.dumps(outer))):
        assert (str(error), error.typed) == ("model b: give force=True", "model b: give --force")
