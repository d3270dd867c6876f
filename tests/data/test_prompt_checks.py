"""Prompts that the model would not see whole, or that another program's syntax fills."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from support.console import erasure
from support.refusals import CHURCH
from support.tiny import random_pictures

from erasure.checkpoints import Checkpoint
from erasure.diffusion.data.prompted import PromptedPixels
from erasure.diffusion.data.token_window import token_window
from pipelines.data.concept_data import refuse_erased
from prompts.concepts.concepts import plan_concept
from prompts.concepts.syntax import foreign_syntax
from prompts.errors import PromptError

LONG = " ".join(["church"] * 90)


def test_a_prompt_is_too_long_from_the_first_token_that_is_cut(tiny_checkpoint: Checkpoint) -> None:
    window = token_window(tiny_checkpoint)
    ((tokenizer, most),) = window.encoders

    # Beginning and end are marked, so two tokens of the window are not the prompt's.
    def words(count: int) -> str:
        text = " ".join(["a"] * count)
        assert len(tokenizer(text).input_ids) == count + 2
        return text

    fits, cut = words(most - 2), words(most - 1)
    (overlong,) = window.overlong([fits, cut, cut, "a church"])
    assert (overlong.prompt, overlong.tokens, overlong.window) == (cut, most + 1, most)
    cut_off = tokenizer(cut, truncation=True, max_length=most).input_ids
    assert cut_off == tokenizer(fits).input_ids  # the model sees no difference


@pytest.mark.parametrize(("positions", "window"), [(20, 20), (500, 77), (None, 77), ("many", 77)])
def test_the_window_is_the_smaller_of_tokenizer_and_encoder(
    tiny_checkpoint: Checkpoint, positions: object, window: int
) -> None:
    config = {
        **tiny_checkpoint.description.components["text_encoder"],
        "max_position_embeddings": positions,
    }
    description = tiny_checkpoint.description.having(text_encoder=config)
    ((_, smaller),) = token_window(replace(tiny_checkpoint, description=description)).encoders
    assert smaller == window


@pytest.mark.parametrize(
    ("option", "role"),
    [
        ("--concept", "to forget"),
        ("--instead", "to see instead"),
        ("--retain-prompts", "to retain"),
    ],
)
def test_a_prompt_that_is_not_read_whole_is_refused(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None], option: str, role: str
) -> None:
    options = {"--concept": "church", option: LONG}
    if option == "--retain-prompts":
        options[option] = str(tmp_path / "keep.txt")
        # Not of the concept, whose prompts are refused for that.
        dogs = LONG.replace("church", "dog")
        Path(options[option]).write_text(f"a dog\n{dogs}\n", encoding="utf-8")
    line = [part for pair in options.items() for part in pair]
    refused(
        ("erase", tiny_folder, *line, "--out", tmp_path / "run"),
        f"the prompt {role}",
        "tokens, and the text encoder reads",
    )


def test_what_is_to_be_retained_may_not_name_the_concept(
    tiny_folder: Path, tmp_path: Path, refused: Callable[..., None]
) -> None:
    line = ("erase", tiny_folder, *CHURCH, "--out", tmp_path / "run")
    keep, folder = tmp_path / "keep.txt", tmp_path / "pictures"
    keep.write_text("a dog\nTwo churches\n", encoding="utf-8")
    folder.mkdir()
    for name, caption in (("a", "a dog"), ("b", "Two churches")):
        Image.new("RGB", (16, 16), "red").save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    refused((*line, "--retain-prompts", keep), "'Two churches' is to be retained but names")
    refused(
        (*line, "--retain-folder", folder),
        "1 of 2 pictures to retain have captions that name 'church', 'Two churches' first, which",
    )


def test_captions_that_name_what_was_forgotten_before_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    church, dog = (plan_concept(name, family="canvas") for name in ("church", "dog"))
    pictures = PromptedPixels(random_pictures(["x"] * 2).pixels, ["a cat", "a church"])
    refuse_erased([pictures], dog)
    assert caplog.text == ""
    refuse_erased([pictures], replace(dog, earlier=(church,)))
    assert "name 'church', 'a church' first, which this model forgot before" in caplog.text


def test_suite_prompts_and_captions_that_are_cut_are_counted(
    tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    suite = tmp_path / "prompts.csv"
    suite.write_text(f"prompt,seed\na dog,1\n{LONG},2\n(a cat:1.3),3\n", encoding="utf-8")
    line = ("evaluate", tiny_folder, "--suite", "csv", "--prompts", suite, "--steps", 1)
    erasure(*line, "--judge", "canvas", "--device", "cpu", "--out", tmp_path / "found")
    assert "1 of 3 prompts of csv are longer than the text encoder reads" in caplog.text
    assert "1 of 3 prompts of csv hold syntax of other programs" in caplog.text
    assert "'(a cat:1.3)', a weight" in caplog.text
    grid = tmp_path / "grid.png"
    drawn = ("--prompt", LONG, "--prompt", "x", "--seeds", 0, "--steps", 1, "--out", grid)
    said = erasure("compare", tiny_folder, tiny_folder, *drawn)
    assert said.code == 0, said.err
    assert "1 of 2 prompts are longer" in caplog.text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a (church:1.3) at night", "a weight"),
        ("[church:castle:0.5]", "a weight or a schedule"),
        ("((church))", "emphasis"),
        ("a {church|castle}", "a choice"),
        ("a __building__", "a wildcard"),
        ("a __places/old-town__", "a wildcard"),
        ("church <lora:old_style:0.8>", "a tag"),
        ("a church BREAK a castle", "a keyword"),
    ],
)
def test_syntax_of_other_programs_is_named_and_refused_in_a_concept(text: str, kind: str) -> None:
    hint = foreign_syntax(text)
    assert hint is not None
    assert kind in hint
    with pytest.raises(PromptError, match="name it in plain words"):
        plan_concept(text, family="general")
    with pytest.raises(PromptError, match=r"instead is .* name it in plain words"):
        plan_concept("church", family="general", instead=text)


@pytest.mark.parametrize(
    "text",
    [
        "a church (at night)",
        "Van Gogh style",
        "a break in the clouds",
        "a <3 you sign",
        "dash -- and snake_case",
        "half past 9:30 (morning)",
        "",
    ],
)
def test_plain_words_are_left_alone(text: str) -> None:
    assert foreign_syntax(text) is None


def test_a_concept_in_foreign_syntax_exits_with_a_hint(
    tmp_path: Path, refused: Callable[..., None]
) -> None:
    line = ("erase", "demo", "--concept", "(church:1.3)", "--out", tmp_path / "run")
    refused(line, "'(church:1.3)', a weight or a schedule in other programs", "plain words")


def test_kohyas_folders_are_trained_on(
    tiny_folder: Path,
    tmp_path: Path,
    refused: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, caption in (("10_church/a.jfif", LONG), ("10_church/b.webp", "(church:1.2)")):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 90).convert("RGB").save(path)
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    (tmp_path / "own" / "10_church" / "a.npz").touch()
    out = tmp_path / "mask.safetensors"
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        f"[data.forget]\ndrawn = 0\nfolder = {json.dumps(str(tmp_path / 'own'))}\n",
        encoding="utf-8",
    )
    line = ("mask", tiny_folder, *CHURCH, "--draws", 1, "--recipe", recipe, "--out", out)
    said = erasure(*line, "--cache", tmp_path / "cache")
    assert said.code == 0, said.err
    assert "captions read (first line of each): 2" in caplog.text
    assert "left out files that no prompt goes with: 1 .npz" in caplog.text
    assert "1 of 2 captions are longer than the text encoder reads" in caplog.text
    assert "1 of 2 captions hold syntax of other programs" in caplog.text
    (tmp_path / "own" / "10_church" / "c.heic").touch()
    line = (*line[:-1], tmp_path / "other.safetensors")
    refused(line, "c.heic has a format that cannot be read here (of such there are 1 .heic)")
